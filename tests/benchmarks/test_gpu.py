"""The checks of a GPU, as far as they go without one."""

from dataclasses import replace

import pytest
import torch

from benchmarks import gpu


def test_without_a_gpu_it_says_so_and_exits_with_its_own_code(capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main([]) == gpu.NO_GPU == 2
    assert "torch sees no GPU here" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["recorded", "refusal"])
def test_checks_fail_where_nothing_is_recorded(monkeypatch, name):
    monkeypatch.setattr(gpu, "_HOW", replace(gpu._HOW, epochs=1))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: 0)
    monkeypatch.setattr(torch.cuda, "default_stream", lambda device: 0)
    found = list(getattr(gpu, name)(torch.device("cpu"), gpu.Config()))
    assert found
    assert not any(passed for passed, _ in found)
    # Both ways are the same on a CPU.
    assert name != "recorded" or all("off by 0.0e+00" in told for _, told in found)


def test_failures_are_counted_and_do_not_end_the_checks(monkeypatch, capsys):
    def fails(device, config):
        yield True, "first"
        raise ValueError("second")

    def passes(device, config):
        yield True, "third"

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a GPU")
    monkeypatch.setattr(gpu, "seconds_a_step", lambda make, data, how: 1e-4)
    monkeypatch.setattr(torch.Tensor, "to", lambda self, *args, **options: self)
    monkeypatch.setattr(gpu, "CHECKS", (fails, passes))
    assert gpu.main([]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:4] == [
        "PASS fails: first",
        "FAIL fails: ValueError: second",
        "PASS passes: third",
    ]
    monkeypatch.setattr(gpu, "CHECKS", (passes,))
    assert gpu.main([]) == 0
