"""The device of a run: its choice, its abilities, its memory."""

import ctypes
import gc
import os
import platform
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from pyro_ssl.errors import ConfigError
from pyro_ssl.infer.processes import leave_processes

# Where the processes of several nodes meet: torchrun's own default.
_RENDEZVOUS_PORT = 29400


def resolve_device(name: str) -> torch.device:
    """Return the device called `name`: `auto`, `cpu`, `cuda` or `cuda:N`.

    Under `torchrun`, `cuda` is each process's own GPU.

    Raises:
        ConfigError: if the device does not exist, or there are too few for `torchrun`'s processes.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and launched_by_torchrun():
        _check_enough(name)
    if name == "cuda" and launched_by_torchrun():
        name = f"cuda:{os.environ['LOCAL_RANK']}"
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda") or not (number.isdigit() or name == kind):
        raise ConfigError(f"device is {name!r}, expected auto, cpu, cuda or cuda:N")
    if kind == "cpu":
        return torch.device("cpu")
    index = int(number or 0)
    if index >= torch.cuda.device_count():
        raise ConfigError(
            f"device is {name!r}, but torch sees {torch.cuda.device_count()} GPUs: use --device cpu"
        )
    return torch.device("cuda", index)


def _check_enough(name: str) -> None:
    """Check that each process of `torchrun` on this machine has a GPU of its own.

    All processes come to the same result, including the first, whose errors are shown.
    """
    processes, gpus = int(os.environ["LOCAL_WORLD_SIZE"]), torch.cuda.device_count()
    if processes > gpus:
        fewer = f"--nproc-per-node={gpus} or " if gpus else ""
        raise ConfigError(
            f"torchrun started {processes} processes here, but torch sees {gpus} GPUs: use "
            f"{fewer}--device cpu"
        )
    if name != "cuda" and processes > 1:
        raise ConfigError(
            f"device is {name!r}, but {processes} processes of torchrun cannot share a GPU: use "
            "--device cuda, which gives each its own"
        )


def describe_device(device: torch.device) -> str:
    """Return the name of a GPU; or of a processor, with its bfloat16 instructions and the threads.

    Steps in bfloat16 take several times as long without matrix units (AMX), which the capability
    AVX512 does not tell.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    able = _cpu_capabilities()
    words = {
        "amx_bf16": "AMX bfloat16",
        "avx512_bf16": "AVX512 bfloat16",
        "sve_bf16": "SVE bfloat16",
    }
    matrix = [text for name, text in words.items() if able.get(name)][:1]
    kind = " ".join([platform.machine(), *(matrix or [torch.backends.cpu.get_cpu_capability()])])
    name = able.get("cpu_name") or _processor()
    kind = f"{name}, {kind}" if name else kind
    return f"{kind}, torch threads: {torch.get_num_threads()}"


def _cpu_capabilities() -> dict[str, Any]:
    """Return what torch knows of the processor, empty in versions that do not tell."""
    return dict(torch.cpu.get_capabilities()) if hasattr(torch.cpu, "get_capabilities") else {}


def _processor() -> str:
    """Return the processor's name, or "" if the system does not tell."""
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
        return next(x for x in lines if x.startswith("model name")).partition(":")[2].strip()
    return ""


def resolve_precision(name: str, device: torch.device) -> str:
    """Return `name`; for `auto`, bfloat16 if `device` supports it natively, else float32."""
    if name != "auto":
        return name
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        able = _cpu_capabilities()
        native = bool(able.get("avx512_bf16") or able.get("amx_bf16"))
    return "bfloat16" if native else "float32"


def keep_freed_memory() -> None:
    """Make this process keep freed memory instead of returning it to the system (glibc only).

    A training step frees its activations, and the next step allocates as much again. By default
    glibc returns large blocks to the system; getting their pages again takes a quarter of a step's
    time.
    """
    trim_threshold, mmap_threshold = -1, -3
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(mmap_threshold, 32 * 2**20)
        libc.mallopt(trim_threshold, 2**31 - 1)


def forget_peak_memory(device: torch.device) -> None:
    """Reset `peak_memory`, and return what this process has freed to the system."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        # On Linux only: sets the largest resident size to the present one.
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory(device: torch.device) -> float | None:
    """Return the largest memory in use since `forget_peak_memory`, in MiB.

    On a GPU this is what torch has reserved: memory of tensors, memory of CUDA graphs, and memory
    for later tensors. On a CPU it is the resident size of this process, including libraries and
    data; None if the system does not report it.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device) / 2**20
    with suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(x for x in lines if x.startswith("VmHWM:")).split()[1]) / 2**10
    return None


def launched_by_torchrun() -> bool:
    """Return whether `torchrun` started this process, as one of several."""
    return distributed.is_available() and distributed.is_torchelastic_launched()


def launcher() -> list[str]:
    """Return the start of the command that runs this process: Python, or `torchrun`."""
    if launched_by_torchrun():
        here = int(os.environ["LOCAL_WORLD_SIZE"])
        nodes = int(os.environ["WORLD_SIZE"]) // here
        first = f"--rdzv-endpoint={os.environ['MASTER_ADDR']}:{_RENDEZVOUS_PORT}"
        several = [f"--nnodes={nodes}", "--rdzv-backend=c10d", first] if nodes > 1 else []
        return ["torchrun", *several, f"--nproc-per-node={here}"]
    return [sys.executable]


def tell(message: str) -> None:
    """Print a message to standard error, only once per machine under `torchrun`."""
    if not launched_by_torchrun() or os.environ["LOCAL_RANK"] == "0":
        print(message, file=sys.stderr)


def command_to_resume(args: Sequence[str] | None) -> str:
    """Return the command line of this process with `--resume`; `args` replaces `sys.argv`."""
    module = sys.modules["__main__"].__spec__
    program = ["-m", module.name] if module else [sys.argv[0]]
    given = sys.argv[1:] if args is None else args
    kept = [a for a in given if a not in ("--overwrite", "--resume")]
    return shlex.join([*launcher(), *program, *kept, "--resume"])


@contextmanager
def joined_processes(device: torch.device) -> Iterator[None]:
    """Join the other processes of `torchrun`, if it started this one.

    Args:
        device: this process's device.
    """
    if not launched_by_torchrun():
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
        # With its device, the group is created now, and its calls need not guess the device.
        distributed.init_process_group("nccl", device_id=device)
    else:
        distributed.init_process_group("gloo")
    yield
    leave_processes()
