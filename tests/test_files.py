import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections import namedtuple
from enum import IntEnum
from pathlib import Path

import numpy as np
import pytest
import torch

import pyro_ssl
from pyro_ssl.errors import CheckpointError, ConfigError, ResultsError
from pyro_ssl.files import read_state, write_state, write_text
from pyro_ssl.json_files import json_text, read_json

STATE = {
    "weights": {"layer.weight": torch.linspace(-1, 1, 60).view(20, 3), "steps": torch.tensor(7)},
    "options": {"sizes": (1, 2), "name": "m2", "rate": 0.5, "none": None},
}


class Unwritable:
    def __reduce__(self):
        raise RuntimeError("no room left")


class Colour(IntEnum):
    RED = 1


Point = namedtuple("Point", "x y")


def equal(one, other):
    """Whether two states are the same to the last bit."""
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(equal(one[k], other[k]) for k in one)
    return type(one) is type(other) and one == other


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    file = tmp_path / "state.pt"
    write_state({"a": torch.ones(2)}, file)
    before = file.read_bytes()
    with pytest.raises(ResultsError, match=r"state\.pt cannot be written: no room left"):
        write_state({"a": Unwritable()}, file)
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


def test_folders_are_made_and_an_unwritable_one_is_named(tmp_path):
    write_text("text", tmp_path / "new" / "folder" / "file.txt")
    assert (tmp_path / "new/folder/file.txt").read_text() == "text"
    with pytest.raises(ResultsError, match="cannot be written"):
        write_text("text", tmp_path / "new/folder/file.txt/below")
    with pytest.raises(ResultsError, match=r"name\.txt cannot be written: .*surrogates"):
        write_text("\udcff", tmp_path / "name.txt")


@pytest.mark.parametrize(
    "odd",
    [np.zeros(2), print, lambda: 1, Colour.RED, Point(1, 2), 10**1000, np.int64, object()],
    ids=lambda odd: type(odd).__name__,
)
def test_what_could_not_be_read_is_refused_by_its_key_before_anything_is_replaced(odd, tmp_path):
    file = tmp_path / "state.pt"
    write_state(STATE, file)
    before = file.read_bytes()
    with pytest.raises(ConfigError, match=r"state\.pt cannot hold options\['sizes'\]\[1\], the "):
        write_state({**STATE, "options": {"name": "m2", "sizes": (1, odd)}}, file)
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


def test_scalars_of_numpy_are_written_as_pythons(tmp_path):
    rows = [{"epoch": np.int64(1), "mine": np.float32(0.5), np.str_("text"): np.bool_(True)}]
    write_state({"rows": rows}, tmp_path / "s.pt")
    assert equal(read_state(tmp_path / "s.pt")["rows"][0], {"epoch": 1, "mine": 0.5, "text": True})


def flipped(content, bit):
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << (bit % 8)
    return bytes(changed)


def test_every_flipped_bit_of_a_state_is_noticed(tmp_path):
    file = tmp_path / "state.pt"
    write_state(STATE, file)
    assert equal(read_state(file), STATE)
    content = file.read_bytes()
    last = 8 * len(content)
    for bit in [*random.Random(0).sample(range(last), 800), *range(last - 8 * 110, last, 3)]:
        file.write_bytes(flipped(content, bit))
        with pytest.raises(CheckpointError, match=r"state\.pt is truncated or not a checkpoint"):
            read_state(file)


def test_no_flipped_bit_of_a_state_without_a_digest_changes_what_is_read(tmp_path):
    # As earlier versions wrote it.
    file = tmp_path / "state.pt"
    torch.save(STATE, file)
    assert equal(read_state(file), STATE)
    content = file.read_bytes()
    start = content.index(b"PK\x01\x02")
    bits = [*random.Random(0).sample(range(8 * start), 100), *range(8 * start, 8 * len(content), 5)]
    # The attribute of a part of an archive by which readers take it for a folder.
    parts = [n for n in range(start, len(content)) if content.startswith(b"PK\x01\x02", n)]
    noticed = 0
    for bit in [*bits, *(8 * (part + 38) + 4 for part in parts)]:
        file.write_bytes(flipped(content, bit))
        try:
            found = read_state(file)
        except CheckpointError:
            noticed += 1
        else:
            assert equal(found, STATE), bit
    assert noticed > 100


@pytest.mark.parametrize("kept", [0, 1, 30, 0.5, 0.99, -1, -80, -100])
def test_a_truncated_state_is_noticed(kept, tmp_path):
    write_state(STATE, tmp_path / "s.pt")
    content = (tmp_path / "s.pt").read_bytes()
    size = kept if isinstance(kept, int) else int(kept * len(content))
    (tmp_path / "s.pt").write_bytes(content[:size])
    with pytest.raises(CheckpointError, match="truncated or not a checkpoint"):
        read_state(tmp_path / "s.pt")


def test_a_state_is_an_archive_that_torch_reads_too(tmp_path):
    write_state(STATE, tmp_path / "s.pt")
    assert equal(torch.load(tmp_path / "s.pt", weights_only=True), STATE)


def test_paths_that_are_no_files_are_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"no checkpoint .*none\.pt"):
        read_state(tmp_path / "none.pt")
    with pytest.raises(CheckpointError, match=r"truncated or not a checkpoint \(it is not a file"):
        read_state(tmp_path)
    if Path("/dev/zero").exists():
        with pytest.raises(CheckpointError, match="it is not a file"):
            read_state(Path("/dev/zero"))


