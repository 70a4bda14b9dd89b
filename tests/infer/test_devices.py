import pytest
import torch
from torch import distributed

from experiments import mnist_m2
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


@pytest.fixture
def torchrun(monkeypatch):
    """Pretend to be one of torchrun's processes, on the second machine, which has some GPUs."""

    def pretend(rank, processes, gpus):
        of = {"RANK": 4 + rank, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": processes, "WORLD_SIZE": 8}
        of |= {"MASTER_ADDR": "first", "MASTER_PORT": 29400}
        for name, value in of.items():
            monkeypatch.setenv(name, str(value))
        monkeypatch.setattr("pyro_ssl.infer.devices.launched_by_torchrun", lambda: True)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)

    return pretend


@pytest.mark.parametrize("name", ["auto", "cuda", "cuda:1"])
@pytest.mark.parametrize("rank", [0, 1, 2])
def test_every_process_of_torchrun_says_that_there_are_too_few_gpus(name, rank, torchrun):
    # Those that have one would wait for the others for ever.
    torchrun(rank, 3, 2)
    with pytest.raises(
        ConfigError, match=r"started 3 processes here, but torch sees 2 GPUs: use -"
    ):
        resolve_device(name)


def test_processes_of_torchrun_have_a_gpu_each(torchrun):
    for rank in (0, 1):
        torchrun(rank, 2, 2)
        assert resolve_device("auto") == resolve_device("cuda") == torch.device("cuda", rank)
        with pytest.raises(ConfigError, match="'cuda:1', but 2 processes of torchrun cannot share"):
            resolve_device("cuda:1")
        assert resolve_device("cpu") == torch.device("cpu")
    torchrun(0, 1, 2)
    assert resolve_device("cuda:1") == torch.device("cuda", 1)
    torchrun(0, 2, 0)
    with pytest.raises(ConfigError, match="sees 0 GPUs: use --device cpu"):
        resolve_device("cuda")


def test_an_error_of_all_processes_of_torchrun_is_told_once_a_machine(torchrun, capsys, tmp_path):
    options = ["--dataset", "digits", "--device", "cuda", "--results-root", str(tmp_path)]
    for rank in range(3):
        torchrun(rank, 3, 2)
        assert mnist_m2.main(options) == 1
    assert capsys.readouterr().err.count("error: torchrun started 3 processes") == 1


@pytest.mark.parametrize(
    ("able", "expected"),
    [
        (
            {"cpu_name": "Chip 1", "amx_bf16": True, "avx512_bf16": True},
            "Chip 1, ARCH AMX bfloat16",
        ),
        ({"cpu_name": "Chip 2", "avx512_bf16": True}, "Chip 2, ARCH AVX512 bfloat16"),
        ({"cpu_name": "Chip 3"}, "Chip 3, ARCH AVX2"),
        ({}, "from the system, ARCH AVX2"),
    ],
)
def test_a_processor_is_told_by_its_name_and_matrix_features(monkeypatch, able, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able, raising=False)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    monkeypatch.setattr(devices.platform, "machine", lambda: "ARCH")
    monkeypatch.setattr(devices, "_processor", lambda: "from the system")
    told = devices.describe_device(torch.device("cpu"))
    assert told == f"{expected}, torch threads: {torch.get_num_threads()}"


def test_a_system_that_does_not_tell_its_processor_is_no_error(monkeypatch):
    monkeypatch.setattr(devices.Path, "read_text", lambda self, errors: "flags: a b")
    assert devices._processor() == ""
