"""Cleaning: conversations that are left out of training on purpose."""
