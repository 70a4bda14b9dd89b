"""The examples of models, terms and callbacks of a user's own."""

import ast
import importlib.util
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).parent.parent / "examples"


def example(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["own_model", "own_term", "own_callback"])
def test_an_example_takes_at_most_25_lines_beside_imports_and_blank_ones(name):
    text = (FOLDER / f"{name}.py").read_text()
    last = max(
        node.end_lineno
        for node in ast.parse(text).body
        if isinstance(node, (ast.Import, ast.ImportFrom))
    )
    lines = text[: text.index("if __name__")].splitlines()[last:]
    assert len([line for line in lines if line.strip()]) <= 25


def test_a_model_of_ones_own_is_trained_saved_and_loaded(tmp_path):
    torch.manual_seed(0)
    probabilities, ys = example("own_model").main(tmp_path / "mixture.pt")
    assert (probabilities.argmax(-1) == ys).float().mean() > 0.95


def test_a_term_of_ones_own_is_reported_annealed_and_left_out_of_the_bound():
    frame = example("own_term").main(epochs=12)
    assert frame["entropy"].iloc[-1] < frame["entropy"].max()
    # What is reported of the bound is its own terms.
    bound = frame["unlabelled_log_prob_x"] - frame["unlabelled_kl_z"] - frame["unlabelled_kl_y"]
    assert bound.tolist() == pytest.approx(frame["unlabelled_elbo"].tolist(), rel=1e-4)


def test_a_callback_of_ones_own_stops_training():
    history, steps = example("own_callback").main(epochs=40)
    assert history.termination == "callback"
    assert 0 < len(history.rows) < 40
    assert history.rows[-1]["validation_accuracy"] > 0.8
    assert all(row["validation_accuracy"] <= 0.8 for row in history.rows[:-1])
    assert steps == list(range(1, 13 * len(history.rows) + 1))
