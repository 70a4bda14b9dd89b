"""Files and options that cannot be used: one line, code 1, and nothing is written."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.command.conftest import QUICK, make_table, partly


def csv(change=lambda table: table, **options):
    def write(folder):
        change(partly(make_table())).to_csv(folder / "data.csv", index=False, **options)
        return folder / "data.csv"

    return write


def content(text, name="data.csv"):
    def write(folder):
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return folder / name

    return write


def images(*sizes, broken=False):
    def write(folder):
        for n, size in enumerate(sizes):
            (folder / "images" / f"c{n % 2}").mkdir(parents=True, exist_ok=True)
            pixels = np.full((*size, 3), 40 * n, dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "images" / f"c{n % 2}" / f"{n}.png")
        if broken:
            (folder / "images" / "c0" / "broken.png").write_bytes(b"\x89PNG and no more")
        return folder / "images"

    return write


LABELS = ("--label-column", "y")
CASES = {
    "ragged": (content("a,y\n1,u\n2\n3,v\n"), LABELS, "line 3: 1 entries, expected 2"),
    "latin-1": (csv(lambda t: t.assign(colour="gr\xfcn"), encoding="latin-1"), LABELS, "0xfc"),
    "duplicate columns": (content("a,a,y\n1,2,u\n"), LABELS, "several columns 'a'"),
    "no label column": (csv(), ("--label-column", "label"), "no column 'label'"),
    "no label option": (csv(), (), "--label-column"),
    "no dropped column": (csv(), (*LABELS, "--drop", "name"), "no column 'name'"),
    "nothing to learn from": (content("y\nu\nv\n"), LABELS, "no columns to learn from"),
    "0 bytes": (content(""), LABELS, "is empty"),
    "no rows": (content("a,y\n"), LABELS, "has no rows"),
    "1 row": (content("a,y\n1,u\n"), LABELS, "at least 2 classes"),
    "1 class": (content("a,y\n1,u\n2,u\n3,\n"), LABELS, "at least 2 classes"),
    "no label": (content("a,y\n1,\n2,NA\n"), LABELS, "no label is known among 2 rows"),
    "continuous": (content("a,y\n1,0.5\n2,1\n3,2\n"), LABELS, "continuous, such as 0.5"),
    "constant": (content("a,y\n1,u\n1,v\n1,\n"), LABELS, "two distinct entries"),
    "infinity": (content("a,y\n1,u\n2,v\ninf,\n"), LABELS, "infinity"),
    "extension": (content("a,y\n1,u\n", "data.xlsx"), LABELS, "the suffix '.xlsx'"),
    "no file": (lambda folder: folder / "none.csv", LABELS, "does not exist"),
    "no images": (lambda folder: folder, (), "has no images"),
    "broken image": (images((8, 8), (8, 8), broken=True), (), "broken.png cannot be read"),
    "sizes": (images((8, 8), (8, 9)), (), "1.png has 9 x 8 pixels"),
    "family": (csv(), (*LABELS, "--columns", "age=big"), "'big' was stated"),
    "family of none": (csv(), (*LABELS, "--columns", "old=real"), "the column 'old'"),
    "family of text": (csv(), (*LABELS, "--columns", "colour=real"), "expected numbers"),
    "prior": (csv(), (*LABELS, "--class-prior", "even"), "class_prior is 'even'"),
    "shares": (csv(), (*LABELS, "--class-prior", "1", "2", "3"), "2 positive shares"),
    "steps": (csv(), (*LABELS, "--max-steps", "0"), "max_steps is 0"),
    "itself": (csv(), (*LABELS, "-o", "."), "expected the name of a folder"),
    "labels": (csv(), (*LABELS, "--labels", "y.npy"), "is not .npy data"),
    "size": (csv(), (*LABELS, "--image-size", "8"), "add --image-column"),
    "columns of images": (images((8, 8), (8, 8)), LABELS, "no effect on a folder of images"),
}


@pytest.mark.parametrize("name", CASES)
def test_fit_says_what_is_wrong_in_one_line(name, cli, tmp_path):
    write, options, message = CASES[name]
    (tmp_path / "in").mkdir()
    data = write(tmp_path / "in")
    code, out, err = cli("fit", data, *QUICK, "-o", tmp_path / "out" / "m", *options)
    assert (code, out) == (1, ""), err
    last = err.splitlines()[-1]
    assert last.startswith("pyro-ssl: error: ")
    assert message in last
    assert all(line.startswith("pyro-ssl: ") for line in err.splitlines())
    assert not any((tmp_path / "out").rglob("*"))


def test_latin_1_is_read_when_it_is_stated(cli, tmp_path):
    data = csv(lambda t: t.assign(colour=t["colour"] + "\xfc"), encoding="latin-1")(tmp_path)
    options = (*LABELS, "--drop", "id", "--encoding", "latin-1")
    assert cli("fit", data, *QUICK, *options, "-o", tmp_path / "m")[0] == 0
    # And by the model again, as it was.
    code, _, err = cli("predict", tmp_path / "m", data, "-o", tmp_path / "p.csv")
    assert (code, err) == (0, "")


def test_dates_that_are_not_of_iso_8601_are_text_and_warned_of(cli, tmp_path):
    days = pd.date_range("2024-01-01", periods=120).strftime("%d.%m.%Y")
    data = csv(lambda t: t.assign(when=days))(tmp_path)
    code, _, err = cli("describe", data, *LABELS, "--drop", "id")
    assert code == 0
    assert "column 'when' is text, different in most rows ('01.01.2024'" in err


def test_an_id_with_leading_zeros_stays_text(cli, tmp_path):
    code, out, err = cli("describe", csv()(tmp_path), *LABELS)
    assert (code, "column 'id' is text" in err) == (0, True)
    assert "007, 012, 100" in out
