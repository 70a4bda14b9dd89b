"""The options of each command. Nothing slow is imported here, so that `--help` answers at once."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

# Default markers of missing entries, beside an empty one; --missing replaces them.
MISSING = ("NA", "N/A", "NaN", "nan", "<NA>", "NULL", "null")

Out = Annotated[Path, arg(aliases=["-o"])]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How a file is read; stated once to fit, which stores it in the model folder."""

    label_column: str | None = None
    """Column of a table that holds the labels, empty where unknown. In CSV and TSV files, labels
    are text and are written as they were read: 1, 01 and 1.0 are three classes."""
    unlabelled: str | None = None
    """Marker of an unknown label, beside an empty one, such as Unknown; -1 by default in arrays and
    columns of numbers. For a folder of images, the folder of images without a label; "unlabelled"
    by default."""
    missing: tuple[str, ...] = MISSING
    """Markers of a missing entry, in all columns of a table, including labels. An empty entry is
    always missing."""
    drop: tuple[str, ...] = ()
    """Columns of a table to leave out, such as ids and values that are unknown when predicting."""
    separator: str | None = None
    """Separator of the columns of a text file; by default a comma for .csv and a tab for .tsv."""
    encoding: str | None = None
    """Encoding of a text file, such as latin-1 or utf-16; UTF-8 by default."""
    labels: Path | None = None
    """For .npy data, the file of labels; for a folder of .npy files, a file of all their labels, or
    a folder of files of the same names."""
    image_column: str | None = None
    """Column of a table that holds paths of images, relative to the table. Only this column and the
    labels are used."""
    image_size: int | None = None
    """Height and width, in pixels, to which images are scaled, after they are cut to the largest
    square in their middle. Not needed if all images are squares of one size."""


@dataclass(frozen=True, kw_only=True)
class Fit(Reading):
    """Learn from a file in which few rows are labelled, and write a model folder.

    DATA is a CSV, TSV (both also .gz), Parquet or Feather file, a folder of Parquet files, an NPZ
    file of X and y, a .npy file or a folder of them with --labels, or a folder of images in folders
    named after their classes, with images of unknown class in a folder `unlabelled`.
    """

    data: Annotated[Positional[Path], arg(metavar="DATA")]
    """Rows to learn from."""
    out: Out
    """The model folder to write."""
    columns: tuple[str, ...] = ()
    """Columns with a known family, as NAME=FAMILY: real, positive, count, binary, categorical or
    ordinal. The content of other columns is inferred; `pyro-ssl describe` shows it."""
    model: Literal["auto", "m2", "m1m2", "rao_blackwell", "ccvae"] = "auto"
    """The generative model; auto weighs M2 against classifiers of the labelled rows."""
    class_prior: tuple[str, ...] = ("uniform",)
    """Class shares of predictions: uniform, estimated (from all rows), or a number for each class,
    in the sorted order of the labels."""
    members: int = 5
    """Number of models, trained at once, each without one part of the labelled rows."""
    max_steps: int = 1200
    """Largest number of training steps."""
    max_rows: int = 100_000
    """Largest number of labelled rows, and of unlabelled rows, to keep; of more, a uniform sample
    is drawn."""
    seed: int = 0
    """Seed of all random draws."""
    device: str = "auto"
    """auto (a GPU if there is one), cpu, cuda or cuda:N."""
    jobs: int | None = None
    """Number of processes of the random forest; 1 by default, -1 for one per core."""
    resume: bool = False
    """Continue a fit that was cut short, from OUT.partial; its options must be the same."""
    overwrite: bool = False
    """Replace the model folder if it exists."""
    quiet: bool = False
    """No progress bar."""


@dataclass(frozen=True, kw_only=True)
class Applying:
    """Options for a file that a model is applied to; all other settings are those of fit."""

    model: Annotated[Positional[Path], arg(metavar="MODEL")]
    """The model folder that fit wrote."""
    data: Annotated[Positional[Path], arg(metavar="DATA")]
    """Rows, in any format that fit takes, with the columns of training in any order. The label
    column and dropped columns may be missing; other columns are left out, with a warning.
    Categories that were not in training count as missing, with a warning."""
    separator: str | None = None
    """Separator of the columns of a text file; by default as in training."""
    encoding: str | None = None
    """Encoding of a text file; by default as in training."""
    image_column: str | None = None
    """Column of a table that holds paths of images; by default as in training."""


@dataclass(frozen=True, kw_only=True)
class Predict(Applying):
    """Write a label, class probabilities and the novelty of each row, in the order of the rows.

    The columns are `label`, `probability_CLASS` for each class, and `novelty`: the percentage of
    training rows that are more probable under the model; 100 is a row unlike any of training. For
    images, the first column, `image`, is the file.
    """

    out: Out
    """The file to write: .csv, .tsv (both also .gz), .parquet or .feather."""
    id_column: str | None = None
    """Column that is copied unchanged before the predictions."""


@dataclass(frozen=True, kw_only=True)
class Impute(Applying):
    """Write a table with its missing entries filled in; everything else is unchanged."""

    out: Out
    """The file to write: .csv, .tsv (both also .gz), .parquet or .feather; for arrays .npy."""
    seed: int = 0
    """Seed of all random draws."""


@dataclass(frozen=True, kw_only=True)
class Evaluate(Applying):
    """Compare predictions with labels; rows with unknown labels are left out.

    The figures are accuracy, balanced accuracy, log loss (nats per row), the expected calibration
    error (15 bins) and the confusion matrix, with true classes as rows and predicted ones as
    columns. Labels that were not in training are an error.
    """

    label_column: str | None = None
    """Column of the labels; by default as in training."""
    labels: Path | None = None
    """File or folder of labels, for .npy data."""
    out: Annotated[Path | None, arg(aliases=["-o"])] = None
    """A JSON file for the figures."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Draw rows of a class from the generative model."""

    model: Annotated[Positional[Path], arg(metavar="MODEL")]
    """The model folder that fit wrote."""
    out: Out
    """The file to write: .csv, .tsv (both also .gz), .parquet or .feather, with the labels in a
    column; for arrays and images .npz, with X and y."""
    label: str | None = None
    """The class; by default one is drawn for each row from the estimated class shares."""
    n: Annotated[int, arg(aliases=["-n"])] = 1
    """Number of rows."""
    seed: int = 0
    """Seed of all random draws."""


@dataclass(frozen=True, kw_only=True)
class Describe(Reading):
    """Show the inferred content of a file's columns, and how often each label occurs."""

    data: Annotated[Positional[Path], arg(metavar="DATA")]
    """Rows, in any format that fit takes."""
    columns: tuple[str, ...] = ()
    """Columns with a known family, as NAME=FAMILY."""


Command = Fit | Predict | Sample | Impute | Evaluate | Describe
