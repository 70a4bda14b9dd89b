"""What every model shares: identity in Pyro's parameter store, evaluation mode, checks."""

import inspect
import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, TypeVar
from weakref import WeakValueDictionary

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import ELBO
from pyro.infer.util import is_validation_enabled
from torch import Tensor, nn

from pyro_ssl.data.checks import check_inputs
from pyro_ssl.elbos.enumerated import StaticEnum_ELBO
from pyro_ssl.errors import ConfigError
from pyro_ssl.likelihoods import Bernoulli, Likelihood, as_likelihood
from pyro_ssl.models.rows import Batch
from pyro_ssl.nets.given import GivenNetwork
from pyro_ssl.nets.mlp import MLP
from pyro_ssl.plain import plain

_counts: "dict[str, itertools.count[int]]" = {}
# Which living model has which name in Pyro's parameter store.
_named: "WeakValueDictionary[str, PyroModel]" = WeakValueDictionary()
# What parts of a model were called in earlier versions, whose state dicts still load.
_FORMER_NAMES = {"trunk.": "image_encoder.", "canvas.": "image_decoder."}

Model = TypeVar("Model", bound="PyroModel")


class PyroModel(nn.Module):
    """Base of every model: a pair of Pyro programs of the same inputs.

    A subclass keeps each constructor argument as an attribute of the same name; it may take
    those of its own base as `**options` and pass them on. Its programs are
    `model(xs, ys)` and `guide` of the same arguments. It registers its parameters
    with `pyro.module(self._name, self)`; `_name` (see `named`) is unique to the instance, also
    after `copy.deepcopy` and unpickling, since two instances of one name would share an entry in
    Pyro's parameter store and the second would silently never train.

    Args:
        input_shape: shape of one input, without the batch dimension.

    Attributes:
        learns_from_unlabelled: whether rows without a label contribute to the objective.
        likelihood: the family of p(x|.), from which it follows what inputs the model takes.
        recommended_anneal: what `fit` anneals unless it is told otherwise: by key of
            `FitConfig.anneal` the value at the start, the value at the end, and the share of the
            run's steps that it takes to get there.
        objective_name: what is maximised, as validation reports it of models that do not classify.
        class_chunk: summed labels evaluated at a time, to save memory; None for all.
        max_plate_nesting: plates of the programs, the rows' being dimension -1.
    """

    learns_from_unlabelled = True
    likelihood: Likelihood = Bernoulli()
    likelihood_parameters: nn.Parameter | None
    recommended_anneal: ClassVar[Mapping[str, tuple[float, float, float]]] = {}
    objective_name = "elbo"
    class_chunk: int | None = None
    max_plate_nesting = 1

    def __init__(self, input_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.input_shape = tuple(input_shape)
        self.likelihood_parameters = None
        self._name = self._new_name()

    @property
    def options(self) -> dict[str, Any]:
        """The arguments to construct an equal model with, but for its weights.

        Raises:
            ConfigError: if the model does not keep one of them as an attribute.
        """
        found = {}
        for name in _constructor_arguments(type(self)):
            try:
                found[name] = getattr(self, name)
            except AttributeError as error:
                raise ConfigError(
                    f"{type(self).__name__} does not keep its argument {name!r}: let its "
                    f"constructor set self.{name} = {name}"
                ) from error
        # Of networks only those that were given: an attribute of the same name is the network.
        for name, value in found.items():
            if isinstance(value, (GivenNetwork, MLP)):
                found[name] = value.network if isinstance(value, GivenNetwork) else None
        return found

    @property
    def takes_real_values(self) -> bool:
        """Whether inputs may be any real numbers; otherwise they are in [0, 1]."""
        return self.likelihood.takes_real_values

    @property
    def takes_pixels(self) -> bool:
        """Whether inputs may be drawn anew from a Bernoulli, `binarise` of `fit`."""
        return self.likelihood.takes_pixels

    @property
    def takes_missing(self) -> bool:
        """Whether NaN among the inputs stands for a missing value."""
        return self.likelihood.takes_missing

    def __setattr__(self, name: str, value: Any) -> None:
        # The one place through which the options of every model pass.
        super().__setattr__(name, plain(value))

    @property
    def param_name(self) -> str:
        """What the model's parameters are called by in Pyro's parameter store."""
        return self._name

    def named(self: Model, name: str) -> Model:
        """Give the model a name of your own in Pyro's parameter store, and return the model.

        Without one it is called by its class and the number of models of that class that were
        constructed before it. A file of the store, `pyro.get_param_store().save(path)`, is by
        these names: another program finds its parameters there if its model has the same one::

            m = M2(**options).named("m2")
            pyro.get_param_store().load(path)
            pyro.module(m.param_name, m, update_module_params=True)

        Under another name the same lines leave the model as it was initialised, without a word.
        (`save_model` and `state_dict` need no name.) Two models of one name would share their
        parameters, and the second would never train, so that a name in use is refused; copies
        and unpickled models get a name of their own. Give the name before the first step of
        training.

        Args:
            name: the name, without "$$$".

        Raises:
            ConfigError: if another model in use has this name, or Pyro could not take it.
        """
        if not name or "$$$" in name:
            raise ConfigError(f"name is {name!r}, expected a string without '$$$', not empty")
        if _named.get(name, self) is not self:
            raise ConfigError(
                f"name is {name!r}, as another {type(_named[name]).__name__} is called: two models "
                "of one name share their parameters. Delete the other one, or choose another name"
            )
        if _named.get(self._name) is self:
            del _named[self._name]
        _named[name] = self
        self._name = name
        return self

    def _new_name(self) -> str:
        kind = type(self).__name__.lower()
        count = _counts.setdefault(kind, itertools.count())
        name = next(n for i in count if (n := f"{kind}_{i}") not in _named)
        _named[name] = self
        return name

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._name = self._new_name()

    def model(self, xs: Tensor | Batch, ys: Tensor | None = None) -> None:
        """Run the generative program; see `Batch` for its arguments."""
        raise NotImplementedError

    def guide(self, xs: Tensor | Batch, ys: Tensor | None = None) -> None:
        """Run the variational program; arguments as for `model`."""
        raise NotImplementedError

    def make_elbo(self) -> ELBO:
        """Return the Pyro ELBO these programs are meant to be trained with."""
        return StaticEnum_ELBO(max_plate_nesting=self.max_plate_nesting)

    def check(self, xs: Tensor, name: str = "xs") -> None:
        """Check that `xs` are inputs this model can take, see `pyro_ssl.data.check_inputs`.

        Raises:
            DataError: naming what is wrong with which argument and the remedy.
        """
        dtype = next(self.parameters()).dtype
        kinds = {"real_ok": self.takes_real_values, "missing_ok": self.takes_missing}
        check_inputs(xs, self.input_shape, name, dtype, **kinds)
        if self.takes_real_values:
            self.likelihood.check(xs, name)

    def _set_likelihood(self, likelihood: str | Likelihood) -> None:
        """Keep the family of p(x|.), and what it learns that is common to all inputs, if anything.

        Raises:
            ConfigError: if it is none, or none of inputs of this shape.
        """
        self.likelihood = as_likelihood(likelihood)
        self.likelihood.output_shape(self.input_shape)
        number = self.likelihood.num_shared(self.input_shape)
        self.likelihood_parameters = nn.Parameter(torch.zeros(number)) if number else None

    def _features(self, xs: Tensor) -> Tensor:
        """Return what networks see of inputs, `[..., *feature_shape]` of the likelihood."""
        self._check_support(xs)
        return self.likelihood.features(xs, self.input_shape)

    def _flat(self, xs: Tensor) -> Tensor:
        """Return the features of inputs as vectors."""
        return self._features(xs).flatten(-len(self.likelihood.feature_shape(self.input_shape)))

    def _p_x_of(self, outputs: Tensor) -> dist.TorchDistribution:
        """Return p(x|.) for the decoder's outputs `[..., *output_shape]`."""
        shared = self.likelihood_parameters
        return self.likelihood.distribution(outputs, self.input_shape, shared)

    def _mean_of(self, outputs: Tensor) -> Tensor:
        """Return the mean of p(x|.) for the decoder's outputs, `[..., *input_shape]`."""
        return self.likelihood.mean(outputs, self.input_shape, self.likelihood_parameters)

    def _observe_inputs(self, xs: Tensor, p_x: dist.TorchDistribution) -> None:
        """Observe inputs as the site "x"."""
        self._check_support(xs)
        pyro.sample("x", p_x, obs=xs)

    def _check_support(self, xs: Tensor) -> None:
        """Check inputs where Pyro validates, as its own loops do unless told not to.

        `fit` checks its data once instead; the families' densities never do.
        """
        if is_validation_enabled():
            self.likelihood.check(xs)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        for former, name in _FORMER_NAMES.items():
            for key in [k for k in state_dict if k.startswith(prefix + former)]:
                state_dict[prefix + name + key[len(prefix + former) :]] = state_dict.pop(key)
        super()._load_from_state_dict(state_dict, prefix, *args)


class SSLModel(PyroModel):
    """Base of the semi-supervised models, which classify.

    Args:
        input_shape: shape of one input, without the batch dimension.
        num_classes: number of classes `K`; of attributes `L` if the model is `multi_label`.

    Attributes:
        multi_label: whether a label is a row of binary attributes `[L]`, not one of K classes.
    """

    multi_label = False

    def __init__(self, input_shape: tuple[int, ...], num_classes: int) -> None:
        super().__init__(input_shape)
        self.num_classes = num_classes

    def class_logits(self, xs: Tensor) -> Tensor:
        """Return unnormalised log q(y|x), `[B, K]`, for inputs `xs` `[B, *input_shape]`.

        Of attributes, return the log-odds of each, `[B, L]`.
        """
        raise NotImplementedError

    @torch.no_grad()
    def predict_proba(self, xs: Tensor) -> Tensor:
        """Return q(y|x), `[B, K]` with rows that sum to 1, in evaluation mode.

        Of attributes, return the probability that each is present, `[B, L]`.

        Args:
            xs: inputs `[B, *input_shape]`, in [0, 1] unless the model `takes_real_values`, of the
                dtype of the parameters.

        Raises:
            DataError: if `xs` has the wrong shape, dtype or range, or is not finite.
        """
        self.check(xs)
        with evaluating(self):
            logits = self.class_logits(xs)
            return logits.sigmoid() if self.multi_label else logits.softmax(-1)


_BASES = (PyroModel, SSLModel)


def _constructor_arguments(model_class: type[PyroModel]) -> list[str]:
    """Return the arguments of a model's constructor, those that it passes on among them."""
    names: dict[str, None] = {}
    for cls in model_class.__mro__:
        if cls in _BASES:
            break
        if "__init__" not in vars(cls):
            continue
        constructor = vars(cls)["__init__"]
        parameters = list(inspect.signature(constructor).parameters.values())[1:]
        kinds = {p.kind for p in parameters}
        named = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
        names |= {p.name: None for p in named}
        if inspect.Parameter.VAR_KEYWORD not in kinds:
            break
    return list(names)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put `module` in evaluation mode, and afterwards every submodule back as it was."""
    modes = [(m, m.training) for m in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for m, mode in modes:
            m.training = mode
