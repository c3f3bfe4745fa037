"""Where files of models and of data are, without the network."""
