"""What `import pyro_ssl` gives, and how the project's modules import each other."""

import ast
import subprocess
import sys
from pathlib import Path

import pyro_ssl
from pyro_ssl import models

ROOT = Path(pyro_ssl.__file__).parent.parent
PACKAGES = ("pyro_ssl", "experiments", "benchmarks")


def test_every_export_can_be_imported():
    for name in pyro_ssl._MODULE_OF:
        assert getattr(pyro_ssl, name).__name__ == name


def test_every_model_is_exported():
    classes = {n for n in models.__all__ if isinstance(getattr(models, n), type)}
    assert classes - set(pyro_ssl._MODULE_OF) == {"RelaxedM2"}


def test_importing_the_package_imports_neither_torch_nor_pyro():
    code = "import sys, pyro_ssl; print({'torch', 'pyro', 'pandas', 'sklearn'} & set(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert shown.stdout.strip() == "set()", shown.stderr


def modules() -> dict[str, Path]:
    return {
        ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file
        for package in PACKAGES
        for file in (ROOT / package).rglob("*.py")
    }


def imports(file: Path, known: set[str]) -> set[str]:
    """The project's modules that a file imports anywhere, those for type checkers included."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            assert node.module
            members = {f"{node.module}.{alias.name}" for alias in node.names}
            # Of a package only the modules that are meant, if they are.
            found |= members & known if members <= known else {node.module, *members}
    return found & known


def test_no_modules_import_each_other_in_a_circle():
    files = modules()
    graph = {name: imports(file, set(files)) - {name} for name, file in files.items()}
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> None:
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name not in done:
            for other in sorted(graph[name]):
                visit(other, [*path, name])
            done.add(name)

    for name in graph:
        visit(name, [])


def test_the_library_does_not_import_the_experiments():
    files = modules()
    for name, file in files.items():
        if name.startswith("pyro_ssl"):
            assert not [m for m in imports(file, set(files)) if not m.startswith("pyro_ssl")], name
