"""Store: encoded conversations on the disk, and the sequences that a data set packs of them."""
