"""M2 of Kingma et al. (2014) on MNIST with 100 labels, against the classifier alone.

Trains the semi-supervised VAE M2, its label summed out, and beside it the same classifier
network on the labelled rows alone. The epoch is chosen on validation rows taken from the
training set; the test set is read once, at the end. Writes per-seed CSV, JSON, checkpoint
and figures to RESULTS_ROOT/mnist_m2/.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import tyro


@dataclass(frozen=True)
class Config:
    """Options of the experiment."""

    dataset: Literal["mnist", "fashion-mnist", "digits"] = "mnist"
    """Data set; digits is scikit-learn's 8x8 digits and needs no download."""
    labels: int = 100
    """Labelled training rows, shared evenly by the classes."""
    seeds: tuple[int, ...] = (0,)
    """Seeds, one run each; a seed draws the label split, the weights and the noise."""
    validation: int | None = None
    """Labelled rows taken from the training set to choose the epoch on, never trained on; none
    for 10,000, but no more than a quarter of the training set."""
    epochs: int = 60
    """Epochs, each one pass over the unlabelled rows; for the baseline, one pass over the labelled
    ones, but at least 25 steps."""
    batch_size: int = 200
    """Unlabelled rows a step; all labelled rows, at most as many, come on top."""
    learning_rate: float = 3e-3
    """Adam's step size, at the start."""
    learning_rate_schedule: Literal["constant", "cosine"] = "cosine"
    """Step size over the epochs: constant, or falling to 0 along a half cosine."""
    alpha: float = 15.0
    """Weight of the mean of -log q(y|x) over labelled rows beside the bound per example, all in
    nats (the paper's alpha is this times the number N of training rows: 0.1)."""
    latent_dim: int = 50
    """Dimensions of the latent z."""
    hidden_dims: tuple[int, ...] = (500, 500)
    """Units of each hidden layer of classifier and encoder, reversed in the decoder."""
    batch_norm: bool = True
    """Batch norm in the classifier."""
    input_dropout: float = 0.5
    """Probability of dropping a pixel at the classifier's input."""
    binarise: bool = True
    """Draw pixels from a Bernoulli each time a row is visited; else keep them real-valued."""
    num_summed: int | None = None
    """Train RaoBlackwellM2 instead: sum only so many of the likeliest classes of each unlabelled
    row and draw one of the others; none for M2, which sums all."""
    class_chunk: int | None = None
    """Evaluate so many of the summed classes at a time, to save memory; none for all."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of matrix products; auto takes bfloat16, half the time, where the device has it."""
    compile: Literal["auto", "always", "never"] = "auto"
    """Compile the training step; auto if the run is long enough to earn back the time it takes."""
    cuda_graph: bool = True
    """On a GPU, record the training step once and replay it."""
    keep_best: bool = True
    """Test the epoch of the highest validation accuracy; else the last epoch."""
    patience: int | None = None
    """Stop after so many epochs without a higher validation accuracy; none for never."""
    baseline: bool = True
    """Train the classifier on the labelled rows alone as well."""
    jobs: int = 1
    """Seeds trained side by side, each in a process with its share of the processor's cores."""
    device: str = "auto"
    """Device: auto (a GPU if there is one), cpu, cuda or cuda:N."""
    data_root: str | None = None
    """Folder of the data sets; else the variable PYRO_SSL_DATA, else ./data."""
    results_root: str = "results"
    """Folder of the results."""
    tag: str | None = None
    """Suffix of the results folder, to keep configurations apart."""
    resume: bool = False
    """Go on with unfinished runs from their checkpoints; finished ones are kept."""
    overwrite: bool = False
    """Replace results that are already there."""
    quiet: bool = False
    """No progress bars."""


def main(args: Sequence[str] | None = None) -> int:
    """Run the experiment with command-line arguments, `sys.argv`'s if None."""
    config = tyro.cli(Config, args=args, description=__doc__)
    # Imported once the command line is known to be good, so that --help answers at once.
    from experiments.launch import run_guarded

    return run_guarded("mnist_m2", config, args)


if __name__ == "__main__":
    raise SystemExit(main())
