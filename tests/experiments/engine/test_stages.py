import pytest
import torch

from experiments.engine.stages import run_stage
from pyro_ssl.errors import NonFiniteError


class StopError(Exception):
    pass


def stage(path, stop_at=None, steps=40, broken=False):
    """A linear map fitted to noise; its weights at the end, and what was measured."""
    torch.manual_seed(0)
    net, rows, made = torch.nn.Linear(2, 1), [], []
    adam = torch.optim.Adam(net.parameters(), 0.1)

    def step():
        if len(made) == stop_at:
            raise StopError
        made.append(1)
        loss = (net(torch.randn(5, 2)) - torch.randn(5, 1)).square().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        return loss.detach() * (float("nan") if broken else 1)

    seconds = run_stage(
        path, {"net": net, "adam": adam}, steps, step, 7, True, rows,
        lambda done: {"step": done, "weight": net.weight.sum().item()}, 4,
    )  # fmt: skip
    assert seconds > 0
    return net.weight.detach(), rows, len(made)


def test_a_stage_that_was_stopped_ends_as_one_that_was_not(tmp_path):
    weight, rows, made = stage(tmp_path / "whole.pt")
    assert made == 40
    assert [row["step"] for row in rows] == [0, 10, 20, 30, 40]
    with pytest.raises(StopError):
        stage(tmp_path / "stopped.pt", stop_at=17)
    again, rows_again, made = stage(tmp_path / "stopped.pt")
    # Every second step is kept.
    assert made == 40 - 16
    assert torch.equal(again, weight)
    assert rows_again == rows


def test_a_finished_stage_is_only_loaded(tmp_path):
    weight, rows, _ = stage(tmp_path / "whole.pt")
    again, rows_again, made = stage(tmp_path / "whole.pt")
    assert made == 0
    assert torch.equal(again, weight)
    assert rows_again == rows


def test_a_loss_that_is_not_finite_is_not_kept(tmp_path):
    with pytest.raises(NonFiniteError, match=r"loss of broken is nan at step 2"):
        stage(tmp_path / "broken.pt", broken=True)
    assert not (tmp_path / "broken.pt").exists()
