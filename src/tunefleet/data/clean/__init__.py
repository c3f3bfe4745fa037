"""Which conversations are left out of training on purpose."""
