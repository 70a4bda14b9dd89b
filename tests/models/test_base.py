import copy
import pickle

import pyro
import pytest
import torch
from pyro.infer import SVI

from pyro_ssl.models import (
    ADGM,
    CCVAE,
    M1M2,
    M2,
    SDGM,
    VAE,
    ApproxM2,
    Autoencoder,
    BernoulliVAE,
    BitMixture,
    GeneratorVAE,
    GumbelSoftmaxM2,
    LatentM2,
    LeaveOneOutM2,
    LogGamma,
    LogisticNormal,
    LogisticNormalM2,
    MLPClassifier,
    MultiLabelCCVAE,
    MultiLabelM2,
    PyroModel,
    RaoBlackwellM2,
    RegressionM2,
    RelaxedM2,
    SSLModel,
)
from pyro_ssl.models.rows import Batch

SIZES = {"input_shape": (1, 2, 3), "num_classes": 4, "latent_dim": 2, "hidden_dims": (5,)}
# One row a model: how to build a small one. A new model is added here.
MODELS = {
    "ADGM": lambda: ADGM(auxiliary_dim=3, num_samples=2, alpha=1.0, **SIZES),
    "ApproxM2": lambda: ApproxM2(baseline_dims=(5,), **SIZES),
    "Autoencoder": lambda: Autoencoder(input_shape=(1, 2, 3), latent_dim=2, hidden_dims=(5,)),
    "BernoulliVAE": lambda: BernoulliVAE(6, num_bits=3),
    "BitMixture": lambda: BitMixture(((-1, 0), (1, 0.5), (0, 1), (0, -1)), hidden_dims=(5,)),
    "CCVAE": lambda: CCVAE((1, 2, 3), 4, style_dim=2, hidden_dims=(5,)),
    "GeneratorVAE": lambda: GeneratorVAE((1, 16, 16), 2, 2, 2, 4),
    "GumbelSoftmaxM2": lambda: GumbelSoftmaxM2(straight_through=True, **SIZES),
    "LatentM2": lambda: LatentM2(3, num_classes=4, latent_dim=2, hidden_dims=(5,)),
    "LeaveOneOutM2": lambda: LeaveOneOutM2(num_samples=3, **SIZES),
    "LogGamma": lambda: LogGamma(**SIZES),
    "LogisticNormal": lambda: LogisticNormal(**SIZES),
    "LogisticNormalM2": lambda: LogisticNormalM2(**SIZES),
    "M1M2": lambda: M1M2(
        m1={"input_shape": (1, 2, 3), "latent_dim": 3, "hidden_dims": (5,)},
        num_classes=4,
        active=(0, 2),
        latent_dim=2,
        hidden_dims=(5,),
    ),
    "M2": lambda: M2((1, 2, 3), 4, latent_dim=2, hidden_dims=(5,)),
    "MLPClassifier": lambda: MLPClassifier((1, 2, 3), 4, hidden_dims=(5,)),
    "MultiLabelCCVAE": lambda: MultiLabelCCVAE(
        input_shape=(1, 2, 3), num_classes=4, style_dim=2, hidden_dims=(5,)
    ),
    "MultiLabelM2": lambda: MultiLabelM2((0.2, 0.5, 0.5, 0.9), **SIZES),
    "RaoBlackwellM2": lambda: RaoBlackwellM2(num_summed=2, **SIZES),
    "RegressionM2": lambda: RegressionM2((1, 2, 3), latent_dim=2, hidden_dims=(5,)),
    "SDGM": lambda: SDGM(auxiliary_dim=3, num_samples=2, alpha=1.0, **SIZES),
    "VAE": lambda: VAE((1, 2, 3), latent_dim=2, hidden_dims=(5,)),
}


@pytest.fixture(params=MODELS)
def make(request):
    return MODELS[request.param]


def inputs(model):
    # Pixels for most models; positive, since LatentM2 reads scales among them.
    return torch.rand(6, *model.input_shape).bernoulli().clamp(min=0.1)


def labels(model, *ys):
    """Labels `[6]`; of a multi-label model the attributes `[6, 4]` that are their binary digits.

    Of real labels they are halves, NaN where unknown.
    """
    ys = torch.tensor(ys)
    if model.real_labels:
        return torch.where(ys < 0, torch.nan, ys / 2)
    if not getattr(model, "multi_label", False):
        return ys
    return torch.where(ys[:, None] < 0, -1, (ys[:, None] >> torch.arange(4)) & 1)


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_every_exported_model_is_in_the_table():
    import pyro_ssl.models as exported

    classes = {n for n in exported.__all__ if isinstance(getattr(exported, n), type)}
    bases = {base.__name__ for base in (PyroModel, RelaxedM2, SSLModel)}
    assert classes - bases == set(MODELS)


def test_constructor_leaves_seed_stream_and_param_store_alone(make):
    torch.manual_seed(3)
    make()
    drawn = torch.rand(1)
    torch.manual_seed(3)
    make()
    assert torch.equal(drawn, torch.rand(1))
    assert list(pyro.get_param_store().keys()) == []


def copies(model, tmp_path):
    path = tmp_path / "weights.pt"
    torch.save(model.state_dict(), path)
    loaded = copy.deepcopy(model)
    loaded.load_state_dict(torch.load(path, weights_only=True))
    return [copy.deepcopy(model), pickle.loads(pickle.dumps(model)), loaded]


def test_instances_train_side_by_side_without_touching_each_other(make, tmp_path):
    first = make()
    models = [first, make(), *copies(first, tmp_path)]
    names = {m._name for m in models}
    assert len(names) == len(models)
    xs, ys = inputs(first), labels(first, 0, 1, 2, 3, 0, 1)

    def svi(m):
        return SVI(m.model, m.guide, pyro.optim.Adam({"lr": 0.01}), m.make_elbo())

    for stepper, trained in [(svi(m), m) for m in models]:
        before = [weights(m) for m in models]
        stepper.step(xs, ys)
        for m, old in zip(models, before, strict=True):
            moved = not torch.equal(weights(m), old)
            assert moved == (m is trained)


def test_model_and_guide_work_on_mixed_rows_in_any_order(make):
    model = make()
    xs, ys = inputs(model), labels(model, -1, 1, -1, 3, 0, -1)
    loss = model.make_elbo().differentiable_loss(model.model, model.guide, xs, ys)
    assert torch.isfinite(loss)
    assert loss > 0


def test_options_rebuild_the_model(make):
    model = make()
    again = type(model)(**model.options)
    assert again.options == model.options
    shapes = [{k: v.shape for k, v in m.state_dict().items()} for m in (model, again)]
    assert shapes[0] == shapes[1]


def test_training_on_constant_pixels_stays_finite(make):
    torch.manual_seed(0)
    model = make().train()
    # Every row the same, of zeros and ones; LatentM2 reads positive scales among them.
    row = (torch.arange(inputs(model)[0].numel()) % 2).float().view(model.input_shape)
    xs = (row.clamp(min=0.1) if isinstance(model, LatentM2) else row).expand(6, *row.shape)
    ys = labels(model, 0, 1, 2, -1, -1, -1)
    elbo = model.make_elbo()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(trained, lr=1e-2)
    for _ in range(50):
        optimiser.zero_grad()
        loss = elbo.differentiable_loss(model.model, model.guide, Batch(xs, ys, 3))
        loss.backward()
        assert torch.isfinite(loss)
        assert all(torch.isfinite(p.grad).all() for p in trained if p.grad is not None)
        optimiser.step()
    assert torch.isfinite(weights(model)).all()
