"""Timings of the library and its peers, comparisons of estimators: `python -m benchmarks.step`."""
