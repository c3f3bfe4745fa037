"""Batches: from prepared sequences to the micro-batches of a rank."""
