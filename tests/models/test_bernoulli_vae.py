import itertools
import math

import pyro
import pytest
import torch
from torch.nn import functional as F

from pyro_ssl.elbos.antithetic import Antithetic_ELBO
from pyro_ssl.errors import ConfigError, DataError
from pyro_ssl.infer import load_model, save_model
from pyro_ssl.models import BernoulliVAE
from tests import oracle

BITS = 4


def make(**options) -> BernoulliVAE:
    torch.manual_seed(2)
    model = BernoulliVAE(**{"num_words": 5, "num_bits": BITS} | options)
    for parameter in model.parameters():
        # Counts drive a linear encoder far out: here its bits are to be in doubt.
        parameter.data.mul_(1.5 if parameter.dim() == 1 else 0.5)
    return model.double()


def counts(rows: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randint(0, 4, (rows, 5), generator=generator).double()


def exact_elbo(model, xs):
    """The ELBO of each row, `[N]`, a sum over all codes."""
    seen = 100 * xs / xs.sum(-1, keepdim=True) if model.inputs == "frequencies" else xs
    logits = model.encoder(seen)
    total = 0
    for code in itertools.product([0.0, 1.0], repeat=model.num_bits):
        z = torch.tensor(code).double()
        log_q = (z * F.logsigmoid(logits) + (1 - z) * F.logsigmoid(-logits)).sum(-1)
        log_px = (xs * model.decoder(z).log_softmax(-1)).sum(-1)
        total = total + log_q.exp() * (log_px - model.num_bits * math.log(2) - log_q)
    return total


def figures(loss, model):
    """The loss, its gradient by each logit's bias, and along fixed directions."""
    found, generator = oracle.gradients(loss, model), torch.Generator().manual_seed(0)
    values = [loss.detach()[None], found["encoder.layers.0.bias"]]
    for network in ("encoder", "decoder"):
        flat = torch.cat([g.flatten() for n, g in found.items() if n.startswith(network)])
        directions = torch.randn(3, len(flat), generator=generator, dtype=flat.dtype)
        values.append((directions / directions.norm(dim=1, keepdim=True)) @ flat)
    return torch.cat(values)


def estimates(model, elbo, calls=100, repeats=400):
    """Mean, standard error and variance of a draw of `figures`, of three rows."""
    xs = counts(3).repeat(repeats, 1)
    drawn = []
    with pyro.validation_enabled(False):
        for _ in range(calls):
            loss = elbo.differentiable_loss(model.model, model.guide, xs) / repeats
            drawn.append(figures(loss, model))
    drawn = torch.stack(drawn)
    return drawn.mean(0), drawn.std(0) / calls**0.5, drawn.var(0) * repeats


@pytest.fixture(scope="module")
def exact():
    model = make()
    return figures(-exact_elbo(model, counts(3)).sum(), model)


@pytest.mark.parametrize("closed_form_kl", [True, False])
@pytest.mark.parametrize("kind", ["arm", "disarm"])
def test_antithetic_pairs_are_unbiased(exact, kind, closed_form_kl):
    model = make()
    mean, error, _ = estimates(model, Antithetic_ELBO(kind, closed_form_kl=closed_form_kl))
    assert (((mean - exact) / error).abs() < 3).all()
    # The gradient is large enough for its absence, or a factor 2, to show.
    assert (exact.abs() > 8 * error).sum() >= 8


def test_score_function_is_unbiased(exact):
    model = make(estimator="score_function")
    mean, error, _ = estimates(model, model.make_elbo())
    assert (((mean - exact) / error).abs() < 3).all()


def test_straight_through_has_the_right_value_and_decoder_but_not_encoder(exact):
    model = make(estimator="straight_through")
    mean, error, _ = estimates(model, model.make_elbo())
    off = ((mean - exact) / error).abs()
    decoder = slice(-3, None)
    assert off[0] < 3
    assert (off[decoder] < 3).all()
    assert (off[1:-3] > 5).any()


def test_disarm_varies_less_than_arm():
    variances = {kind: estimates(make(), Antithetic_ELBO(kind))[2] for kind in ("arm", "disarm")}
    of_encoder = slice(1, -3)
    assert (variances["disarm"][of_encoder] < variances["arm"][of_encoder]).all()


@pytest.mark.parametrize("inputs", ["counts", "frequencies"])
@pytest.mark.parametrize("kind", ["arm", "disarm"])
def test_each_draw_is_the_formula_gradients_included(kind, inputs):
    model, xs = make(inputs=inputs, encoder_dims=(7,), decoder_dims=(6,)), counts(4)
    if inputs == "frequencies":
        model.encoder.layers[0].weight.data.div_(20)
    torch.manual_seed(5)
    loss, _ = oracle.run(model, Antithetic_ELBO(kind), xs)
    # The draws of Pyro's own, which make room for ours.
    torch.manual_seed(5)
    seen = 100 * xs / xs.sum(-1, keepdim=True) if inputs == "frequencies" else xs
    logits = model.encoder(seen)
    u = uniforms_of(model, xs, logits)
    on = logits.sigmoid()
    pair = [(u < on).double(), (1 - u < on).double()]
    fits = [(xs * model.decoder(z).log_softmax(-1)).sum(-1) for z in pair]
    if kind == "arm":
        factors = 0.5 - u
    else:
        sign, differ = (-1) ** pair[1], (pair[0] != pair[1]).double()
        factors = 0.5 * sign * differ * logits.abs().sigmoid()
    gap = (fits[0] - fits[1]).detach()
    of_encoder = gap * (factors.detach() * logits).sum(-1)
    kl = (on * on.log() + (1 - on) * (1 - on).log() + math.log(2)).sum(-1)
    value = (sum(fits) / 2 - kl).sum()
    expected = -(value + (of_encoder - of_encoder.detach()).sum())
    torch.testing.assert_close(loss, expected)
    oracle.assert_same(oracle.gradients(loss, model), oracle.gradients(expected, model))


def uniforms_of(model, xs, logits):
    """The uniform numbers that the next call of the guide would draw a pair by."""
    drawn = []
    rand_like = torch.rand_like
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "rand_like", lambda x: drawn.append(rand_like(x)) or drawn[-1])
        oracle.run(model, Antithetic_ELBO(), xs)
    (only,) = drawn
    assert only.shape == logits.shape
    return only


