"""Loopback: the names by which programs of this machine address a server that nobody else reaches."""

NAMES = ("localhost", "127.0.0.1", "[::1]")
