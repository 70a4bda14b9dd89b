"""Timings of the library and its peers, tests of estimators: `python -m benchmarks.step --help`."""
