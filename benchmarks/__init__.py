"""Timings against peers, estimators against exact sums: `python -m benchmarks.step --help`."""
