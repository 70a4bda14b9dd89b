"""Options of a model that training may anneal."""

from typing import Any

import torch
from torch import nn

from pyro_ssl.option_kinds import Positive
from pyro_ssl.options import converted


class AnnealedOption:
    """A positive number that is an attribute of a model, with a buffer of its present value.

    Setting the attribute `NAME` also sets the 0-dimensional buffer `annealed_NAME`. The programs
    use the buffer, and `FitConfig.anneal` changes only the buffer.

    Raises:
        ConfigError: if set to a number that is not positive and finite.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, module: Any, owner: type | None = None) -> Any:
        return self if module is None else vars(module)[self.name]

    def __set__(self, module: nn.Module, value: float) -> None:
        value = converted(self.name, value, Positive)
        vars(module)[self.name] = value
        buffer = f"annealed_{self.name}"
        if hasattr(module, buffer):
            getattr(module, buffer).fill_(value)
        else:
            module.register_buffer(buffer, torch.tensor(float(value)))
