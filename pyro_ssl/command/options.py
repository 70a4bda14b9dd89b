"""The options of each command. Nothing slow is imported here, so that `--help` answers at once."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

# What stands for a missing entry beside an empty one, unless --missing says otherwise.
MISSING = ("NA", "N/A", "NaN", "nan", "<NA>", "NULL", "null")

Out = Annotated[Path, arg(aliases=["-o"])]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How a file is read; said once to fit, which keeps it in the model folder."""

    label_column: str | None = None
    """Column of a table that holds the labels, empty where unknown. In CSV and TSV labels are text,
    and come back as written: 1, 01 and 1.0 are three classes."""
    unlabelled: str | None = None
    """What stands for an unknown label beside an empty one, such as Unknown. In arrays and columns
    of numbers it is -1 unless stated. Of a folder of images, the folder of those without a label:
    unlabelled unless stated."""
    missing: tuple[str, ...] = MISSING
    """What stands for a missing entry, in all columns of a table, labels included. An empty entry
    always does."""
    drop: tuple[str, ...] = ()
    """Columns of a table to leave out, such as ids and what is not known when predicting."""
    separator: str | None = None
    """What separates the columns of a text file: a comma for .csv and a tab for .tsv unless
    stated."""
    encoding: str | None = None
    """Encoding of a text file, such as latin-1 or utf-16; UTF-8 unless stated."""
    labels: Path | None = None
    """For .npy data, the file of labels; for a folder of .npy files, a file of all their labels, or
    a folder of files of the same names."""
    image_column: str | None = None
    """Column of a table that holds paths of images, relative to the table. Other columns than this
    one and the labels are not used."""
    image_size: int | None = None
    """Height and width, in pixels, that images are scaled to, cut to the largest square in their
    middle. Not needed if all are squares of one size."""


@dataclass(frozen=True, kw_only=True)
class Fit(Reading):
    """Learn from a file of which few rows are labelled, and write a model folder.

    DATA is a CSV, TSV (both also .gz), Parquet or Feather file, a folder of Parquet files, an NPZ
    file of X and y, a .npy file or a folder of them with --labels, or a folder of images in folders
    named after their classes, with those of unknown class in a folder `unlabelled`.
    """

    data: Annotated[Positional[Path], arg(metavar="DATA")]
    """Rows to learn from."""
    out: Out
    """The model folder to write."""
    columns: tuple[str, ...] = ()
    """Columns whose family is known, as NAME=FAMILY: real, positive, count, binary, categorical or
    ordinal. What the others hold is inferred; `pyro-ssl describe` shows it."""
    model: Literal["auto", "m2", "m1m2", "rao_blackwell", "ccvae"] = "auto"
    """The generative model; auto weighs M2 against classifiers of the labelled rows."""
    class_prior: tuple[str, ...] = ("uniform",)
    """Class shares of predictions: uniform, estimated (from all rows), or a number for each class,
    in the sorted order of the labels."""
    members: int = 5
    """Models trained at once, each without one part of the labelled rows."""
    max_steps: int = 1200
    """Most steps of training."""
    max_rows: int = 100_000
    """Labelled rows that are kept of more, drawn uniformly, and as many unlabelled ones."""
    seed: int = 0
    """Seed of everything that is drawn."""
    device: str = "auto"
    """auto (a GPU if there is one), cpu, cuda or cuda:N."""
    jobs: int | None = None
    """Processes of the random forest; one unless stated, -1 for one each core."""
    resume: bool = False
    """Go on with a fit that was cut short, from OUT.partial; its options must be the same."""
    overwrite: bool = False
    """Replace the model folder if it is there."""
    quiet: bool = False
    """No progress bar."""


@dataclass(frozen=True, kw_only=True)
class Applying:
    """What is said of a file that a model is applied to; the rest is as fit was told."""

    model: Annotated[Positional[Path], arg(metavar="MODEL")]
    """The model folder that fit wrote."""
    data: Annotated[Positional[Path], arg(metavar="DATA")]
    """Rows, in any format that fit takes, with the columns of training in any order. The label
    column and dropped columns may be there or not; other columns are left out, with a warning.
    Categories that were not in training count as missing, with a warning."""
    separator: str | None = None
    """What separates the columns of a text file; as in training unless stated."""
    encoding: str | None = None
    """Encoding of a text file; as in training unless stated."""
    image_column: str | None = None
    """Column of a table that holds paths of images; as in training unless stated."""


@dataclass(frozen=True, kw_only=True)
class Predict(Applying):
    """Write a label, class probabilities and the novelty of each row, in the order of the rows.

    The columns are `label`, `probability_CLASS` for each class, and `novelty`: the percentage of
    training rows that are likelier under the model; 100 is a row unlike any of training. Of images,
    the first column, `image`, is the file.
    """

    out: Out
    """The file to write: .csv, .tsv (both also .gz), .parquet or .feather."""
    id_column: str | None = None
    """Column that is copied, as it is, before the predictions."""


@dataclass(frozen=True, kw_only=True)
class Impute(Applying):
    """Write a table with its missing entries filled in; all else stays as it is."""

    out: Out
    """The file to write: .csv, .tsv (both also .gz), .parquet or .feather; of arrays .npy."""
    seed: int = 0
    """Seed of what is drawn."""


@dataclass(frozen=True, kw_only=True)
class Evaluate(Applying):
    """Compare predictions with labels; rows of unknown label are left out.

    Accuracy, balanced accuracy, log loss (nats a row), the expected calibration error (15 bins) and
    the confusion matrix, rows true and columns predicted. Labels that were not in training are an
    error.
    """

    label_column: str | None = None
    """Column of the labels; as in training unless stated."""
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
    column; of arrays and images .npz, with X and y."""
    label: str | None = None
    """The class; none to draw one for each row from the estimated shares of the classes."""
    n: Annotated[int, arg(aliases=["-n"])] = 1
    """Number of rows."""
    seed: int = 0
    """Seed of what is drawn."""


@dataclass(frozen=True, kw_only=True)
class Describe(Reading):
    """Show what the columns of a file are taken for, and how often each label occurs."""

    data: Annotated[Positional[Path], arg(metavar="DATA")]
    """Rows, in any format that fit takes."""
    columns: tuple[str, ...] = ()
    """Columns whose family is known, as NAME=FAMILY."""


Command = Fit | Predict | Sample | Impute | Evaluate | Describe
