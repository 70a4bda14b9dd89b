"""VAE and M2 in NumPyro, an epoch being one jitted scan over SVI's updates."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from benchmarks.peers.problem import (
    ALPHA,
    CLASSES,
    HIDDEN,
    LATENT,
    LEARNING_RATE,
    PIXELS,
    Epoch,
    Passed,
    Problem,
)


def _network(name: str, inputs: int, outputs: int) -> Callable[..., Any]:
    """Return a function of inputs, and of what a label adds to the hidden units, if anything."""
    from jax import nn

    first = _uniform(f"{name}_in", (inputs, HIDDEN), inputs)
    first_bias = _uniform(f"{name}_in_bias", (HIDDEN,), inputs)
    last = _uniform(f"{name}_out", (HIDDEN, outputs), HIDDEN)
    last_bias = _uniform(f"{name}_out_bias", (outputs,), HIDDEN)
    return lambda xs, of_label=0.0: nn.relu(xs @ first + first_bias + of_label) @ last + last_bias


def _uniform(name: str, shape: tuple[int, ...], inputs: int) -> Any:
    """Return a parameter, with torch's initial values for layers of so many inputs."""
    import numpyro
    from jax import random

    bound = inputs**-0.5

    def draw(key: Any) -> Any:
        return random.uniform(key, shape, minval=-bound, maxval=bound)

    return numpyro.param(name, draw)


def _normal(outputs: Any) -> Any:
    import numpyro.distributions as dist
    from jax import nn
    from jax import numpy as jnp

    loc, raw = jnp.split(outputs, 2, -1)
    return dist.Normal(loc, nn.softplus(raw) + 1e-4).to_event(1)


def _log_px(xs: Any, logits: Any) -> Any:
    """Return log p(x|.), written out: NumPyro's Bernoulli asks for arrays of integers."""
    from jax import nn

    return (xs * logits - nn.softplus(logits)).sum(-1)


def _training(model: Any, guide: Any, elbo: Any, problem: Problem, arguments: Any) -> Epoch:
    import jax
    import numpyro
    from jax import numpy as jnp
    from numpyro.infer import SVI

    xs = jnp.asarray(problem.xs.numpy())
    svi = SVI(model, guide, numpyro.optim.Adam(LEARNING_RATE), elbo)
    size, steps = problem.batch_size, problem.steps

    @jax.jit
    def one(state: Any, key: Any) -> tuple[Any, Any]:
        order = jax.random.permutation(key, len(xs)).reshape(steps, size)
        return jax.lax.scan(lambda s, rows: svi.update(s, xs[rows], *arguments), state, order)

    kept = {"key": jax.random.PRNGKey(0), "state": None}

    def epoch() -> Passed:
        kept["key"], now = jax.random.split(kept["key"])
        if kept["state"] is None:
            kept["state"] = svi.init(now, xs[:size], *arguments)
        kept["state"], losses = one(kept["state"], now)
        return Passed(float(losses.mean()))

    return epoch


def vae(problem: Problem) -> Epoch:
    """Return an epoch of the VAE, its KL divergence in closed form."""
    import numpyro
    import numpyro.distributions as dist
    from jax import numpy as jnp
    from numpyro.infer import TraceMeanField_ELBO

    share = 1 / problem.batch_size

    def model(xs: Any) -> None:
        decoder = _network("decoder", LATENT, PIXELS)
        with numpyro.plate("rows", len(xs)), numpyro.handlers.scale(scale=share):
            z = numpyro.sample("z", dist.Normal(jnp.zeros(LATENT), 1.0).to_event(1))
            numpyro.factor("x", _log_px(xs, decoder(z)))

    def guide(xs: Any) -> None:
        encoder = _network("encoder", PIXELS, 2 * LATENT)
        with numpyro.plate("rows", len(xs)), numpyro.handlers.scale(scale=share):
            numpyro.sample("z", _normal(encoder(xs)))

    return _training(model, guide, TraceMeanField_ELBO(), problem, ())


def m2(problem: Problem) -> Epoch:
    """Return an epoch of M2, the unknown label summed by hand: terms weigh q(y|x)."""
    import numpyro
    import numpyro.distributions as dist
    from jax import nn
    from jax import numpy as jnp
    from numpyro.infer import Trace_ELBO

    known_xs = jnp.asarray(problem.known_xs.numpy())
    known_ys = jnp.asarray(problem.known_ys.numpy())
    known, total = len(known_xs), len(known_xs) + len(problem.xs)
    shares = {"labelled": 1 / total, "unlabelled": len(problem.xs) / total / problem.batch_size}
    prior = -jnp.log(CLASSES)

    def terms(xs: Any) -> list[tuple[str, Any, Any, Any]]:
        """Return name, rows, classes and weights of both kinds of rows."""
        log_q = nn.log_softmax(_network("classifier", PIXELS, CLASSES)(xs))
        return [("unlabelled", xs, None, jnp.exp(log_q).T), ("labelled", known_xs, known_ys, 1.0)]

    def plates(name: str, rows: Any, ys: Any) -> Any:
        stack = ExitStack()
        stack.enter_context(numpyro.plate(f"{name}_rows", len(rows), dim=-1))
        if ys is None:
            stack.enter_context(numpyro.plate(f"{name}_classes", CLASSES, dim=-2))
        return stack

    def model(xs: Any) -> None:
        decoder, labels = (
            _network("decoder", LATENT, PIXELS),
            _uniform("decoder_label", (CLASSES, HIDDEN), LATENT),
        )
        for name, rows, ys, weights in terms(xs):
            of_label = labels[:, None] if ys is None else labels[ys]
            scaled = numpyro.handlers.scale(scale=weights * shares[name])
            with plates(name, rows, ys), scaled:
                normal = dist.Normal(jnp.zeros(LATENT), 1.0).to_event(1)
                z = numpyro.sample(f"{name}_z", normal)
                numpyro.factor(f"{name}_x", _log_px(rows, decoder(z, of_label)) + prior)

    def guide(xs: Any) -> None:
        encoder, labels = (
            _network("encoder", PIXELS, 2 * LATENT),
            _uniform("encoder_label", (CLASSES, HIDDEN), PIXELS),
        )
        classifier = _network("classifier", PIXELS, CLASSES)
        for name, rows, ys, weights in terms(xs):
            of_label = labels[:, None] if ys is None else labels[ys]
            scaled = numpyro.handlers.scale(scale=weights * shares[name])
            with plates(name, rows, ys), scaled:
                numpyro.sample(f"{name}_z", _normal(encoder(rows, of_label)))
        log_q = nn.log_softmax(classifier(xs))
        entropy = -(jnp.exp(log_q) * log_q).sum() * shares["unlabelled"]
        numpyro.factor("entropy", -entropy)
        right = nn.log_softmax(classifier(known_xs))[jnp.arange(known), known_ys]
        numpyro.factor("classification", -ALPHA * right.mean())

    return _training(model, guide, Trace_ELBO(), problem, ())
