"""Tests of benchmarks/applications."""
