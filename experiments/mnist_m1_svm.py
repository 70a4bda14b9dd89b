"""M1 of Kingma et al. (2014) as a feature extractor for support vector machines on MNIST.

Takes M1 from a finished run of `mnist_m1` with the same seed, or trains it first, and fits to its
posterior means: a linear SVM and an RBF SVM on the labelled rows, and an RBF SVM that labels
unlabelled rows itself, the surest first, and learns from these too (scikit-learn's
SelfTrainingClassifier; in place of the paper's transductive SVM). Hyper-parameters are
chosen on validation rows that M1 was not trained on; the test set is read once. Writes per-seed
CSV (every combination tried) and JSON to RESULTS_ROOT/mnist_m1_svm/.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import tyro

from experiments.options import DataOptions, M1Options


@dataclass(frozen=True)
class Config(DataOptions):
    """Options of the experiment."""

    labels: tuple[int, ...] = (100, 600, 1000, 3000)
    """Numbers of labelled training rows, shared evenly by the classes."""
    classifiers: tuple[Literal["linear_svm", "rbf_svm", "self_training_svm"], ...] = (
        "linear_svm",
        "rbf_svm",
        "self_training_svm",
    )
    """Which classifiers."""
    penalties: tuple[float, ...] = (0.1, 1.0, 10.0)
    """Values to choose C from; self-training takes what was chosen for the RBF SVM."""
    gammas: tuple[float, ...] = (0.3, 0.5, 0.7, 1.0, 1.4)
    """Values to choose the RBF kernel's gamma from, in units of 1 / (number of features times their
    mean variance), scikit-learn's `scale`."""
    unlabelled_rows: int = 2000
    """Unlabelled rows for self-training, chosen by the seed."""
    rounds: tuple[int, ...] = (50,)
    """Numbers of rounds of self-training to choose from; each round labels a fiftieth of the
    unlabelled rows, and the RBF SVM of all labelled so far labels the next."""
    active_threshold: float = 0.1
    """Use the latents of M1 whose posterior means have a larger standard deviation."""
    m1: M1Options = field(default_factory=M1Options)


def main(args: Sequence[str] | None = None) -> int:
    """Run the experiment with command-line arguments, `sys.argv`'s if None."""
    config = tyro.cli(Config, args=args, description=__doc__)
    # Imported once the command line is known to be good, so that --help answers at once.
    from experiments.launch import run_guarded
    from experiments.svm import SVMExperiment

    return run_guarded("mnist_m1_svm", SVMExperiment, config, args)


if __name__ == "__main__":
    raise SystemExit(main())
