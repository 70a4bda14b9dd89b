"""Every model with several particles at once, with single rows, and under Pyro's Predictive."""

import importlib.util
import math
import warnings

import pyro
import pytest
import torch
from pyro.infer import Predictive, TraceEnum_ELBO, TraceGraph_ELBO

from pyro_ssl.elbos import LabelWeighted_ELBO, StaticEnum_ELBO
from pyro_ssl.errors import ConfigError, ObjectiveError
from pyro_ssl.infer import FitConfig, fit
from pyro_ssl.models import M2, ApproxM2, MultiLabelCCVAE, multi_label_ccvae
from tests.elbos.test_objectives import WEIGHTED, mean_loss
from tests.infer.problems import blobs
from tests.models.test_base import MODELS, inputs, labels

PARTICLES = {"num_particles": 4, "vectorize_particles": True}
MIXED = (0, 1, 2, -1, -1, -1)


def without_batch_norm(name):
    torch.manual_seed(0)
    model = MODELS[name]()
    if "batch_norm" in model.options:
        model = type(model)(**model.options | {"batch_norm": False})
    return model.train()


def double_rows(model, *ys):
    ys = labels(model, *ys)
    return inputs(model).double(), ys.double() if ys.is_floating_point() else ys


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", sorted(set(MODELS) - set(WEIGHTED)))
def test_particles_at_once_have_the_mean_of_single_ones(name):
    model = without_batch_norm(name).double()
    xs, ys = double_rows(model, *MIXED)
    own, error = mean_loss(model, model.make_elbo(), xs, ys, draws=15)
    agreed = 0
    for make in (TraceEnum_ELBO, TraceGraph_ELBO):
        elbo = make(max_plate_nesting=model.max_plate_nesting, **PARTICLES)
        try:
            other, other_error = mean_loss(model, elbo, xs, ys, draws=12)
            elbo.loss_and_grads(model.model, model.guide, xs, ys)
        except ObjectiveError:
            continue
        agreed += 1
        assert other == pytest.approx(own, abs=6 * math.hypot(error, other_error) + 1e-6)
    assert agreed


@pytest.mark.parametrize("name", WEIGHTED)
def test_weighted_rows_of_particles_at_once_have_the_mean_of_single_ones(name):
    model = without_batch_norm(name).double()
    xs, ys = double_rows(model, *MIXED)
    own, error = mean_loss(model, model.make_elbo(), xs, ys, draws=40)
    nesting = model.max_plate_nesting
    particles = pyro.plate("particles", 16, dim=-1 - nesting)
    programs = particles(model.model), particles(model.guide)
    elbo = LabelWeighted_ELBO(nesting + 1)
    losses = torch.tensor([elbo.loss(*programs, xs, ys) / 16 for _ in range(10)])
    other_error = losses.std().item() / math.sqrt(10)
    assert losses.mean().item() == pytest.approx(own, abs=6 * math.hypot(error, other_error))
    # Pyro's own refuse rows that are weighted, of several particles too.
    for make in (TraceEnum_ELBO, TraceGraph_ELBO):
        with pytest.raises(ObjectiveError, match="does not read"):
            make(max_plate_nesting=nesting, **PARTICLES).loss(model.model, model.guide, xs, ys)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", MODELS)
def test_single_rows_are_a_batch(name):
    """One row of a kind, alone and beside others: the sum of what each row gives alone."""
    model = without_batch_norm(name).double()
    xs, ys = double_rows(model, 1, *[-1] * 5)
    kinds = {"labelled": slice(0, 1), "unlabelled": slice(1, 2), "both": slice(0, 2)}
    elbo, means = model.make_elbo(), {}
    for kind, rows in kinds.items():
        elbo.loss_and_grads(model.model, model.guide, xs[rows], ys[rows])
        means[kind] = mean_loss(model, elbo, xs[rows], ys[rows], draws=12)
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    error = math.hypot(*(error for _, error in means.values()))
    apart = means["labelled"][0] + means["unlabelled"][0]
    assert means["both"][0] == pytest.approx(apart, abs=6 * error + 1e-6)


@pytest.mark.parametrize("particles", [{}, PARTICLES])
@pytest.mark.parametrize("rows", [1, 3])
def test_the_baseline_is_that_of_each_row(rows, particles):
    model = without_batch_norm("ApproxM2").double()
    xs, _ = double_rows(model, *MIXED)
    elbo = model.make_elbo()
    elbo = type(elbo)(max_plate_nesting=1, **particles)
    loss = elbo.differentiable_loss(model.model, model.guide, xs[:rows])
    gradients = torch.autograd.grad(loss, tuple(model.baseline.parameters()))
    assert all(g.isfinite().all() for g in gradients)
    # By least squares; over a mean of particles as over one.
    slope = gradients[-1].item()
    with torch.no_grad():
        said = model.baseline(xs[:rows].flatten(1)).sum().item()
    bound = -StaticEnum_ELBO().loss(model.model.__self__.eval().model, model.guide, xs[:rows])
    assert slope == pytest.approx(2 * (said - bound), rel=0.5)


def test_one_row_a_batch_trains():
    torch.manual_seed(0)
    model = ApproxM2(input_shape=(1, 4, 4), num_classes=3, latent_dim=2, batch_norm=False)
    config = FitConfig(epochs=1, steps_per_epoch=3, batch_size=1, compile="never")
    assert math.isfinite(fit(model, blobs(), config).rows[0]["loss"])


@pytest.mark.parametrize("batch_norm", [True, "separate"])
def test_one_row_is_too_few_for_batch_norm(batch_norm):
    model = M2((1, 4, 4), 3, latent_dim=2, hidden_dims=(5,), batch_norm=batch_norm).train()
    with pytest.raises(ConfigError, match=r"batch norm needs at least 2 rows .* got 1"):
        model.make_elbo().loss(model.model, model.guide, torch.rand(1, 1, 4, 4))
    assert model.predict_proba(torch.rand(1, 1, 4, 4)).shape == (1, 3)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("parallel", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_predictive_takes_all_programs(name, parallel):
    model = without_batch_norm(name).eval()
    xs, ys = inputs(model), labels(model, *MIXED)
    options = {"num_samples": 2, "parallel": parallel}
    for given in (None, ys):
        drawn = Predictive(model.model, guide=model.guide, **options)(xs, given)
        assert all(torch.isfinite(values).all() for values in drawn.values())


def test_attributes_give_no_noise_under_pyros_elbo():
    """A label in two plates and latents in one of them, which Pyro cannot tell from a mistake."""
    spec = importlib.util.spec_from_file_location("fresh", multi_label_ccvae.__file__)
    with warnings.catch_warnings(), pyro.validation_enabled():
        warnings.simplefilter("error")
        # pytest has put aside what importing the module ignores.
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
        model = MultiLabelCCVAE(input_shape=(1, 2, 3), num_classes=4, hidden_dims=(5,))
        elbo = TraceEnum_ELBO(max_plate_nesting=2)
        assert math.isfinite(elbo.loss(model.model, model.guide, inputs(model)))
