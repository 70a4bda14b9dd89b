"""How the experiments' files import each other, and how long they are."""

from pathlib import Path

import pytest

import experiments
from tests.test_package import imports, modules

FOLDER = Path(experiments.__file__).parent


def closure(start: str) -> set[str]:
    """Modules of the experiments that one opens to follow `start` to its end."""
    files = {name: file for name, file in modules().items() if name.startswith("experiments.")}
    found, left = set(), [start]
    while left:
        name = left.pop()
        if name not in found and files[name].name != "__init__.py":
            found.add(name)
            left += imports(files[name], set(files))
    return found


def test_mnist_m2_is_followed_to_its_end_in_six_files():
    found = closure("experiments.mnist_m2")
    assert "experiments.engine.runner" in found
    assert len(found) <= 6, sorted(found)


@pytest.mark.parametrize("file", sorted(FOLDER.rglob("*.py")), ids=lambda file: file.stem)
def test_no_file_is_long(file):
    assert len(file.read_text().splitlines()) <= 250


def test_the_engine_imports_no_command():
    for name, file in modules().items():
        if name.startswith("experiments.engine"):
            found = imports(file, set(modules()))
            outside = {m for m in found if m.startswith("experiments.")}
            assert all(m.startswith("experiments.engine") for m in outside), name


def test_beside_the_engine_there_are_commands_alone():
    others = [f.stem for f in FOLDER.glob("*.py") if "__main__" not in f.read_text()]
    assert others == ["__init__"]
