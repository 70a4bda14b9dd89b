"""Semi-supervised classifiers on twelve data sets of few labels: `python -m benchmarks.tables`."""
