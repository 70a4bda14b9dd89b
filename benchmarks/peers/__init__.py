"""Whole epochs of this library and of other libraries, on the same rows, networks and batches."""
