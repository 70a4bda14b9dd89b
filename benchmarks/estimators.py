"""Measures bias and variance of every treatment of the missing label as a gradient estimator.

An M2 is trained for a short time on scikit-learn's digits and then fixed. On some unlabelled rows,
binarised once, each estimator draws the gradient of a row's negative bound with respect to the
row's K classifier scores many times. The exact gradient is that of the bound with all labels
summed, by the softmax or, for LogisticNormalM2, by the probit model that it draws from, averaged
over draws of z. Writes estimators.csv and estimators.md to RESULTS_ROOT, with these columns:

bias: norm of the mean gradient's error over all rows, relative to the norm of the exact gradient,
computed from an unbiased squared norm (0 if that is negative); bias_low and bias_high: its 95 %
limits; bias_z: the squared norm over its standard error, which is somewhat too large if there is
little bias; variance: trace of the covariance of one draw, in nats^2, mean over rows; times_sum:
variance over that of the sum over the same q(y|x), whose only noise is from z; cost_times_sum: the
same ratio at equal numbers of visited labels; largest_z: the largest error of the mean of any row's
score, in standard errors, among classes that are expected at least 100 times in the draws.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyro
import torch
import tyro
from pyro.infer import ELBO
from torch import Tensor

from benchmarks.gradients import Moments, score_gradients
from benchmarks.timing import write_table
from pyro_ssl.data import SSLData, load_dataset, split_labels
from pyro_ssl.elbos.enumerated import StaticEnum_ELBO
from pyro_ssl.infer import FitConfig, fit
from pyro_ssl.infer.devices import resolve_device
from pyro_ssl.models import (
    M2,
    ApproxM2,
    GumbelSoftmaxM2,
    LeaveOneOutM2,
    LogisticNormalM2,
    RaoBlackwellM2,
)

# With fewer expected visits of a class, the error of its mean is far from Gaussian.
_VISITS = 100


@dataclass(frozen=True)
class Config:
    """Options of the benchmark."""

    draws: int = 4_000
    """Number of draws of each estimator, and of the exact gradient's z."""
    rows: int = 50
    """Unlabelled rows to measure on."""
    temperatures: tuple[float, ...] = (1.0, 1 / 2, 1 / 3, 1 / 10)
    """Temperatures of the relaxed labels."""
    labels: int = 30
    """Labelled rows that M2 is trained with."""
    epochs: int = 10
    """Epochs that M2 is trained for."""
    baseline_steps: int = 1000
    """Steps that ApproxM2's baseline is fitted for."""
    seed: int = 0
    """Seed of the labels, the training and the draws."""
    device: str = "auto"
    """Device: auto (a GPU if there is one), cpu, cuda or cuda:N."""
    results_root: str = "results/benchmarks"
    """Folder of the tables."""


@dataclass(frozen=True)
class Estimator:
    """One way to estimate the gradient.

    Attributes:
        name: its name in the table.
        model: the model, in the mode to measure it in.
        elbo: its objective.
        labels: number of labels that a row visits.
        settings: columns of the table that distinguish estimators of the same name.
    """

    name: str
    model: M2
    elbo: ELBO
    labels: int
    settings: dict[str, object]

    @property
    def q_y(self) -> str:
        """The distribution q(y|x) that the scores parameterise."""
        return "probit" if isinstance(self.model, LogisticNormalM2) else "softmax"


def trained_m2(config: Config, data: SSLData) -> M2:
    """Return an M2 after a short training."""
    m2 = M2(
        input_shape=data.input_shape,
        num_classes=data.num_classes,
        latent_dim=5,
        hidden_dims=(64,),
        alpha=1.0,
        batch_norm=False,
        input_dropout=0.0,
    ).to(data.labelled_xs.device)
    training = FitConfig(
        epochs=config.epochs,
        batch_size=50,
        learning_rate=1e-3,
        learning_rate_schedule="constant",
        anneal={},
        seed=config.seed,
        compile="never",
    )
    fit(m2, data, training)
    return m2.double()


def like(m2: M2, cls: type[M2], **options: Any) -> M2:
    """Return a model of class `cls` with the weights of `m2`, in training mode."""
    model = cls(**m2.options, **options).to(next(m2.parameters()))
    model.load_state_dict(m2.state_dict(), strict=False)
    return model.train()


def fit_baseline(model: ApproxM2, xs: Tensor, steps: int) -> None:
    """Fit only the baseline, on rows `xs` that are binarised again in each step."""
    parameters = list(model.baseline.parameters())
    optimiser = torch.optim.Adam(parameters, lr=3e-3)
    elbo = model.make_elbo()
    with pyro.get_param_store().scope(), pyro.validation_enabled(False):
        for _ in range(steps):
            some = xs[torch.randint(len(xs), (200,), device=xs.device)].bernoulli()
            optimiser.zero_grad()
            loss = elbo.differentiable_loss(model.model, model.guide, some)
            loss.backward(inputs=parameters)
            optimiser.step()


