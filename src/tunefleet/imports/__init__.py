"""Configurations of other tools, as experiments of ours."""
