"""The code that runs the experiments: seeds, folders, training, results."""
