"""Files that people and machines damage: each is one error, which names it."""

from typing import Literal

import pytest

from pyro_ssl.errors import ResultsError
from pyro_ssl.text_files import read_csv, read_json

DAMAGED = {
    "empty": b"",
    "truncated": b'{"a": 1, "b',
    "a list": b"[1]",
    "a number": b"3",
    "null": b"null",
    "deep": b"[" * 100_000,
    "not UTF-8": b'{"a": "\xff\xfe"}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "many digits": b'{"a": ' + b"9" * 10_000 + b"}",
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_damaged_json_is_named(tmp_path, content):
    path = tmp_path / "some.json"
    path.write_bytes(content)
    with pytest.raises(ResultsError, match=r"some\.json is damaged .*: do this"):
        read_json(path, "do this")


def test_a_folder_and_no_file_are_named(tmp_path):
    (tmp_path / "some.json").mkdir()
    for name in ("some.json", "none.json", "nul\0.json"):
        with pytest.raises(ResultsError, match="is damaged or not a file"):
            read_json(tmp_path / name)
        with pytest.raises(ResultsError, match="is damaged or not a file"):
            read_csv(tmp_path / name)


KINDS = {"i": int, "f": float, "o": float | None, "s": str, "t": tuple[int, ...], "d": dict}
KINDS |= {"b": bool, "l": Literal["x", "y"], "n": list[str]}
WRONG = [
    ("i", "1.5"), ("i", "true"), ("i", '"1"'), ("i", "1e400"), ("i", "NaN"), ("i", "null"),
    ("i", "9007199254740993"), ("f", "NaN"), ("f", "-Infinity"), ("f", "null"), ("f", '"0.5"'),
    ("f", "[0.5]"), ("f", "9" * 400), ("o", '""'), ("s", "3"), ("s", '"\\ud800"'), ("s", '"a\\nb"'),
    ("t", "3"), ("t", "[1, 2.5]"), ("t", '"ab"'), ("d", "[]"), ("b", "1"), ("l", '"z"'),
    ("l", "{}"),
    ("n", "[1]"), ("n", '"ab"'),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value"), WRONG, ids=[f"{k}={v:.12}" for k, v in WRONG])
def test_values_of_another_kind_are_named(tmp_path, key, value):
    path = tmp_path / "some.json"
    path.write_text(f'{{"{key}": {value}, "other": {value}}}')
    with pytest.raises(ResultsError, match=rf"\({key} is "):
        read_json(path, kinds=KINDS)


def test_values_of_the_kind_pass_and_what_is_wanted_is_there(tmp_path):
    path = tmp_path / "some.json"
    path.write_text(
        '{"i": 1, "f": 2, "o": null, "s": "\\u00e4", "t": [1, 2], "d": {}, "b": true, "l": "y", '
        '"n": ["a"], "else": NaN}'
    )
    assert read_json(path, kinds=KINDS)["t"] == [1, 2]
    with pytest.raises(ResultsError, match="no 'z'"):
        read_json(path, kinds=KINDS, wanted=("i", "z"))


@pytest.mark.parametrize(
    "content", [b"", b"\n\n", b"a,b\n", b'a,b\n1,"2', b"\xff\xfe\n", b"a,b\n1,2,3\n1,2,3,4\n", b"x"]
)
def test_damaged_csv_is_named(tmp_path, content):
    path = tmp_path / "some.csv"
    path.write_bytes(content)
    with pytest.raises(ResultsError, match=r"some\.csv is damaged .*: do this"):
        read_csv(path, ("a",), ("b",), "do this")


def test_columns_are_there_and_of_numbers(tmp_path):
    path = tmp_path / "some.csv"
    path.write_text("a,b\n1,x\n,y\n")
    assert read_csv(path, ("a",), ("b",)).shape == (2, 2)
    with pytest.raises(ResultsError, match=r"no column c; no numbers in b"):
        read_csv(path, ("a", "b", "c"))
