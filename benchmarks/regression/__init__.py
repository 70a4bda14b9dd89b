"""`python -m benchmarks.regression`."""
