"""Checks: whether prepared data may be trained on, by their masks, prompts and files."""
