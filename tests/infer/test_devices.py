import pytest
import torch
from torch import distributed

from pyro_ssl.errors import ConfigError
from pyro_ssl.infer import devices
from pyro_ssl.infer.devices import (
    forget_peak_memory,
    joined_processes,
    peak_memory,
    resolve_device,
    resolve_precision,
)


def test_devices_by_name():
    assert resolve_device("cpu") == torch.device("cpu")
    with pytest.raises(ConfigError):
        resolve_device("cuda:x")


def test_precision_is_automatic_only_when_asked(monkeypatch):
    cpu = torch.device("cpu")
    for able, expected in (({"amx_bf16": True}, "bfloat16"), ({"avx2": True}, "float32")):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda able=able: able, raising=False)
        assert resolve_precision("auto", cpu) == expected
        assert resolve_precision("float32", cpu) == "float32"
        assert resolve_precision("bfloat16", cpu) == "bfloat16"


def test_peak_memory_of_a_gpu_has_the_pool_of_a_graph_in_it(monkeypatch):
    gpu, done = torch.device("cuda", 1), []
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 3 * 2**20)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda device: 7 * 2**20)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: done.append("empty"))
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", done.append)
    forget_peak_memory(gpu)
    # What is kept of former runs does not count.
    assert done == ["empty", gpu]
    assert peak_memory(gpu) == 7.0


@pytest.mark.parametrize("device", [torch.device("cpu"), torch.device("cuda", 1)])
def test_processes_on_gpus_say_which_is_theirs(monkeypatch, device):
    calls = []
    monkeypatch.setattr(devices, "launched_by_torchrun", lambda: True)
    monkeypatch.setattr(devices, "leave_processes", lambda: None)
    monkeypatch.setattr(torch.cuda, "set_device", calls.append)
    monkeypatch.setattr(
        distributed, "init_process_group", lambda *args, **options: calls.append((args, options))
    )
    with joined_processes(device):
        pass
    if device.type == "cuda":
        assert calls == [device, (("nccl",), {"device_id": device})]
    else:
        assert calls == [(("gloo",), {})]
