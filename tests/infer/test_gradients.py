import copy
import warnings

import pyro
import pytest
import torch
from torch import nn

from pyro_ssl.infer import FitConfig, Objective, fit
from pyro_ssl.infer.config import COMPILE_PAYS_AFTER
from pyro_ssl.infer.gradients import CompiledGradients, Gradients
from pyro_ssl.infer.trainer import Trainer
from pyro_ssl.likelihoods import (
    Bernoulli,
    Categorical,
    Gaussian,
    LogNormal,
    Mixed,
    NegativeBinomial,
    Ordinal,
    Poisson,
    StudentT,
)
from pyro_ssl.models import (
    ADGM,
    CCVAE,
    M2,
    SDGM,
    VAE,
    ApproxM2,
    BernoulliVAE,
    BitMixture,
    GeneratorVAE,
    GumbelSoftmaxM2,
    LeaveOneOutM2,
    LogGamma,
    LogisticNormal,
    LogisticNormalM2,
    MLPClassifier,
    MultiLabelCCVAE,
    MultiLabelM2,
    RaoBlackwellM2,
)
from pyro_ssl.models.rows import Batch
from tests import oracle
from tests.elbos.test_enumerated import NoLooks
from tests.infer.problems import STEADY, blobs, small_m2
from tests.slow import ALL

SIZES = {"input_shape": (1, 4, 4), "num_classes": 3, "hidden_dims": (16,)}
MODELS = {
    "M2": lambda: M2(latent_dim=2, input_dropout=0.3, batch_norm=True, **SIZES),
    "RaoBlackwellM2": lambda: RaoBlackwellM2(latent_dim=2, **SIZES | {"num_classes": 7}),
    "ADGM": lambda: ADGM(latent_dim=2, auxiliary_dim=3, num_samples=2, **SIZES),
    "SDGM": lambda: SDGM(
        latent_dim=2, auxiliary_dim=3, num_samples=2, num_summed=1, **SIZES | {"num_classes": 7}
    ),
    "MLPClassifier": lambda: MLPClassifier(input_dropout=0.3, **SIZES),
    "ApproxM2": lambda: ApproxM2(baseline_dims=(8,), latent_dim=2, **SIZES),
    "LeaveOneOutM2": lambda: LeaveOneOutM2(num_samples=2, latent_dim=2, **SIZES),
    "GumbelSoftmaxM2": lambda: GumbelSoftmaxM2(latent_dim=2, **SIZES),
    "STGumbelSoftmaxM2": lambda: GumbelSoftmaxM2(straight_through=True, latent_dim=2, **SIZES),
    "LogisticNormalM2": lambda: LogisticNormalM2(straight_through=True, latent_dim=2, **SIZES),
    "LogisticNormal": lambda: LogisticNormal(latent_dim=2, batch_norm="separate", **SIZES),
    "LogGamma": lambda: LogGamma(latent_dim=2, latent_noise=0.1, **SIZES),
    "MultiLabelCCVAE": lambda: MultiLabelCCVAE(
        style_dim=2, num_samples=5, **SIZES | {"num_classes": 2}
    ),
    "MultiLabelM2": lambda: MultiLabelM2(
        latent_dim=2, straight_through=True, **SIZES | {"num_classes": 2}
    ),
    "ConvM2": lambda: M2(latent_dim=2, channels=4, likelihood="laplace", **SIZES),
    "BernoulliVAE": lambda: BernoulliVAE(16, num_bits=3),
    "CCVAE": lambda: CCVAE(style_dim=2, num_samples=5, kl_weight=0.5, **SIZES),
}
COLUMNS = Mixed(
    (Gaussian(),) * 3
    + (StudentT(),) * 2
    + (LogNormal(), Poisson(), NegativeBinomial(), Bernoulli())
    + (Categorical(3),) * 3
    + (Ordinal(4),) * 2
    + (Gaussian(0.5), NegativeBinomial(2.0))
)
# Whose steps are like those of others: only whether a GPU could record them is looked at.
OTHERS = {
    "BitMixture": lambda: BitMixture(((-1, 0), (1, 0.5)), hidden_dims=(5,)),
    "GeneratorVAE": lambda: GeneratorVAE((1, 16, 16), 2, 2, 2, 4),
    "MixedM2": lambda: M2((16,), 3, 2, (5,), likelihood=COLUMNS, label_prior="learned"),
    "StudentTCCVAE": lambda: CCVAE(
        style_dim=2, likelihood=StudentT(df=None, per="all"), label_prior=(0.2, 0.3, 0.5), **SIZES
    ),
    "GivenM2": lambda: M2(
        latent_dim=2, classifier=nn.Sequential(nn.Flatten(), nn.Linear(16, 3)), **SIZES
    ),
    "LogNormalVAE": lambda: VAE((16,), 2, (5,), likelihood=LogNormal(per="dimension")),
}
# One of each kind goes through the compiler: weighed, relaxed and sampled labels here, summed ones
# in float32 where `fit` compiles.
COMPILED = {
    None: {"RaoBlackwellM2"} | ({"CCVAE", "STGumbelSoftmaxM2"} if ALL else set()),
    torch.bfloat16: {"M2"},
}


