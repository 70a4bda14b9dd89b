"""Semantic hashing: VAEs whose latents are bits, on 20 Newsgroups.

The second experiment of Shekhovtsov et al. (2022), a row of bits for each document. The epoch is
chosen by the ELBO of validation documents taken from the training part; the test part is read
once, at the end, for: the ELBO in nats a document; perplexity a word; the deviance form of the
published reproduction beside that of a unigram model (see `pyro_ssl.metrics.documents`); and
precision at 100, the share of a test document's 100 nearest training documents, by Hamming distance
of codes, that are of its group. --grid paper runs the reproduction's 36 architectures, one folder
each, and goes on where it was stopped with --resume. Writes to RESULTS_ROOT/semantic_hashing/.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import tyro

from experiments.options import RunOptions


@dataclass(frozen=True)
class Config(RunOptions):
    """Options of the experiment."""

    grid: Literal["paper"] | None = None
    """Run all of the paper's architectures in place of the one that bits, depths and inputs say."""
    bits: int = 64
    """Bits of a code."""
    encoder_depth: int = 0
    """Hidden layers of the encoder."""
    decoder_depth: int = 0
    """Hidden layers of the decoder."""
    inputs: Literal["counts", "frequencies"] = "counts"
    """What the encoder sees; the likelihood is always of counts."""
    hidden: int = 512
    """Units of each hidden layer."""
    estimator: Literal["disarm", "arm", "straight_through", "score_function"] = "disarm"
    """Estimator of the encoder's gradient."""
    words: int = 10_000
    """Size of the vocabulary, the words that the most training documents have."""
    remove: tuple[Literal["headers", "footers", "quotes"], ...] = ("headers",)
    """Parts of each message to leave out."""
    tokens: Literal["words", "letters"] = "letters"
    """What a word is: two or more letters, or letters, digits and underscores. Without headers and
    of letters alone the corpus is much like the Matlab edition that the reproduction took."""
    validation: int = 1_000
    """Training documents to choose the epoch on, never trained on."""
    epochs: int = 50
    """Epochs, each one pass over the training documents."""
    batch_size: int = 256
    """Documents a step."""
    learning_rate: float = 5e-3
    """Adam's step size, at the start."""
    learning_rate_schedule: Literal["constant", "cosine"] = "cosine"
    """Step size over the epochs: constant, or falling to 0 along a half cosine."""
    patience: int | None = 8
    """Stop after so many epochs without a better validation ELBO; none for never."""
    draws: int = 10
    """Codes drawn for each test document to average its ELBO over."""


def main(args: Sequence[str] | None = None) -> int:
    """Run the experiment with command-line arguments, `sys.argv`'s if None."""
    config = tyro.cli(Config, args=args, description=__doc__)
    # Imported once the command line is known to be good, so that --help answers at once.
    from experiments.hashing import HashingExperiment
    from experiments.launch import run_guarded

    return run_guarded("semantic_hashing", HashingExperiment, config, args)


if __name__ == "__main__":
    raise SystemExit(main())
