import hashlib

import pandas as pd
import pytest

from pyro_ssl.command.digests import digest_of
from pyro_ssl.command.formats import format_of
from pyro_ssl.command.writing import TABLES, check_suffix, table_writer
from pyro_ssl.errors import ConfigError, DataError, ResultsError

FRAME = pd.DataFrame({"a": [1, 2, 3], "b": ["x,y", None, 'q"'], "c": [0.1, None, 1 / 3]})


def read(path):
    reader = {".parquet": pd.read_parquet, ".feather": pd.read_feather}.get(path.suffix)
    separator = "\t" if ".tsv" in path.name else ","
    return (
        reader(path) if reader else pd.read_csv(path, sep=separator, float_precision="round_trip")
    )


@pytest.mark.parametrize("suffix", TABLES)
def test_parts_are_one_table(tmp_path, suffix):
    if suffix in (".parquet", ".feather"):
        pytest.importorskip("pyarrow")
    path = tmp_path / f"out{suffix}"
    with table_writer(path) as write:
        # A first part whose texts are all missing is one of texts all the same.
        write(FRAME[1:2])
        write(FRAME)
        assert not path.exists()
    found = read(path)
    expected = pd.concat([FRAME[1:2], FRAME], ignore_index=True)
    pd.testing.assert_frame_equal(found, expected, check_dtype=False)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_equal_tables_are_equal_files(tmp_path):
    for name in ("1.csv.gz", "2.csv.gz"):
        with table_writer(tmp_path / name) as write:
            write(FRAME)
    assert (tmp_path / "1.csv.gz").read_bytes() == (tmp_path / "2.csv.gz").read_bytes()


@pytest.mark.parametrize("error", [DataError, RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_after_any_error_nothing_is_there(tmp_path, error, suffix):
    pytest.importorskip("pyarrow")

    def failing():
        with table_writer(tmp_path / f"out{suffix}") as write:
            write(FRAME)
            raise error("odd")

    with pytest.raises(error):
        failing()
    assert not [*tmp_path.iterdir()]


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    writer = table_writer(tmp_path / "file" / "out.csv")
    with pytest.raises(ResultsError, match="cannot be written"), writer:
        pass


def test_suffixes(tmp_path):
    check_suffix(tmp_path / "OUT.CSV.GZ", TABLES)
    with pytest.raises(ConfigError, match=r"suffix is '\.gz'"):
        check_suffix(tmp_path / "out.gz", TABLES)


@pytest.mark.parametrize("name", ["a.CSV", "a.csv.gz", "a.tsv", "a.parquet", "a.npz"])
def test_formats(tmp_path, name):
    (tmp_path / name).write_bytes(b"x")
    assert format_of(tmp_path / name) == name.lower().split(".")[1]


@pytest.mark.parametrize("name", ["a", "a.gz", "a.parquet.gz", "a.xls"])
def test_unknown_formats(tmp_path, name):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(DataError, match="suffix"):
        format_of(tmp_path / name)


def test_folders_of_several_formats(tmp_path):
    assert format_of(tmp_path) == "images"
    (tmp_path / "a.npy").touch()
    assert format_of(tmp_path) == "npy"
    (tmp_path / "b.parquet").touch()
    with pytest.raises(DataError, match="expected one kind"):
        format_of(tmp_path)


def test_digests_are_those_of_the_files(tmp_path):
    files = [tmp_path / "a", tmp_path / "b"]
    for file in files:
        file.write_text(file.name * 3)
    each = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    one = digest_of(files[:1], tmp_path)
    assert one == {"sha256": each[0], "files": 1, "bytes": 3}
    listed = f"{each[0]}  a\n{each[1]}  b\n"
    both = digest_of(files, tmp_path)
    assert both["sha256"] == hashlib.sha256(listed.encode()).hexdigest()
    files[1].rename(tmp_path / "c")
    other = digest_of([files[0], tmp_path / "c"], tmp_path)
    assert other["sha256"] != both["sha256"]