def small_batch():
    xs, ys = blobs().labelled_xs, blobs().labelled_ys
    ys = torch.cat([ys, torch.full((9,), -1)])
    return Batch(torch.cat([xs, blobs().unlabelled_xs[:9]]), ys, 12)


def fitting(model, batch):
    """The batch with the labels that the model takes: two attributes, where it takes such."""
    xs, ys, n = oracle.unpacked(batch)
    xs = xs.view(-1, *model.input_shape)
    if getattr(model, "multi_label", False):
        ys = torch.where(ys[:, None] < 0, -1, (ys[:, None] >> torch.arange(2)) & 1)
        # One row knows but one of them.
        ys[1, 0] = -1
    return Batch(xs, ys, n)


def small_batches():
    """Batches of different rows, the labels in another order."""
    first = small_batch()
    xs, ys, n = oracle.unpacked(first)
    other = torch.cat([xs[:n].flip(0), blobs().unlabelled_xs[9:18]])
    return [first, Batch(other, torch.cat([ys[:n].flip(0), ys[n:]]), n), first]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_compiled_step_is_the_eager_one_random_numbers_and_all(name, dtype, request):
    if name not in COMPILED[dtype]:
        request.getfixturevalue("as_recorded")
    torch.manual_seed(0)
    model = MODELS[name]()
    # Steep enough that no gradient is only rounding noise.
    for parameter in model.parameters():
        parameter.data.mul_(2.0)
    results, names = [], []
    with pyro.validation_enabled(False), pyro.get_param_store().scope():
        for kind in (Gradients, CompiledGradients):
            twin = copy.deepcopy(model).train()
            gradients = kind(Objective(twin, 12, 108, dtype))
            torch.manual_seed(5)
            measured = [gradients(fitting(model, batch)) for batch in small_batches()]
            values = [each.values for each in measured]
            assert not getattr(gradients, "failed", False)
            assert len({each.names for each in measured}) == 1
            assert measured[0].names[0] == "loss"
            assert measured[0].names[-1] == "gradient_norm"
            names.append(measured[0].names)
            grads = [p.grad for p in twin.parameters()]
            results.append((torch.stack(values), grads, list(twin.buffers()), torch.rand(1)))
    assert names[0] == names[1]
    tolerance = 1e-5 if dtype is None else 0.02
    torch.testing.assert_close(*results, atol=tolerance, rtol=tolerance)
    # Three steps with new noise each.
    assert len(results[0][0][:, 0].unique()) == 3


def test_bfloat16_loss_and_gradients_are_those_of_float32_but_for_rounding():
    torch.manual_seed(0)
    model = M2((1, 28, 28), 10, hidden_dims=(100,), latent_dim=10)
    xs = torch.rand(50, 1, 28, 28).bernoulli()
    ys = torch.cat([torch.arange(10), torch.full((40,), -1)])
    found = []
    for dtype in (None, torch.bfloat16):
        gradients = Gradients(Objective(model.train(), 10, 40, dtype))
        torch.manual_seed(1)
        found.append(
            (
                gradients(Batch(xs, ys, 10)).values,
                torch.cat([p.grad.flatten() for p in model.parameters()]),
            )
        )
    (values, grads), (rounded, rounded_grads) = found
    # bfloat16 has 8 bits; a bound of some 500 nats that was summed in it would be off by nats.
    assert (values[0] - rounded[0]).abs() < 0.1
    assert torch.cosine_similarity(grads, rounded_grads, dim=0) > 0.999
    assert (rounded_grads != grads).float().mean() > 0.5


