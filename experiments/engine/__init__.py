"""What runs the experiments: seeds, folders, training, results."""
