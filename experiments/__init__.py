"""Commands that reproduce the published numbers: `python -m experiments.NAME --help`."""
