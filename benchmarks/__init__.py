"""Timings against peers, and estimators against the exact sum: `python -m benchmarks.step --help`."""
