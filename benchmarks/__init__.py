"""Timings against peers, side by side: `python -m benchmarks.step --help`."""