def estimators(m2: M2, config: Config, xs: Tensor) -> Iterator[Estimator]:
    """Yield the estimators, the two sums over classes first.

    Args:
        m2: the model whose weights all estimators use.
        config: options.
        xs: rows to fit a baseline on, real-valued.
    """
    k = m2.num_classes

    def estimator(name: str, model: M2, labels: int, **settings: object) -> Estimator:
        return Estimator(name, model, model.make_elbo(), labels, settings)

    yield estimator("sum over classes", like(m2, M2), k)
    # In evaluation mode, a relaxed model sums over labels.
    yield estimator("sum over classes", like(m2, LogisticNormalM2).eval(), k)
    closed = StaticEnum_ELBO(closed_form_kl=True)
    yield Estimator("sum over classes, closed-form KL of z", like(m2, M2), closed, k, {})
    yield estimator("RaoBlackwellM2", like(m2, RaoBlackwellM2, num_summed=1), 2)
    for draws in (2, 4):
        model = like(m2, LeaveOneOutM2, num_samples=draws)
        yield estimator(f"LeaveOneOutM2, {draws} draws", model, draws)
    approx = like(m2, ApproxM2)
    assert isinstance(approx, ApproxM2)
    fit_baseline(approx, xs, config.baseline_steps)
    yield estimator("ApproxM2", approx, 1)
    bare = like(m2, ApproxM2)
    assert isinstance(bare, ApproxM2)
    for parameter in bare.baseline.parameters():
        parameter.data.zero_()
    yield estimator("ApproxM2 without its baseline", bare, 1)
    for cls in (GumbelSoftmaxM2, LogisticNormalM2):
        for straight in (False, True):
            for temperature in config.temperatures:
                options = {"temperature": temperature, "straight_through": straight}
                yield estimator(cls.__name__, like(m2, cls, **options), 1, **options)


def exact(estimator: Estimator, xs: Tensor, draws: int) -> Moments:
    """Return moments of the gradient with all labels summed, whose mean is exact."""
    model = estimator.model
    return score_gradients(model.eval(), StaticEnum_ELBO(), xs, draws, model.num_classes)


def measure(config: Config, device: torch.device) -> list[dict[str, object]]:
    """Return one row for each estimator."""
    torch.manual_seed(config.seed)
    digits = load_dataset("digits")
    split = split_labels(digits.train_ys.numpy(), digits.num_classes, config.labels, 0, config.seed)
    data = SSLData.from_split(digits, split).to(device)
    m2 = trained_m2(config, data)
    xs = data.unlabelled_xs.double()
    batch = xs[torch.randperm(len(xs), device=device)[: config.rows]].bernoulli()
    sums: dict[str, tuple[Moments, Moments]] = {}
    rows = []
    for estimator in estimators(m2, config, xs):
        model = estimator.model
        moments = score_gradients(model, estimator.elbo, batch, config.draws, estimator.labels)
        if estimator.q_y not in sums:
            sums[estimator.q_y] = moments, exact(estimator, batch, config.draws)
        rows.append(describe(estimator, moments, *sums[estimator.q_y], model.predict_proba(batch)))
    return rows


def describe(
    estimator: Estimator, moments: Moments, summed: Moments, truth: Moments, q: Tensor
) -> dict[str, object]:
    """Return one row of the table.

    Args:
        estimator: the estimator.
        moments: moments of its draws.
        summed: moments of draws of the sum over classes.
        truth: moments of draws of the exact gradient.
        q: q(y|x), `[rows, K]`.
    """
    error, norm = moments.difference(truth), truth.squared_norm
    squared, deviation = error.squared_norm()
    low, middle, high = (max(squared + s * deviation, 0.0) / norm for s in (-1.96, 0, 1.96))
    times_sum = moments.variance / summed.variance
    return {
        "estimator": estimator.name,
        "q_y": estimator.q_y,
        "temperature": "",
        "straight_through": "",
        **estimator.settings,
        "labels": estimator.labels,
        "bias": middle**0.5,
        "bias_low": low**0.5,
        "bias_high": high**0.5,
        "bias_z": squared / deviation,
        "variance": moments.variance,
        "times_sum": times_sum,
        "cost_times_sum": times_sum * estimator.labels / q.shape[1],
        "largest_z": error.largest_z(q * moments.draws >= _VISITS),
        "exact_squared_norm": norm / len(q),
        "mean_max_q": q.amax(-1).mean().item(),
        "draws": moments.draws,
        "rows": len(q),
    }


def main(args: Sequence[str] | None = None) -> None:
    """Run the benchmark with command-line arguments, `sys.argv`'s if None."""
    config = tyro.cli(Config, args=args, description=__doc__)
    device = resolve_device(config.device)
    write_table(measure(config, device), "estimators", config.results_root, device)


if __name__ == "__main__":
    main()
