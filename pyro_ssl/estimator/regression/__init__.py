"""The parts specific to a regressor: labels, members, candidates, weights."""
