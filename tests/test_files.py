import pytest
import torch

from pyro_ssl.errors import ResultsError
from pyro_ssl.files import write_state, write_text


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    file = tmp_path / "state.pt"
    write_state({"a": torch.ones(2)}, file)
    before = file.read_bytes()

    class Unwritable:
        def __reduce__(self):
            raise RuntimeError("no room left")

    with pytest.raises(ResultsError, match=r"state\.pt cannot be written: no room left"):
        write_state({"a": Unwritable()}, file)
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


def test_folders_are_made_and_an_unwritable_one_is_named(tmp_path):
    write_text("text", tmp_path / "new" / "folder" / "file.txt")
    assert (tmp_path / "new/folder/file.txt").read_text() == "text"
    with pytest.raises(ResultsError, match="cannot be written"):
        write_text("text", tmp_path / "new/folder/file.txt/below")
