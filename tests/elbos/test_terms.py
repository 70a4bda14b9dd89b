import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO, TraceEnum_ELBO, TraceGraph_ELBO, TraceMeanField_ELBO

from pyro_ssl.elbos.enumerated import StaticEnum_ELBO
from pyro_ssl.elbos.sampled import RaoBlackwell_ELBO, ScoreFunction_ELBO
from pyro_ssl.elbos.terms import loss_and_terms
from pyro_ssl.errors import ConfigError
from pyro_ssl.infer import Anneal, FitConfig, Objective, fit, objective_terms
from pyro_ssl.infer.weights import TermWeights
from pyro_ssl.metrics import importance_weighted_bound
from pyro_ssl.models import M2, VAE
from pyro_ssl.models.rows import Batch
from pyro_ssl.models.terms import add_term
from tests import oracle
from tests.infer.problems import blobs
from tests.oracle import recorded_traces

LOGITS = torch.tensor([[0.5, -0.3, 0.1], [0.0, 1.0, 2.0]], dtype=torch.float64)
XS = torch.tensor([0.4, -1.0], dtype=torch.float64)


def relaxed(masked):
    q_y = dist.RelaxedOneHotCategorical(torch.tensor(0.5), logits=LOGITS)
    return q_y.mask(False) if masked else q_y


def program(masked):
    """Model and guide with a relaxed label, masked or not, and its KL divergence as a factor."""

    def model():
        with pyro.plate("rows", 2):
            y = pyro.sample("unlabelled/y", relaxed(masked))
            pyro.sample("unlabelled/x", dist.Normal(y[..., 0], 1.0), obs=XS)

    def guide():
        with pyro.plate("rows", 2):
            pyro.sample("unlabelled/y", relaxed(masked))
            log_q = LOGITS.log_softmax(-1)
            kl = (log_q.exp() * (log_q - torch.tensor(1 / 3).log())).sum(-1)
            pyro.factor("unlabelled/kl_y", kl, has_rsample=True)
            pyro.factor("unlabelled/classification", torch.tensor([2.0, 4.0]), has_rsample=True)

    return model, guide


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("elbo", [StaticEnum_ELBO, Trace_ELBO])
def test_a_factor_that_is_a_divergence_is_one_and_lowers_the_bound(elbo, masked):
    elbo = elbo(max_plate_nesting=1)
    with recorded_traces(elbo) as traces:
        loss = elbo.differentiable_loss(*program(masked))
    terms = objective_terms(*traces[-1])
    log_q = LOGITS.log_softmax(-1)
    kl = (log_q.exp() * (log_q + torch.tensor(3.0).log())).sum(-1).mean()
    y = traces[-1][0].nodes["unlabelled/y"]["value"]
    log_px = dist.Normal(y[:, 0], 1.0).log_prob(XS).mean()
    assert set(terms) == {
        "unlabelled_kl_y",
        "unlabelled_elbo",
        "unlabelled_log_prob_x",
        "classification",
    }
    # The site's own densities are the same in model and guide, or masked: only the factor is left.
    torch.testing.assert_close(terms["unlabelled_kl_y"], kl, check_dtype=False)
    torch.testing.assert_close(terms["unlabelled_elbo"], log_px - kl, check_dtype=False)
    assert terms["classification"] == 3.0
    by_hand = 2 * (terms["classification"] - terms["unlabelled_elbo"])
    torch.testing.assert_close(loss, by_hand, check_dtype=False)


def test_such_a_factor_is_annealed_with_its_site():
    elbo = StaticEnum_ELBO()
    with recorded_traces(elbo) as traces, TermWeights({"kl_y": torch.tensor(0.25)}):
        loss = elbo.differentiable_loss(*program(masked=True))
    terms = objective_terms(*traces[-1])
    parts = terms["classification"] + 0.25 * terms["unlabelled_kl_y"]
    by_hand = 2 * (parts - terms["unlabelled_log_prob_x"])
    torch.testing.assert_close(loss, by_hand, check_dtype=False)
    assert terms["unlabelled_kl_y"] > 0.05


