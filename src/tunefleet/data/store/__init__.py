"""How encoded conversations lie on the disk, and which of them a data set takes."""
