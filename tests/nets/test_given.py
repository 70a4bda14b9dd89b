import copy

import pytest
import torch
from torch import nn

from pyro_ssl.data import SSLData
from pyro_ssl.errors import CheckpointError, ConfigError
from pyro_ssl.infer import FitConfig, fit, load_model, save_model
from pyro_ssl.models import CCVAE, M1M2, M2, VAE, GumbelSoftmaxM2, LatentM2, MultiLabelM2
from pyro_ssl.nets import GivenNetwork
from tests import oracle
from tests.infer.problems import STEADY

SHAPE = (1, 2, 3)
YS = torch.tensor([2, 0, -1, -1, -1])


class Own(nn.Module):
    """Takes and returns the shapes it is told, and remembers what it was given."""

    def __init__(self, inputs, outputs, labels=0):
        super().__init__()
        self.outputs, self.seen = outputs, []
        size = torch.Size(inputs).numel() + labels
        self.layers = nn.Sequential(
            nn.Linear(size, 6), nn.Tanh(), nn.Linear(6, torch.Size(outputs).numel())
        )

    def forward(self, xs, *ys):
        self.seen.append((xs.shape, *(y.detach().clone() for y in ys)))
        hs = torch.cat([xs.flatten(1), *ys], -1)
        return self.layers(hs).unflatten(-1, self.outputs)


def networks(classes=4, latent=2):
    return {
        "classifier": Own(SHAPE, (classes,)),
        "encoder": Own(SHAPE, (2 * latent,), classes),
        "decoder": Own((latent,), SHAPE, classes),
    }


def m2(cls=M2, **options):
    torch.manual_seed(1)
    return cls(input_shape=SHAPE, num_classes=4, latent_dim=2, **networks() | options).double()


def pixels(number=5):
    return torch.rand(number, *SHAPE).bernoulli().double()


def test_a_given_network_is_called_with_rows_and_one_hot_labels():
    network = Own((2, 3), (4,), 3).double()
    given = GivenNetwork(network, (2, 3), (4,), 3)
    xs, ys = torch.randn(5, 6).double(), torch.tensor([[0], [2]])
    network.seen.clear()
    found = given(xs, ys)
    ((shape, labels),) = network.seen
    assert (found.shape, shape) == ((2, 5, 4), (10, 2, 3))
    assert torch.equal(labels, torch.eye(3).double()[torch.tensor([0] * 5 + [2] * 5)])
    for k, y in enumerate((0, 2)):
        one_hot = torch.eye(3).double()[torch.full((5,), y)]
        torch.testing.assert_close(found[k], network(xs.view(5, 2, 3), one_hot))
    # Points of the simplex pass as they are.
    points = torch.rand(5, 3).double().softmax(-1)
    torch.testing.assert_close(given(xs, points), network(xs.view(5, 2, 3), points))


def test_objective_and_gradients_of_m2_equal_a_loop_over_classes():
    model, xs = m2(alpha=2.0), pixels()
    loss, trace = oracle.run(model, model.make_elbo(), xs, YS)
    known = YS >= 0
    zs = trace.nodes["unlabelled/z"]["value"]
    ks = torch.arange(4)
    eps = torch.stack([oracle.noise(model, xs[~known], k.expand(3), zs[k]) for k in ks])
    of_known = oracle.noise(model, xs[known], YS[known], trace.nodes["labelled/z"]["value"])
    labelled = oracle.labelled_bound(model, xs[known], YS[known], of_known)
    labelled = labelled - 2.0 * oracle.classification(model, xs[known], YS[known])
    wanted = -labelled.sum() - oracle.unlabelled_bound(model, xs[~known], eps).sum()
    torch.testing.assert_close(loss, wanted, atol=1e-9, rtol=1e-9)
    gradients = oracle.gradients(loss, model)
    oracle.assert_same(gradients, oracle.gradients(wanted, model))
    for name in ("classifier", "encoder", "decoder"):
        assert (gradients[f"{name}.network.layers.0.weight"] != 0).any()


@pytest.mark.parametrize("cls", [GumbelSoftmaxM2, MultiLabelM2])
def test_relaxed_labels_and_attributes_reach_given_networks(cls):
    model = m2(cls).train()
    ys = YS if cls is GumbelSoftmaxM2 else torch.tensor([[1, -1, 0, 0]] * 2 + [[-1] * 4] * 3)
    loss = model.make_elbo().differentiable_loss(model.model, model.guide, pixels(), ys)
    loss.backward()
    assert torch.isfinite(loss)
    assert all((p.grad != 0).any() for p in model.parameters())


