"""The bases of all models: name in Pyro's parameter store, likelihood, options, checks."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import torch
from pyro.infer import ELBO
from pyro.infer.util import is_validation_enabled
from torch import Tensor

from pyro_ssl.data.checks import check_inputs
from pyro_ssl.elbos.enumerated import StaticEnum_ELBO
from pyro_ssl.models.arguments import kept_arguments
from pyro_ssl.models.calls import check_batch_labels, check_device
from pyro_ssl.models.inputs import InputModel
from pyro_ssl.models.label_prior import LabelPrior, check_uniform
from pyro_ssl.models.rows import Batch
from pyro_ssl.models.store import (
    new_name,
    take_name,
    use_present_names,
    warn_of_unread_parameters,
)
from pyro_ssl.nets.modes import evaluating, warn_of_missing_statistics
from pyro_ssl.option_kinds import Shape, Size
from pyro_ssl.options import checked
from pyro_ssl.plain import plain

Model = TypeVar("Model", bound="PyroModel")


class PyroModel(InputModel):
    """Base of every model: a generative program and its guide, two Pyro programs.

    A subclass defines `model(xs, ys)` and `guide` with the same arguments, both of which call
    `pyro.module(self._name, self)`. `_name` (see `named`) is unique to the instance, even after
    `copy.deepcopy` and unpickling: two instances with the same name would share an entry in Pyro's
    parameter store, and the second would silently never train. A subclass keeps each constructor
    argument as an attribute of the same name; it may pass `**options` on to its base.

    Args:
        input_shape: shape of one input, without the batch dimension.

    Attributes:
        learns_from_unlabelled: whether rows without a label contribute to the objective.
        real_labels: whether labels are real numbers; the model then has `predict`.
        likelihood: the family of p(x|.), which decides what inputs the model takes.
        takes_covariates: whether the decoder sees covariates, see `CovariateLikelihood`.
        recommended_anneal: what `fit` anneals unless told otherwise: for each key of
            `FitConfig.anneal` the first value, the last value, and the share of the run's steps
            between them.
        objective_name: validation's name for the objective of a model that does not classify.
        class_chunk: labels summed at a time, to save memory; None for all.
        max_plate_nesting: number of nested plates in the programs; that of the rows is at
            dimension -1.
    """

    learns_from_unlabelled = True
    real_labels = False
    recommended_anneal: ClassVar[Mapping[str, tuple[float, float, float]]] = {}
    objective_name = "elbo"
    class_chunk: int | None = None
    max_plate_nesting = 1

    @checked
    def __init__(self, input_shape: Shape) -> None:
        super().__init__()
        self.input_shape = tuple(input_shape)
        self.likelihood_parameters = None
        self._name = new_name(self)

    @property
    def options(self) -> dict[str, Any]:
        """The arguments that construct an equal model, except for its weights.

        Raises:
            ConfigError: if the model does not keep an argument as an attribute.
        """
        return kept_arguments(self, (PyroModel, SSLModel))

    def __setattr__(self, name: str, value: Any) -> None:
        # Options are set as attributes, so this converts all of them to plain Python values.
        super().__setattr__(name, plain(value))

    @property
    def param_name(self) -> str:
        """The model's name in Pyro's parameter store."""
        return self._name

    @checked
    def named(self: Model, name: str) -> Model:
        """Name the model in Pyro's parameter store, and return it.

        Without this call, the name is that of its class and a number, the count of models of that
        class constructed before. A file of the store, `pyro.get_param_store().save(path)`, contains
        these names. Another program loads it into a model of the same name::

            m = M2(**options).named("m2")
            pyro.get_param_store().load(path)
            pyro.module(m.param_name, m, update_module_params=True)

        Under another name these lines change nothing; `predict_proba` then warns. The store does
        not hold the running statistics of batch norm. `save_model` and `state_dict` save
        everything, and need no name. Name a model before its first training step. Copies and
        unpickled models get a new name.

        Args:
            name: the name, without "$$$".

        Raises:
            ConfigError: if Pyro cannot use the name, or another model in use has it: they would
                share their parameters, and the second would never train.
        """
        take_name(self, name, self._name)
        self._name = name
        return self

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._name = new_name(self)

    def model(self, xs: Tensor | Batch, ys: Tensor | None = None) -> None:
        """Run the generative program; see `Batch` for its arguments."""
        raise NotImplementedError

    def guide(self, xs: Tensor | Batch, ys: Tensor | None = None) -> None:
        """Run the variational program; arguments as for `model`."""
        raise NotImplementedError

    def make_elbo(self) -> ELBO:
        """Return the Pyro ELBO that these programs are meant to be trained with."""
        return StaticEnum_ELBO(max_plate_nesting=self.max_plate_nesting)

    def _batch(self, xs: Tensor | Batch, ys: Tensor | None = None) -> Batch:
        """Return a program's arguments as a batch; check it if Pyro's validation is on.

        `fit` and the metrics switch validation off, and check their data once.
        """
        batch = Batch.of(xs, ys)
        if is_validation_enabled():
            inputs = isinstance(batch.xs, Tensor) and batch.xs.is_floating_point()
            if inputs and tuple(batch.xs.shape[1:]) == self.input_shape:
                # The likelihood's own errors say more than the general check below.
                self.likelihood.check(batch.xs)
            self.check(batch.xs)
            check_batch_labels(self, batch.ys, len(batch.xs))
        return batch

    def check(self, xs: Tensor, name: str = "xs") -> None:
        """Check that `xs` `[B, *input_shape]` are valid inputs, see `pyro_ssl.data.check_inputs`.

        Raises:
            DataError: naming the argument, what is wrong with it, and the remedy.
        """
        dtype = next(self.parameters()).dtype
        if isinstance(xs, Tensor):
            check_device(xs, self, name)
        kinds = {"real_ok": self.takes_real_values, "missing_ok": self.takes_missing}
        check_inputs(xs, self.input_shape, name, dtype, **kinds)
        if self.takes_real_values:
            self.likelihood.check(xs, name)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        use_present_names(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)


class SSLModel(PyroModel):
    """Base of the semi-supervised models, which classify.

    Args:
        input_shape: shape of one input, without the batch dimension.
        num_classes: number of classes `K`, or of attributes `L` if the model is `multi_label`.

    Attributes:
        multi_label: whether a label is a row of binary attributes `[L]` instead of one of K
            classes.
    """

    multi_label = False
    # What a model has instead, if it has no prior p(y) over K classes to choose.
    _instead_of_prior: str | None = None

    @checked
    def __init__(self, input_shape: Shape, num_classes: Size) -> None:
        super().__init__(input_shape)
        self.num_classes = num_classes

    def _set_label_prior(self, label_prior: str | Sequence[float]) -> None:
        """Set the prior p(y) over K classes.

        Raises:
            ConfigError: if `label_prior` is invalid, or this model's p(y) cannot be chosen.
        """
        if self._instead_of_prior is not None:
            check_uniform(label_prior, f"{type(self).__name__} has {self._instead_of_prior}")
        self.p_y = LabelPrior(label_prior, self.num_classes)
        self.label_prior = self.p_y.option

    def class_logits(self, xs: Tensor) -> Tensor:
        """Return unnormalised log q(y|x), `[B, K]`, for inputs `xs` `[B, *input_shape]`.

        For attributes, return the log-odds of each, `[B, L]`.
        """
        raise NotImplementedError

    @torch.no_grad()
    def predict_proba(self, xs: Tensor) -> Tensor:
        """Return q(y|x), `[B, K]` with rows that sum to 1, in evaluation mode.

        For attributes, return the probability that each is present, `[B, L]`.

        Args:
            xs: inputs `[B, *input_shape]`, in [0, 1] unless the model `takes_real_values`, of the
                dtype of the parameters.

        Raises:
            DataError: if `xs` has the wrong shape, dtype or range, or is not finite.
        """
        self.check(xs)
        warn_of_missing_statistics(self)
        warn_of_unread_parameters(self, self._name)
        with evaluating(self):
            logits = self.class_logits(xs)
            return logits.sigmoid() if self.multi_label else logits.softmax(-1)
