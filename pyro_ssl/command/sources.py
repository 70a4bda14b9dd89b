"""Data of any format, as parts of rows and labels."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from pyro_ssl.command.arrays import ArraySource, NumpyFiles, NumpyZip
from pyro_ssl.command.arrow import ArrowData
from pyro_ssl.command.delimited import DelimitedFile
from pyro_ssl.command.formats import format_of
from pyro_ssl.command.image_files import ImageSource, images_in_folder, images_in_table
from pyro_ssl.command.options import Applying, Reading
from pyro_ssl.command.parts import Part, joined
from pyro_ssl.command.recipe import Recipe
from pyro_ssl.command.tables import TableReader, TableSource, checked_names, text_types
from pyro_ssl.errors import ConfigError, DataError


class Source(Protocol):
    """Rows with labels.

    Attributes:
        recipe: how the rows are read.
        files: the files with the rows, in order.
        root: the folder that names of files are relative to.
    """

    recipe: Recipe
    files: list[Path]
    root: Path

    def parts(self) -> Iterator[Part]:
        """Return the rows in parts, in their order, from the beginning."""
        ...


@dataclass(frozen=True)
class Opened:
    """A file or folder with a known format, and its reader if it is a table or arrays."""

    path: Path
    format: str
    table: TableReader | None


def open_for_training(options: Reading, data: Path) -> Source:
    """Return the rows of a file or folder, read as the options of `fit` say.

    Raises:
        ConfigError: if options are invalid, or do not suit the format.
        DataError: if the data cannot be read.
    """
    opened = _opened(data, options.separator, options.encoding)
    if opened.format in ("npz", "npy"):
        _check_unused(options, "arrays", "label_column", "drop", "missing", "image_column")
        _check_unused(options, "arrays", "image_size")
        return ArraySource(Recipe.of(options, "array"), _arrays(opened, options.labels))
    if options.labels is not None:
        raise ConfigError(
            f"labels is {options.labels}, but {data} is not .npy data: a table has a "
            "--label-column, an NPZ file an array y"
        )
    if opened.table is None:
        _check_unused(options, "a folder of images", "label_column", "drop", "missing")
        _check_unused(options, "a folder of images", "image_column")
        recipe = Recipe.of(options, "images")
        return ImageSource.for_training(recipe, images_in_folder(data, options.unlabelled))
    if options.image_column is not None:
        _check_unused(options, "a table of images", "drop")
        recipe = Recipe.of(options, "images")
        return ImageSource.for_training(recipe, images_in_table(opened.table, recipe))
    if options.image_size is not None:
        raise ConfigError("image_size has no effect without images: add --image-column")
    recipe = Recipe.of(options, "table")
    names = checked_names(opened.table, recipe)
    types = opened.table.types or text_types(opened.table, recipe, names)
    recipe = replace(recipe, columns={name: types[name] for name in names})
    return TableSource(opened.table, recipe)


def open_for_model(
    recipe: Recipe, options: Applying, labels: Path | None = None, id_column: str | None = None
) -> Source:
    """Return rows that are read as those of training, according to `recipe`.

    Args:
        recipe: how the training rows were read.
        options: the command's options.
        labels: labels of .npy data.
        id_column: column of a table that is kept unchanged.

    Raises:
        ConfigError: if options are invalid, or do not suit the format.
        DataError: if the data cannot be read, or is of another kind than that of training.
    """
    recipe = recipe.changed(options)
    opened = _opened(options.data, recipe.separator, recipe.encoding)
    found = "array" if opened.format in ("npz", "npy") else "table"
    if opened.table is None and found == "table":
        found = "images"
    if recipe.kind == "images" and opened.table is not None:
        found = "images"
    if found != recipe.kind:
        names = {"table": "a table", "array": "arrays", "images": "images"}
        raise DataError(
            f"{options.data} holds {names[found]}, but the model was trained on "
            f"{names[recipe.kind]}: give rows of that kind"
        )
    if id_column is not None and recipe.kind != "table":
        raise ConfigError(f"id_column is {id_column!r}, but only tables have columns: leave it out")
    if recipe.kind == "array":
        return ArraySource(recipe, _arrays(opened, labels))
    if recipe.kind == "table":
        assert opened.table is not None
        return TableSource(opened.table, recipe, id_column)
    if opened.table is None:
        return ImageSource(recipe, images_in_folder(options.data, recipe.unlabelled, flat=True))
    return ImageSource(recipe, images_in_table(opened.table, recipe, labels_needed=False))


def whole(source: Source) -> tuple[Any, Any]:
    """Return all rows and labels at once, as `fit` takes them."""
    return joined(source.parts())


def _opened(path: Path, separator: str | None, encoding: str | None) -> Opened:
    found = format_of(path)
    if found not in ("csv", "tsv") and (separator or encoding):
        name = "separator" if separator else "encoding"
        if found not in ("parquet", "feather"):
            raise ConfigError(f"{name} is for text files, but {path} is not one: leave it out")
    table: TableReader | None = None
    if found in ("csv", "tsv"):
        table = DelimitedFile(path, separator, encoding)
    elif found in ("parquet", "feather"):
        table = ArrowData(path, found)
    return Opened(path, found, table)


def _arrays(opened: Opened, labels: Path | None) -> NumpyZip | NumpyFiles:
    if opened.format == "npy":
        return NumpyFiles(opened.path, labels)
    if labels is not None:
        raise ConfigError(f"labels is {labels}, but the labels of an NPZ file are its array y")
    return NumpyZip(opened.path)


def _check_unused(options: Reading, what: str, *names: str) -> None:
    """Check that no options without effect were stated."""
    for name in names:
        value = getattr(options, name)
        if value != getattr(Reading(), name):
            raise ConfigError(
                f"{name} is {value!r}, but has no effect on {what}: leave --{_dashed(name)} out"
            )


def _dashed(name: str) -> str:
    return name.replace("_", "-")
