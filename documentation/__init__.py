"""The pages of the documentation that are made by commands, and its site."""
