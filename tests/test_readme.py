import re
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"


def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)


def test_pyro_script_and_training_loop_run_as_printed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    script, loop = (block for block in blocks() if "M2" in block or "fit(" in block)
    assert script.count("\n") <= 12
    scope: dict = {}
    exec(script, scope)
    assert scope["losses"][-1] < 0.8 * scope["losses"][0]
    exec(loop, scope)
    assert len(scope["history"].rows) == 2
    assert (tmp_path / "m2.pt").exists()


def test_commands_of_the_readme_exist():
    text = README.read_text()
    makefile = (README.parent / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)$", text, re.MULTILINE):
        assert f"\n{target}:" in makefile
    for module in re.findall(r"python -m (experiments\.\w+)", text):
        assert (README.parent / f"{module.replace('.', '/')}.py").exists()