def test_codes_and_words():
    model, xs = make(), counts(4)
    assert model.encode(xs).shape == (4, BITS)
    torch.testing.assert_close(model.encode(xs), model.encoder(xs).sigmoid().detach())
    words = model.decode(torch.ones(2, BITS).double())
    torch.testing.assert_close(words.sum(-1), torch.ones(2).double())


def test_tfidf_is_that_of_scikit_learn(tmp_path):
    from sklearn.feature_extraction.text import TfidfTransformer

    xs, model = counts(30), make(inputs="tfidf")
    # A word in all documents, one in none, and a document without words.
    xs[:, 0], xs[:, 1] = 1.0, 0.0
    model.weigh_words(xs)
    weighed = TfidfTransformer().fit(xs.numpy()).transform(xs.numpy()).toarray()
    expected = model.encoder(10 * torch.from_numpy(weighed)).sigmoid().detach()
    torch.testing.assert_close(model.encode(xs), expected)
    nothing = torch.zeros_like(xs[:1])
    torch.testing.assert_close(model.encode(nothing), model.encoder(nothing).sigmoid().detach())
    # The weights are the model's own, and go where it goes.
    save_model(model, tmp_path / "model.pt")
    torch.testing.assert_close(load_model(tmp_path / "model.pt").idf.double(), model.idf)
    assert "idf" not in make().state_dict()
    with pytest.raises(ConfigError, match="of which no word has a weight"):
        make().weigh_words(xs)
    with pytest.raises(DataError):
        model.weigh_words(xs[:, 1:])


def test_words_are_dropped_in_training_alone():
    model, xs = make(input_dropout=0.5), counts(4)
    assert torch.equal(model.encode(xs), model.encode(xs))
    model.train()
    assert not torch.equal(model._logits(xs), model._logits(xs))


@pytest.mark.parametrize("decoder_dims", [(), (3,)])
def test_training_starts_from_the_words_frequencies(decoder_dims):
    model = make(decoder_dims=decoder_dims)
    frequencies = torch.tensor([1, 2, 3, 4, 6]).double() / 16
    model.start_from(frequencies)
    last = model.decoder.layers[-1]
    last.weight.data.zero_()
    assert last.bias.requires_grad
    found = model.decode(torch.ones(2, BITS).double())
    torch.testing.assert_close(found, frequencies.expand(2, -1))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"num_bits": 0}, "num_bits is 0"),
        ({"inputs": "bm25"}, "inputs is 'bm25', expected one of counts, frequencies, tfidf"),
        ({"estimator": "rebar"}, "estimator is 'rebar'"),
    ],
)
def test_bad_option_is_named(options, says):
    with pytest.raises(ConfigError, match=says):
        make(**options)


def test_other_sites_are_refused_by_name():
    model = make(num_bits=2)

    def guide(xs, ys=None):
        with pyro.plate("rows", len(xs)):
            q_z = pyro.distributions.Categorical(logits=torch.zeros(len(xs), 2).double())
            pyro.sample("z", q_z, infer={"enumerate": "parallel"})

    with pytest.raises(ConfigError, match="site 'z' of the guide is a Categorical"):
        Antithetic_ELBO().differentiable_loss(model.model, guide, counts(3))
