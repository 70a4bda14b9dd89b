import gzip

import pandas as pd
import pytest

from pyro_ssl.command import delimited
from pyro_ssl.command.delimited import DelimitedFile
from pyro_ssl.errors import ConfigError, DataError


def written(tmp_path, content, name="data.csv"):
    file = tmp_path / name
    raw = content if isinstance(content, bytes) else content.encode()
    file.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    return file


def read(file, separator=None, encoding=None):
    return pd.concat([*DelimitedFile(file, separator, encoding).frames()], ignore_index=True)


@pytest.mark.parametrize("name", ["data.csv", "data.csv.gz", "data.tsv", "data.tsv.gz"])
def test_entries_are_text_as_written(tmp_path, name):
    comma = "\t" if ".tsv" in name else ","
    content = 'id,a b,c\r\n007, x ,"1,5"\n1e5,"say ""so""\nonce",NA\n'
    parts = content.split('"1,5"')
    content = '"1,5"'.join(p.replace(",", comma) for p in parts)
    frame = read(written(tmp_path, content, name))
    assert [*frame.columns] == ["id", "a b", "c"]
    assert frame.to_numpy().tolist() == [["007", " x ", "1,5"], ["1e5", 'say "so"\nonce', "NA"]]


def test_parts_are_those_of_the_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(delimited, "_ROWS", 3)
    rows = [f"{n},{n * n}" for n in range(7)]
    table = DelimitedFile(written(tmp_path, "\n".join(["a,b", *rows])), None, None)
    for _ in range(2):
        frames = [*table.frames()]
        assert [len(f) for f in frames] == [3, 3, 1]
        assert pd.concat(frames)["b"].tolist() == [str(n * n) for n in range(7)]


def test_byte_order_mark_blank_lines_and_other_encodings(tmp_path):
    assert [*read(written(tmp_path, b"\xef\xbb\xbfa,b\n\n1,2\n\n")).columns] == ["a", "b"]
    assert len(read(written(tmp_path, "a,b\n\n1,2\n\n"))) == 1
    assert read(written(tmp_path, "a\nM\xfcnze\n".encode("latin-1")), None, "latin-1")["a"][0] == (
        "M\xfcnze"
    )
    assert read(written(tmp_path, "a;b\n1;2\n".encode("utf-16")), ";", "utf-16")["b"][0] == "2"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n3\n", "line 3: 1 entries, expected 2"),
        ("a,b\n1,2\n3,4,5\n", "line 3: 3 entries, expected 2"),
        # One more entry in all rows: pandas would take the first column for an index.
        ("a,b\n1,2,3\n4,5,6\n", "line 2: 3 entries, expected 2"),
        ("a,b,a\n1,2,3\n", "several columns 'a'"),
        ("a,b\n", "has no rows"),
        ("\n", "is empty"),
        ('a,b\n1,"2\n3,4\n', "unexpected end of data"),
        ('a,b\n1,"2"x\n', "line 2: .* quotes"),
        (b"a,b\n1,2\nM\xfcnze,3\n", "line 3: byte 2 of it is 0xfc, which is not UTF-8.*--encoding"),
        (b"\xff\xfea\x00,\x00", "line 1: byte 1 of it is 0xff.*utf-16"),
    ],
)
@pytest.mark.parametrize("name", ["data.csv", "data.csv.gz"])
def test_bad_files_say_where_they_are_bad(tmp_path, content, message, name):
    with pytest.raises(DataError, match=message):
        read(written(tmp_path, content, name))


def test_the_line_of_a_bad_byte_far_down_is_found(tmp_path):
    rows = b"1,2\n" * 50_000
    with pytest.raises(DataError, match="line 50002: byte 3 of it is 0xe9"):
        read(written(tmp_path, b"a,b\n" + rows + b"4,\xe9\n"))


def test_truncated_archives_and_files_that_are_none(tmp_path):
    file = written(tmp_path, "a,b\n" + "1,2\n" * 1000, "data.csv.gz")
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(DataError, match="cannot be read"):
        read(file)
    file.write_bytes(b"a,b\n1,2\n")
    with pytest.raises(DataError, match="cannot be read"):
        read(file)


def test_separators(tmp_path):
    file = written(tmp_path, "a;b\n1;2\n")
    with pytest.raises(ConfigError, match="--separator ';'"):
        read(file)
    assert read(file, ";")["b"].tolist() == ["2"]
    with pytest.raises(ConfigError, match="one character"):
        read(file, ";;")
    with pytest.raises(ConfigError, match="one that Python knows"):
        read(file, ";", "latin-99")


def test_row_numbers_of_pandas_are_left_out(tmp_path):
    file = tmp_path / "data.csv"
    pd.DataFrame({"a": ["x", "y"], "b": [1, 2]}).to_csv(file)
    with pytest.warns(UserWarning, match="first column has no name"):
        frame = read(file)
    assert frame.to_numpy().tolist() == [["x", "1"], ["y", "2"]]
    with pytest.raises(DataError, match="several columns ''"):
        read(written(tmp_path, "a,,\n1,2,3\n"))