def test_run_length_decides_whether_to_compile():
    assert not FitConfig(epochs=COMPILE_PAYS_AFTER // 100 - 1).compiles(100)
    assert FitConfig(epochs=COMPILE_PAYS_AFTER // 100).compiles(100)
    assert FitConfig(epochs=1, compile="always").compiles(1)
    assert not FitConfig(epochs=10**9, compile="never").compiles(1)


def test_compiled_fit_is_the_eager_one_and_resumes(tmp_path, compiled_once):
    config = FitConfig(epochs=3, batch_size=36, compile="never", keep_best=False)
    compiled = FitConfig(**vars(config) | {"compile": "always"})
    # Batch norm would leave biases no gradient but rounding noise, which Adam takes for one.
    options = {"input_dropout": 0.3}
    plain, whole, resumed = (small_m2(seed=seed, **options) for seed in (0, 0, 3))
    fit(plain, blobs(), config)
    assert fit(whole, blobs(), compiled).execution == "compiled"
    for ours, theirs in zip(whole.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-3)

    class Stop(Exception):  # noqa: N818
        pass

    def stop(progress):
        if len(progress.rows) == 2:
            raise Stop

    path = tmp_path / "run.pt"
    with pytest.raises(Stop):
        fit(small_m2(**options), blobs(), compiled, checkpoint=path, on_epoch=stop)
    fit(resumed, blobs(), compiled, checkpoint=path, resume=True)
    for ours, theirs in zip(resumed.parameters(), whole.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert len(compiled_once) == 1


def test_options_changed_between_epochs_take_effect(as_recorded):
    losses = {}
    for way in ("never", "always"):
        model = small_m2()

        def change(progress, model=model):
            model.alpha = 100.0 * len(progress.rows)

        config = FitConfig(epochs=2, batch_size=36, compile=way, keep_best=False)
        losses[way] = [row["loss"] for row in fit(model, blobs(), config, on_epoch=change).rows]
    assert losses["always"] == pytest.approx(losses["never"], rel=1e-4)
    assert losses["always"][1] > 1.5 * losses["always"][0]


def test_frozen_parameters_stay_frozen_when_compiled(as_recorded):
    model = small_m2()
    model.decoder.requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    config = FitConfig(epochs=1, batch_size=36, compile="always", keep_best=False)
    assert fit(model, blobs(), config).execution == "compiled"
    for name, now in model.state_dict().items():
        assert torch.equal(now, before[name]) == name.startswith("decoder"), name


class Transposed(nn.Module):
    """A network whose gradient is recorded as a transposed view."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(16, 3))

    def forward(self, xs):
        return (xs.flatten(1)[:, None] * self.weight.t().exp()).sum(-1)


def test_gradients_recorded_as_transposed_views_move_the_right_weights(as_recorded):
    trained = []
    for way in ("never", "always"):
        torch.manual_seed(1)
        model = small_m2(classifier=Transposed())
        config = FitConfig(epochs=2, batch_size=36, compile=way, keep_best=False)
        assert fit(model, blobs(), config).execution == ("eager" if way == "never" else "compiled")
        trained.append(list(model.parameters()))
    torch.testing.assert_close(*trained, atol=1e-4, rtol=1e-3)


def test_a_run_can_be_resumed_uncompiled(tmp_path, as_recorded):
    path = tmp_path / "run.pt"
    config = FitConfig(epochs=2, batch_size=36, compile="always", **STEADY)
    fit(small_m2(), blobs(), FitConfig(**vars(config) | {"epochs": 1}), checkpoint=path)
    config = FitConfig(**vars(config) | {"compile": "never"})
    assert fit(small_m2(), blobs(), config, checkpoint=path, resume=True).execution == "eager"


def test_a_step_that_cannot_be_compiled_runs_on_with_one_line(monkeypatch):
    def broken(*args, **kwargs):
        raise RuntimeError("no C++ compiler\nwith many more lines")

    monkeypatch.setattr(torch, "compile", broken)
    config = FitConfig(epochs=2, batch_size=36, compile="always", keep_best=False)
    plain, fallen = small_m2(), small_m2()
    with pytest.warns(UserWarning, match="goes on uncompiled: no C\\+\\+ compiler$"):
        history = fit(fallen, blobs(), config)
    assert history.execution == "eager"
    fit(plain, blobs(), FitConfig(**vars(config) | {"compile": "never"}))
    for ours, theirs in zip(fallen.parameters(), plain.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_chunks_of_classes_are_not_compiled_away():
    config = FitConfig(batch_size=36, compile="always")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Trainer(small_m2(class_chunk=2), blobs(), config).execution == "eager"


@pytest.mark.parametrize("name", ["M2", "MLPClassifier", "CCVAE"])
def test_a_whole_step_looks_at_no_value(name):
    data = blobs()
    trainer = Trainer(MODELS[name](), data, FitConfig(batch_size=36, precision="bfloat16"))
    with pyro.validation_enabled(False), pyro.get_param_store().scope():
        trainer.run_epoch()
        trainer._begin_epoch()
        with NoLooks():
            trainer._step()
