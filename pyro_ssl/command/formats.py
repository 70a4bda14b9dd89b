"""The format of a file or folder, from its name and content."""

from pathlib import Path

from pyro_ssl.errors import DataError

_SUFFIXES = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".feather": "feather",
    ".arrow": "feather",
    ".npz": "npz",
    ".npy": "npy",
}
_KNOWN = (
    ".csv, .csv.gz, .tsv, .tsv.gz, .parquet, .feather, .npz, .npy, a folder of .parquet or .npy "
    "files, or a folder of images in folders named after their classes"
)


def suffix_of(path: Path) -> str:
    """Return the suffix in lower case, including one before `.gz`."""
    last = path.suffix.lower()
    return Path(path.stem).suffix.lower() + last if last == ".gz" else last


def format_of(path: Path) -> str:
    """Return "csv", "tsv", "parquet", "feather", "npz", "npy", or "images" for a folder.

    Raises:
        DataError: if the file does not exist, or its format is none of these.
    """
    if path.is_dir():
        return _format_of_folder(path)
    if not path.exists():
        raise DataError(f"{path} does not exist, expected a file or folder with your data")
    suffix = suffix_of(path)
    found = _SUFFIXES.get(suffix.removesuffix(".gz"))
    if found is None or (suffix.endswith(".gz") and found not in ("csv", "tsv")):
        raise DataError(
            f"{path} has the suffix {suffix!r}, expected {_KNOWN}: rename or convert it"
        )
    if not path.stat().st_size:
        raise DataError(f"{path} is empty (0 bytes), expected your data")
    return found


def _format_of_folder(path: Path) -> str:
    found = {
        kind
        for entry in path.rglob("*")
        if (kind := _SUFFIXES.get(entry.suffix.lower())) in ("parquet", "npy")
        and not any(part.startswith((".", "_")) for part in entry.relative_to(path).parts)
    }
    if len(found) > 1:
        raise DataError(f"{path} holds both .parquet and .npy files, expected one kind: move one")
    return found.pop() if found else "images"
