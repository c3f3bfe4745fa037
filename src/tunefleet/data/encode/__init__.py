"""Encoding: from conversations to token ids and loss masks."""
