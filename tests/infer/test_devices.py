import pytest
import torch

from pyro_ssl.errors import ConfigError
from pyro_ssl.infer.devices import resolve_device, resolve_precision


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
