import re
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from experiments.engine import gan_stages

_SEED = re.compile(r"seed_\d+(_\w+\.png)")
_drawn_by_model: set[tuple[str, str]] = set()


@pytest.fixture(autouse=True)
def draw_once(monkeypatch):
    """Render a kind of figure once a test, and for each model once a session: most of the time
    of a tiny run would go into pictures."""
    draw, drawn = Figure.savefig, set()

    def savefig(self, file, **options):
        kind = _SEED.fullmatch(Path(file).name) if isinstance(file, str | Path) else None
        if kind is None:
            return draw(self, file, **options)
        of_model = (Path(file).parent.name.split("-")[0], kind[1])
        if kind[1] in drawn or of_model in _drawn_by_model:
            Path(file).write_text("rendered by another run")
        else:
            draw(self, file, **options)
        drawn.add(kind[1])
        _drawn_by_model.add(of_model)
        return None

    monkeypatch.setattr(Figure, "savefig", savefig)


@pytest.fixture(scope="session", autouse=True)
def short_classifier():
    """Train the classifier whose features sets of images are compared by for a few steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gan_stages, "_CLASSIFIER_STEPS", 50)
        yield