def test_vae_and_ccvae_and_m1_take_given_networks():
    vae = VAE(SHAPE, 2, encoder=Own(SHAPE, (4,)), decoder=Own((2,), SHAPE)).double()
    xs = pixels()
    loss, trace = oracle.run(vae, vae.make_elbo(), xs)
    eps = oracle.vae_noise(vae, xs, trace.nodes["z"]["value"])
    wanted = -oracle.vae_bound(vae, xs, eps).sum()
    torch.testing.assert_close(loss, wanted, atol=1e-9, rtol=1e-9)
    oracle.assert_same(oracle.gradients(loss, vae), oracle.gradients(wanted, vae))
    ccvae = CCVAE(
        SHAPE, 4, 3, encoder=Own(SHAPE, (14,)), decoder=Own((7,), SHAPE), likelihood="laplace"
    ).double()
    loss, _ = oracle.run(ccvae, ccvae.make_elbo(), xs, YS)
    assert all((g != 0).any() for g in oracle.gradients(loss, ccvae).values())
    assert ccvae.sample(torch.tensor([0, 1, -1])).shape == (3, *SHAPE)
    upper = LatentM2(2, num_classes=4, latent_dim=2, hidden_dims=(5,)).double()
    stacked = M1M2.on(vae, upper)
    # A copy: freezing M1 there leaves the network here alone.
    assert all(p.requires_grad for p in vae.parameters())
    assert not any(p.requires_grad for p in stacked.vae.parameters())
    assert torch.equal(stacked.vae.encode(xs)[0], vae.encode(xs)[0])


def test_with_convolutions_networks_see_and_return_what_these_do():
    shape = (1, 8, 8)
    model = M2(shape, 4, 2, (5,), channels=3, classifier=Own((3 * 4 * 4,), (4,))).double()
    loss, _ = oracle.run(model, model.make_elbo(), torch.rand(5, *shape).double(), YS)
    assert torch.isfinite(loss)
    with pytest.raises(ConfigError, match="classifier cannot be called with inputs"):
        M2(shape, 4, 2, (5,), channels=3, classifier=Own(shape, (4,)))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"classifier": Own(SHAPE, (5,))}, r"classifier returns \[2, 5\] for inputs .* \[2, 4\]"),
        ({"classifier": Own((7,), (4,))}, r"classifier cannot be called with inputs \[2, 1, 2, 3"),
        ({"encoder": Own(SHAPE, (4,))}, r"encoder cannot be called with .* and labels \[2, 4\]"),
        ({"decoder": Own((2,), (6,), 4)}, r"decoder returns \[2, 6\] .* expected \[2, 1, 2, 3\]"),
        ({"decoder": "conv"}, "decoder is 'conv', expected a torch.nn.Module"),
        ({"encoder": Own}, "encoder is <class"),
    ],
)
def test_networks_that_cannot_be_called_are_named(options, says):
    with pytest.raises(ConfigError, match=says):
        M2(SHAPE, 4, 2, (5,), **options)


def test_the_check_draws_nothing_and_leaves_modes_and_statistics_alone():
    network = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 4))
    network[2].eval()
    before, random_state = copy.deepcopy(network.state_dict()), torch.get_rng_state()
    GivenNetwork(network, SHAPE, (4,))
    assert torch.equal(torch.get_rng_state(), random_state)
    assert network.training
    assert not network[2].training
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())


def test_options_hold_the_networks_that_were_given_and_no_others():
    own = networks()["classifier"]
    model = M2(SHAPE, 4, 2, (5,), classifier=own)
    assert model.options["classifier"] is own
    assert model.options["encoder"] is None
    assert model.options["decoder"] is None


def test_checkpoints_ask_for_the_networks_again(tmp_path):
    path, run = tmp_path / "model.pt", tmp_path / "run.pt"
    torch.manual_seed(0)
    data = SSLData.from_arrays(pixels(20).float(), torch.arange(20) % 4)
    config = FitConfig(epochs=1, batch_size=20, **STEADY)

    def make():
        torch.manual_seed(1)
        return M2(SHAPE, 4, 2, (5,), classifier=Own(SHAPE, (4,)))

    model = make()
    fit(model, data, config, checkpoint=run)
    save_model(model, path)
    with pytest.raises(ConfigError, match=r"classifier was a Own, .*\(path, classifier="):
        load_model(path)
    again = load_model(path, classifier=Own(SHAPE, (4,)))
    assert torch.equal(again.predict_proba(data.labelled_xs), model.predict_proba(data.labelled_xs))
    more = FitConfig(epochs=2, batch_size=20, **STEADY)
    assert len(fit(make(), data, more, checkpoint=run, resume=True).rows) == 2
    with pytest.raises(CheckpointError, match="another classifier"):
        fit(M2(SHAPE, 4, 2, (5,)), data, more, checkpoint=run, resume=True)


def test_compiled_steps_take_given_networks(as_recorded):
    model = m2().float()
    data = SSLData.from_arrays(pixels(20).float(), torch.arange(20) % 5 - 1)
    history = fit(model, data, FitConfig(epochs=1, batch_size=4, compile="always"))
    assert history.execution.startswith("compiled")
