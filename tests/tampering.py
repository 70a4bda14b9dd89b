"""Values of files replaced by others, and files of something else."""

import copy
import io
import pickle
import zipfile

import torch
from hypothesis import strategies as st

# Stands for no value at all.
GONE = object()
PLAIN = [None, True, -1, 0, 2.5, float("nan"), float("inf"), 10**20, "x", "", [], {}, [1], {"a": 1}]
JUNK = [
    *PLAIN,
    (),
    b"x",
    [[[]]],
    torch.zeros(2),
    torch.zeros(()),
    torch.Size([1]),
    torch.float32,
    {"family": "Gaussian", "scale": "x"},
    {"to be given again, a": "Net"},
]


def paths(value, at=()):
    """The keys that lead to each value within a value, itself included."""
    parts = value.items() if isinstance(value, dict) else ()
    parts = enumerate(value) if isinstance(value, list | tuple) else parts
    return [at, *(path for key, part in parts for path in paths(part, (*at, key)))]


def changed(value, at, junk):
    """A copy of a value in which what the keys `at` lead to is `junk`."""
    if not at:
        return None if junk is GONE else junk
    found = copy.copy(value) if isinstance(value, dict) else list(value)
    if len(at) == 1 and junk is GONE:
        del found[at[0]]
    else:
        found[at[0]] = changed(value[at[0]], at[1:], junk)
    return tuple(found) if isinstance(value, tuple) else found


def tampered(value, junk=JUNK):
    """A strategy: the value with one or two of its parts replaced."""
    once = st.tuples(st.sampled_from(paths(value)), st.sampled_from([*junk, GONE]))

    def replaced(first, second):
        found = changed(value, *first)
        return changed(found, *second) if second and second[0] in paths(found) else found

    return st.builds(replaced, once, st.none() | once)


def error_of(call, *args):
    """The error that a call ends with; None if there is none."""
    try:
        call(*args)
    except Exception as error:
        return error
    return None


class Payload:
    def __reduce__(self):
        return (print, ("code ran from a file",))


def archive(**files):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as packed:
        for name, text in files.items():
            packed.writestr(name, text)
    return content.getvalue()


def saved(state):
    content = io.BytesIO()
    torch.save(state, content)
    return content.getvalue()


FOREIGN = {
    "empty": b"",
    "text": b"epoch,loss\n0,1.5\n",
    "json": b'{"format": "pyro_ssl checkpoint 5"}',
    "pickle": pickle.dumps({"format": "pyro_ssl model 2"}),
    "pickle that runs code": pickle.dumps(Payload()),
    "archive": archive(a="b"),
    "archive of a pickle": archive(**{"x/data.pkl": pickle.dumps(Payload(), 2), "x/version": "3"}),
    "torch, other keys": saved({"weights": torch.zeros(2)}),
    "torch, no mapping": saved([1, 2]),
    "torch, a tensor for a format": saved({"format": torch.zeros(2)}),
    "torch, a list for a format": saved({"format": ["pyro_ssl model 2"]}),
    "torch, an earlier format alone": saved({"format": "pyro_ssl checkpoint 3"}),
    "torch, an earlier format of junk": saved(
        {"format": "pyro_ssl checkpoint 4", "config": [], "rows": {}}
    ),
    "torch, that runs code": saved(Payload()),
    "torch, of before archives": (
        lambda content: (
            torch.save({"format": 1}, content, _use_new_zipfile_serialization=False),
            content.getvalue(),
        )[1]
    )(io.BytesIO()),
}