def test_what_is_written_wrongly_does_not_replace_what_was_there(tmp_path, monkeypatch):
    file, save = tmp_path / "state.pt", torch.save
    write_state(STATE, file)
    before = file.read_bytes()

    def wrongly(state, path):
        save(state, path)
        content = path.read_bytes()
        at = content.index(b"data/0")
        path.write_bytes(flipped(content, 8 * (at + 100)))

    monkeypatch.setattr(torch, "save", wrongly)
    with pytest.raises(ResultsError, match=r"state\.pt cannot be written: the checksum of"):
        write_state(STATE, file)
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


def test_checksums_are_written_even_if_torch_is_told_to_leave_them_out(tmp_path):
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        write_state(STATE, tmp_path / "s.pt")
    finally:
        torch.serialization.set_crc32_options(before)
    assert equal(read_state(tmp_path / "s.pt"), STATE)


VALUES = {"scale": 0.25, "names": ["a", "b"], "deep": {"count": 12, "nothing": None, "yes": True}}


def test_no_flipped_bit_of_json_changes_what_is_read(tmp_path):
    file = tmp_path / "v.json"
    content = json_text(VALUES, file).encode()
    file.write_bytes(content)
    assert read_json(file) == VALUES
    noticed = 0
    bits = range(0, 8 * len(content), 5)
    for bit in bits:
        file.write_bytes(flipped(content, bit))
        try:
            found = read_json(file)
        except CheckpointError:
            noticed += 1
        else:
            # If the name of the digest is lost, all else is as it was.
            assert {k: v for k, v in found.items() if k in VALUES} == VALUES
    assert noticed > 0.7 * len(bits)


@pytest.mark.parametrize(
    "content", ["", "{", "[1]", "3", "null", '"x"', "[" * 100_000, "\udcff", "1" * 5000]
)
def test_json_that_is_none_of_ours_is_refused(content, tmp_path):
    file = tmp_path / "v.json"
    file.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(CheckpointError, match=r"v\.json"):
        read_json(file)
    with pytest.raises(CheckpointError, match=r"v\.json"):
        read_json(file / "v.json")


def test_json_of_an_earlier_version_and_of_numpy_is_read(tmp_path):
    file = tmp_path / "v.json"
    file.write_text(json.dumps(VALUES))
    assert read_json(file) == VALUES
    write_text(json_text({"n": np.float64(0.1), "t": (1, np.int8(2))}, file), file)
    assert read_json(file) == {"n": 0.1, "t": [1, 2]}
    with pytest.raises(ConfigError, match=r"v\.json cannot hold deep\['odd'\]\[1\], the ndarray"):
        json_text({"deep": {"odd": [1, np.zeros(2)]}}, file)


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_says_where(call, tmp_path, monkeypatch):
    file = tmp_path / "file.txt"
    write_text("old", file)

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(ResultsError, match=r"file\.txt cannot be written: \[Errno 28\].*make room"):
        write_text("new", file)
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_content_and_name_are_flushed_in_this_order(tmp_path, monkeypatch):
    calls, replace, fsync = [], os.replace, os.fsync

    def flush(file):
        calls.append("folder" if os.path.isdir(f"/proc/self/fd/{file}") else "file")
        fsync(file)

    monkeypatch.setattr(os, "fsync", flush)
    monkeypatch.setattr(os, "replace", lambda *args: (calls.append("replace"), replace(*args)))
    write_state(STATE, tmp_path / "s.pt")
    assert calls[0:2] == ["file", "replace"]
    assert len(calls) == 3


def test_threads_that_write_one_file_leave_one_of_their_texts(tmp_path):
    texts = [str(n) * 10_000 for n in range(8)]
    writers = [
        threading.Thread(target=lambda t=t: [write_text(t, tmp_path / "f") for _ in range(10)])
        for t in texts
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert (tmp_path / "f").read_text() in texts
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


# Writes half a file, says so, and waits to be told to go on.
WRITER = """
import sys
from pathlib import Path
from pyro_ssl.replacing import replacing
with replacing(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    print("begun", flush=True)
    sys.stdin.readline()
    temporary.write_text("whole")
"""


def writer(file):
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(file)],
        env=os.environ | {"PYTHONPATH": str(Path(pyro_ssl.__file__).parent.parent)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "begun\n"
    return process


@pytest.mark.skipif(os.name == "nt", reason="NO STALE FILES ARE TESTED: there are no such locks")
def test_what_a_killed_writer_left_is_cleared_and_not_what_a_living_one_writes(tmp_path):
    (tmp_path / "mine.1.tmp").touch()
    living, dead = writer(tmp_path / "living.txt"), writer(tmp_path / "dead.txt")
    assert len(list(tmp_path.iterdir())) == 3
    dead.send_signal(signal.SIGKILL)
    dead.wait()
    write_text("text", tmp_path / "other.txt")
    names = sorted(p.name for p in tmp_path.iterdir())
    assert [name.split(".")[0] for name in names] == ["living", "mine", "other"]
    living.communicate("\n")
    assert living.returncode == 0
    assert (tmp_path / "living.txt").read_text() == "whole"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["living.txt", "mine.1.tmp", "other.txt"]