PYROS = {
    "Trace": lambda **o: Trace_ELBO(**o),
    "TraceEnum": lambda **o: TraceEnum_ELBO(max_plate_nesting=1, **o),
    "TraceMeanField": lambda **o: TraceMeanField_ELBO(**o),
    "TraceGraph": lambda **o: TraceGraph_ELBO(**o),
}


@pytest.mark.parametrize(
    "particles", [{}, {"num_particles": 3}, {"num_particles": 3, "vectorize_particles": True}]
)
@pytest.mark.parametrize("name", ["Trace", "TraceEnum", "TraceMeanField"])
def test_terms_of_pyros_own_elbos_add_up_to_their_loss(name, particles):
    torch.manual_seed(0)
    model = VAE((1, 2, 3), latent_dim=2, hidden_dims=(5,)).double()
    xs = torch.rand(7, 1, 2, 3, dtype=torch.float64).round()
    elbo = PYROS[name](**particles)
    before = dict(vars(elbo))
    torch.manual_seed(1)
    loss, terms = loss_and_terms(elbo, model.model, model.guide, xs)
    # Nothing is left on the ELBO, whose class and options are what they were.
    assert dict(vars(elbo)) == before
    assert type(elbo) in (Trace_ELBO, TraceEnum_ELBO, TraceMeanField_ELBO)
    torch.manual_seed(1)
    assert torch.equal(loss, elbo.differentiable_loss(model.model, model.guide, xs))
    assert set(terms) == {"elbo", "kl_z", "log_prob_x"}
    torch.testing.assert_close(loss, -7 * terms["elbo"])
    torch.testing.assert_close(terms["elbo"], terms["log_prob_x"] - terms["kl_z"])
    if name == "TraceMeanField":
        loc, scale = oracle.vae_posterior(model, xs)
        torch.testing.assert_close(terms["kl_z"], oracle.normal_kl(loc, scale).mean())


@pytest.mark.parametrize("elbo", [StaticEnum_ELBO(), RaoBlackwell_ELBO(1), ScoreFunction_ELBO()])
def test_the_librarys_elbos_return_their_terms(elbo):
    torch.manual_seed(0)
    model = M2((1, 2, 3), 3, latent_dim=2, hidden_dims=(5,), **oracle.PLAIN).double()
    xs, ys = torch.rand(7, 1, 2, 3, dtype=torch.float64).round(), torch.arange(7) % 4 - 1
    loss, terms = elbo.loss_and_terms(model.model, model.guide, xs, ys)
    known = (ys >= 0).sum()
    by_hand = known * (terms["classification"] - terms["labelled_elbo"])
    by_hand = by_hand - (7 - known) * terms["unlabelled_elbo"]
    if not isinstance(elbo, RaoBlackwell_ELBO):
        # Its weights are an estimate's, and so are its terms.
        torch.testing.assert_close(loss, by_hand)
    assert {"labelled_kl_z", "unlabelled_kl_y", "unlabelled_log_prob_x"} <= set(terms)


def test_a_loss_of_ones_own_elbo_is_the_one_that_counts():
    class Doubled(StaticEnum_ELBO):
        def differentiable_loss(self, *args):
            return 2 * super().differentiable_loss(*args)

    model, xs = VAE((1, 2, 3), latent_dim=2, hidden_dims=(5,)), torch.ones(4, 1, 2, 3)
    losses = []
    for elbo in (StaticEnum_ELBO(), Doubled()):
        torch.manual_seed(1)
        losses.append(elbo.loss_and_terms(model.model, model.guide, xs)[0])
    assert losses[1] == 2 * losses[0]


def with_term(add):
    """M2, and a VAE, whose guides add a term to each row."""

    class TermM2(M2):
        def _label_in_guide(self, rows, scores):
            add(rows.xs.flatten(1).mean(-1) * scores.square().mean(-1))
            return super()._label_in_guide(rows, scores)

    torch.manual_seed(0)
    return TermM2((1, 4, 4), 3, 2, (5,), **oracle.PLAIN | {"alpha": 0.5}).double()


