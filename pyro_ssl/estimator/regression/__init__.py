"""What a regressor has instead of what a classifier has: labels, members, candidates, weights."""
