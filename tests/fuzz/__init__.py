"""Fuzz: one module for each topic, with `mutants(seed, count)`."""
