import copy
import pickle

import pyro
import pytest
import torch
from pyro.infer import SVI

from pyro_ssl.models import (
    M1M2,
    M2,
    VAE,
    Autoencoder,
    LatentM2,
    MLPClassifier,
    PyroModel,
    RaoBlackwellM2,
    SSLModel,
)

# One row a model: how to build a small one. A new model is added here.
MODELS = {
    "Autoencoder": lambda: Autoencoder(input_shape=(1, 2, 3), latent_dim=2, hidden_dims=(5,)),
    "LatentM2": lambda: LatentM2(3, num_classes=4, latent_dim=2, hidden_dims=(5,)),
    "M1M2": lambda: M1M2(
        m1={"input_shape": (1, 2, 3), "latent_dim": 3, "hidden_dims": (5,)},
        num_classes=4,
        active=(0, 2),
        latent_dim=2,
        hidden_dims=(5,),
    ),
    "M2": lambda: M2((1, 2, 3), 4, latent_dim=2, hidden_dims=(5,)),
    "MLPClassifier": lambda: MLPClassifier((1, 2, 3), 4, hidden_dims=(5,)),
    "RaoBlackwellM2": lambda: RaoBlackwellM2(
        num_summed=2, input_shape=(1, 2, 3), num_classes=4, latent_dim=2, hidden_dims=(5,)
    ),
    "VAE": lambda: VAE((1, 2, 3), latent_dim=2, hidden_dims=(5,)),
}


@pytest.fixture(params=MODELS)
def make(request):
    return MODELS[request.param]


def inputs(model):
    # Pixels for most models; positive, since LatentM2 reads scales among them.
    return torch.rand(6, *model.input_shape).bernoulli().clamp(min=0.1)


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_every_exported_model_is_in_the_table():
    import pyro_ssl.models as exported

    classes = {n for n in exported.__all__ if isinstance(getattr(exported, n), type)}
    assert classes - {PyroModel.__name__, SSLModel.__name__} == set(MODELS)


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
    xs, ys = inputs(first), torch.tensor([0, 1, 2, 3, 0, 1])

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
    xs, ys = inputs(model), torch.tensor([-1, 1, -1, 3, 0, -1])
    loss = model.make_elbo().differentiable_loss(model.model, model.guide, xs, ys)
    assert torch.isfinite(loss)
    assert loss > 0


def test_options_rebuild_the_model(make):
    model = make()
    again = type(model)(**model.options)
    assert again.options == model.options
    shapes = [{k: v.shape for k, v in m.state_dict().items()} for m in (model, again)]
    assert shapes[0] == shapes[1]