TERMS = {
    "no part of the bound": (lambda loss: add_term("extra", loss, 2.0), 0.0),
    "a part of the bound": (lambda loss: add_term("extra", loss, 2.0, bound_weight=3.0), 3.0),
    "a plain factor": (lambda loss: pyro.factor("extra", loss, has_rsample=True), 0.0),
    "a divergence": (lambda loss: pyro.factor("kl_extra", loss, has_rsample=True), 1.0),
}


@pytest.mark.parametrize("kind", TERMS)
def test_a_term_of_ones_own_is_reported_and_in_the_bound_only_if_it_says_so(kind):
    add, in_bound = TERMS[kind]
    plain, model = with_term(lambda loss: None), with_term(add)
    model.load_state_dict(plain.state_dict())
    data = blobs()
    xs = data.unlabelled_xs[:20].double()
    batch = Batch(torch.cat([data.labelled_xs, data.unlabelled_xs[:9]]).double(), None, 0)
    found = []
    for each in (plain, model):
        torch.manual_seed(3)
        loss, terms = Objective(each, 0, 108)(batch)
        torch.manual_seed(4)
        bound = importance_weighted_bound(each, xs)
        found.append((loss, terms, bound))
    (loss, terms, bound), (other_loss, other, other_bound) = found
    scores = plain.classifier(batch.xs.flatten(1))
    value = (batch.xs.flatten(1).mean(-1) * scores.square().mean(-1)).mean()
    name = "unlabelled_kl_extra" if kind == "a divergence" else "extra"
    assert set(other) - set(terms) == {name}
    torch.testing.assert_close(other[name], value.detach())
    weight = {"no part of the bound": 2.0, "a part of the bound": 5.0}.get(kind, 1.0)
    torch.testing.assert_close(other_loss - loss, weight * value)
    lowered = terms["unlabelled_elbo"] - in_bound * value
    torch.testing.assert_close(other["unlabelled_elbo"], lowered.detach())
    with torch.no_grad():
        each = xs.flatten(1).mean(-1) * plain.classifier(xs.flatten(1)).square().mean(-1)
    torch.testing.assert_close(other_bound, bound - in_bound * each)
    assert value > 1e-3


@pytest.mark.parametrize("kind", ["no part of the bound", "a plain factor", "a divergence"])
def test_a_term_of_ones_own_is_annealed_and_scaled_under_its_name(kind):
    model = with_term(TERMS[kind][0])
    key = "kl_extra" if kind == "a divergence" else "extra"
    batch = Batch(blobs().unlabelled_xs[:9].double(), None, 0)

    def evaluated(**options):
        torch.manual_seed(3)
        config = FitConfig(**options)
        return Objective(model, 0, 108, anneal=config.weights())(batch)

    (whole, terms), (scaled, others), (both, _) = (
        evaluated(),
        evaluated(term_weights={key: 0.25}),
        evaluated(term_weights={key: 0.25}, anneal={key: Anneal(0.5, 1.0, 10)}),
    )
    value = terms["unlabelled_kl_extra" if kind == "a divergence" else "extra"]
    weight = 2.0 if kind == "no part of the bound" else 1.0
    torch.testing.assert_close(whole - scaled, 0.75 * weight * value)
    torch.testing.assert_close(whole - both, 0.875 * weight * value)
    assert terms == others
    with pytest.raises(ConfigError, match=r"has the key 'extr', .*kl_z"):
        fit(model.float(), blobs(), FitConfig(batch_size=36, anneal={"extr": Anneal(0, 1, 5)}))


def test_weights_of_terms_must_be_numbers_from_zero():
    for weight in (-0.1, float("nan"), "1"):
        with pytest.raises(ConfigError, match=r"term_weights\['kl_z'\] is"):
            FitConfig(term_weights={"kl_z": weight})
