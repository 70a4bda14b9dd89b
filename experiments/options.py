"""Options that experiments share."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class RunOptions:
    """Where, how and how often to run."""

    seeds: tuple[int, ...] = (0,)
    """Seeds, one run each; a seed draws the label split, the weights and the noise."""
    jobs: int = 1
    """Seeds trained side by side, each in a process with its share of the processor's cores."""
    device: str = "auto"
    """Device: auto (a GPU if there is one), cpu, cuda or cuda:N."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of matrix products; auto takes bfloat16, half the time, where the device has it."""
    compile: Literal["auto", "always", "never"] = "auto"
    """Compile the training step; auto if the run is long enough to earn back the time it takes."""
    cuda_graph: bool = True
    """On a GPU, record the training step once and replay it."""
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


# Options that say where and how to run, not what: they do not tell configurations apart.
NOT_RESULTS = (
    "seeds",
    "jobs",
    "device",
    "compile",
    "cuda_graph",
    "data_root",
    "results_root",
    "resume",
    "overwrite",
    "quiet",
)


@dataclass(frozen=True)
class DataOptions(RunOptions):
    """What to train on."""

    dataset: Literal["mnist", "fashion-mnist", "digits"] = "mnist"
    """Data set; digits is scikit-learn's 8x8 digits and needs no download."""
    validation: int | None = None
    """Labelled rows taken from the training set to choose the epoch on, never trained on; none
    for 10,000, but no more than a quarter of the training set."""


@dataclass(frozen=True)
class TrainingOptions(DataOptions):
    """How to train, and for how long."""

    epochs: int = 60
    """Epochs, each one pass over the unlabelled rows."""
    batch_size: int = 200
    """Unlabelled rows a step; all labelled rows, at most as many, come on top."""
    learning_rate: float = 3e-3
    """Adam's step size, at the start."""
    learning_rate_schedule: Literal["constant", "cosine", "step"] = "cosine"
    """Step size over the epochs: constant, falling to 0 along a half cosine, or by steps, to 0.75
    of it every 200 epochs."""
    learning_rate_warmup: int | None = None
    """Epochs at the start over which the step size rises to that; none for none."""
    binarise: bool = True
    """Draw pixels from a Bernoulli each time a row is visited; else keep them real-valued."""
    keep_best: bool = True
    """Test the epoch of the best validation figure; else the last epoch."""
    patience: int | None = None
    """Stop after so many epochs without a better validation figure; none for never."""


@dataclass(frozen=True)
class SemiSupervisedOptions(TrainingOptions):
    """What to classify with how many labels, and the baseline beside it."""

    labels: int = 100
    """Labelled training rows, shared evenly by the classes."""
    label_fraction: float | None = None
    """Labelled share of the training rows that are not for validation, in place of their number."""
    alpha: float = 1.0
    """Weight of the mean of -log q(y|x) over labelled rows beside the bound per example, all in
    nats (the paper's alpha is this times the number N of training rows: 0.1)."""
    hidden_dims: tuple[int, ...] = (500, 500)
    """Units of each hidden layer of classifier and encoder, reversed in the decoder."""
    batch_norm: bool = True
    """Batch norm in the classifier."""
    input_dropout: float = 0.0
    """Probability of dropping an input of the classifier."""

    @property
    def any_labels(self) -> bool:
        """Whether any training row is labelled."""
        return bool(self.labels if self.label_fraction is None else self.label_fraction)


@dataclass(frozen=True)
class ColourOptions(SemiSupervisedOptions):
    """Convolutional models of colour images."""

    model: tuple[Literal["ccvae", "m2", "classifier"], ...] = ("ccvae", "m2", "classifier")
    """Models to train; the classifier sees labelled rows alone."""
    epochs: int = 30
    """Epochs, each one pass over the unlabelled rows."""
    batch_size: int = 100
    """Unlabelled rows a step; all labelled rows, at most as many, come on top."""
    learning_rate: float = 1e-3
    """Adam's step size, at the start."""
    binarise: bool = False
    """Draw pixels from a Bernoulli each time a row is visited; else keep them real-valued."""
    alpha: float = 200.0
    """Weight of the mean of -log q(y|x) over labelled rows beside the bound per example, all in
    nats; in CCVAE on top of that term's weight in the bound itself."""
    latent_dim: int = 64
    """Dimensions of M2's z."""
    style_dim: int | None = None
    """Dimensions of CCVAE's z_style; as many as M2's z has if None."""
    channels: int = 32
    """Channels of the first of the convolutions, and of the last after the decoder."""
    hidden_dims: tuple[int, ...] = (256,)
    """Units of each hidden layer between convolutions and latents."""
    input_dropout: float = 0.3
    """Probability of dropping an output of the convolutions at the input of M2's classifier,
    CCVAE's encoder, and the classifier of labelled rows alone."""
    batch_norm: bool = False
    """Batch norm in M2's classifier, CCVAE's encoder, and the classifier of labelled rows alone."""
    likelihood: Literal["bernoulli", "laplace"] = "laplace"
    """Family of p(x|.)."""
    laplace_scale: float = 1.0
    """Scale of the Laplace likelihood, pixels being in [0, 1]. A small one weighs pixels so much
    that CCVAE's z_class becomes theirs."""
    kl_weight: float = 1.0
    """Weight of log p(z|y) - log q(z|x) of CCVAE."""
    num_samples: int = 100
    """Draws that CCVAE's q(y|x) of labelled rows is a mean of."""

    @property
    def ccvae_style_dim(self) -> int:
        """Dimensions of CCVAE's z_style."""
        return self.latent_dim if self.style_dim is None else self.style_dim


@dataclass(frozen=True)
class AttributeOptions(ColourOptions):
    """Models of binary attributes."""

    temperature: float = 0.5
    """Temperature of M2's relaxed attributes."""


@dataclass(frozen=True)
class M1Options:
    """M1, the VAE whose latents are used: a finished run of `mnist_m1`, or one trained now."""

    tag: str | None = None
    """Suffix of the folder of `mnist_m1`'s results; what is finished there is used as it is."""
    epochs: int = 200
    """Epochs, if it is trained now."""
    latent_dim: int = 50
    """Dimensions of its latent z, if it is trained now."""
    hidden_dims: tuple[int, ...] = (500, 500)
    """Units of each hidden layer of its encoder, reversed in the decoder, if it is trained now."""
