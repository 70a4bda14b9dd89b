"""Semantic hashing: VAEs whose latents are bits, on 20 Newsgroups.

The second experiment of Shekhovtsov et al. (2022), a binary code for each document. The epoch is
chosen by the ELBO of validation documents taken from the training part; the test part is read
once, at the end, for: the ELBO in nats per document; perplexity; the deviance form of the
published reproduction beside that of a unigram model (see `pyro_ssl.metrics.documents`); and
precision at 100, the share of a test document's 100 nearest training documents, by Hamming distance
of codes, that are of its group. --grid paper runs the reproduction's 36 architectures, one folder
each, and goes on where it was stopped with --resume. Writes to RESULTS_ROOT/semantic_hashing/.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any, Literal

import tyro

from experiments.engine.options import RunOptions, option, recorded_options
from pyro_ssl.errors import ConfigError

if TYPE_CHECKING:
    from experiments.engine.runner import Comparison, Figures, Result, SeedRun
    from experiments.engine.training import Contender
    from pyro_ssl.data import Documents
    from pyro_ssl.models import BernoulliVAE

# Number of nearest training documents whose groups are compared.
_NEAREST = 100


@dataclass(frozen=True)
class Config(RunOptions):
    """Options of the experiment."""

    grid: Literal["paper"] | None = option(None, recorded=False)
    """Run all of the paper's architectures instead of the one given by bits, depths and inputs."""
    bits: int = 64
    """Bits of a code."""
    encoder_depth: int = 0
    """Hidden layers of the encoder."""
    decoder_depth: int = 0
    """Hidden layers of the decoder."""
    inputs: Literal["counts", "frequencies", "tfidf"] = "counts"
    """Inputs of the encoder; the likelihood is always of counts."""
    input_dropout: float = option(0.0, recorded=lambda config: config.input_dropout > 0)
    """Probability of dropping a word at the encoder's input."""
    hidden: int = 512
    """Units of each hidden layer."""
    estimator: Literal["disarm", "arm", "straight_through", "score_function"] = "disarm"
    """Estimator of the encoder's gradient."""
    words: int = 10_000
    """Size of the vocabulary: the words that occur in most training documents."""
    remove: tuple[Literal["headers", "footers", "quotes"], ...] = ("headers",)
    """Parts of each message to leave out."""
    tokens: Literal["words", "letters"] = "letters"
    """Definition of a word: two or more letters, or letters, digits and underscores. Without
    headers and with words of letters, the corpus is much like the reproduction's Matlab edition."""
    split: Literal["date", "random"] = option("date", recorded=lambda c: c.split != "date")
    """Test documents: the later ones; or a tenth of all at random, as papers on hashing have it,
    which also take a tenth, 1885, for validation."""
    split_seed: int = option(0, recorded=lambda c: c.split != "date")
    """Seed of that draw."""
    codes: Literal["half", "median"] = option("half", recorded=lambda c: c.codes != "half")
    """A bit is 1 above a probability of 1/2, or above its median over training documents."""
    validation: int = 1_000
    """Training documents to choose the epoch on, never trained on."""
    epochs: int = 50
    """Epochs, each one pass over the training documents."""
    batch_size: int = 256
    """Documents per step."""
    learning_rate: float = 5e-3
    """Adam's initial step size."""
    learning_rate_schedule: Literal["constant", "cosine"] = "cosine"
    """Step size over the epochs: constant, or falling to 0 along a half cosine."""
    patience: int | None = 8
    """Number of epochs without a better validation ELBO after which to stop; none for never."""
    draws: int = 10
    """Number of codes drawn for each test document to average its ELBO."""
    tuning: bool = option(False, recorded=False)
    """A trial, by which options are chosen: nothing is tested; figures of the validation part
    become a row of RESULTS_ROOT/tuning/EXPERIMENT.csv."""


def architectures(config: Config) -> dict[str, Config]:
    """Return the options of each model by its folder's name, without the data set's.

    Raises:
        ConfigError: if an option is out of range.
    """
    for name in ("encoder_depth", "decoder_depth"):
        if getattr(config, name) < 0:
            raise ConfigError(f"{name} is {getattr(config, name)}, expected at least 0")
    if config.draws < 1:
        raise ConfigError(f"draws is {config.draws}, expected at least 1")
    found = [config]
    if config.grid == "paper":
        # The encoders that the paper calls e1, e2, e3, each with every decoder and length.
        encoders: tuple[tuple[Any, int], ...]
        encoders = (("counts", 0), ("frequencies", 1), ("frequencies", 0))
        found = [
            replace(config, bits=bits, encoder_depth=depth, decoder_depth=decoder, inputs=inputs)
            for (inputs, depth), decoder, bits in product(encoders, (0, 1, 2), (8, 16, 32, 64))
        ]
    return {
        f"bernoullivae-{c.inputs}-{c.encoder_depth}-{c.decoder_depth}-{c.bits}bits": c
        for c in found
    }


def load(config: Config) -> "Documents":
    """Return the documents, and download them if necessary."""
    from pyro_ssl.data import load_newsgroups

    share = 0.1 if config.split == "random" else None
    given = config.data_root, config.words, config.remove, config.tokens
    return load_newsgroups(*given, share, config.split_seed)


def build(config: Config, num_words: int) -> "BernoulliVAE":
    """Return the VAE of an architecture, newly initialised."""
    from pyro_ssl.models import BernoulliVAE

    return BernoulliVAE(
        num_words=num_words,
        num_bits=config.bits,
        encoder_dims=(config.hidden,) * config.encoder_depth,
        decoder_dims=(config.hidden,) * config.decoder_depth,
        inputs=config.inputs,
        estimator=config.estimator,
        input_dropout=config.input_dropout,
    )


def contenders(run: "SeedRun") -> "list[Contender]":
    """Build all models on the same training and validation documents."""
    import torch

    from experiments.engine.training import Contender
    from pyro_ssl.data import SSLData, split_labels
    from pyro_ssl.infer import FitConfig
    from pyro_ssl.infer.devices import resolve_precision
    from pyro_ssl.metrics.documents import word_frequencies

    config, dataset = run.config, run.dataset
    split = split_labels(dataset.train_ys.numpy(), 20, 0, config.validation, run.seed)
    training, validation = split.unlabelled, split.validation
    data = SSLData.unlabelled(
        dataset.train_xs[training], dataset.train_xs[validation], real_valued=True
    ).to(run.device)
    how = FitConfig(
        epochs=config.epochs,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        learning_rate_schedule=config.learning_rate_schedule,
        binarise=False,
        precision=resolve_precision(config.precision, run.device),
        compile=config.compile,
        cuda_graph=config.cuda_graph,
        engine=config.engine,
        patience=config.patience,
        seed=run.seed,
    )
    frequencies = word_frequencies(data.unlabelled_xs)
    found = []
    for name, own in architectures(config).items():
        torch.manual_seed(run.seed)
        model = build(own, len(dataset.words)).to(run.device)
        model.start_from(frequencies)
        if own.inputs == "tfidf":
            model.weigh_words(data.unlabelled_xs)
        found.append(Contender(name, run, model, data, how, split.digest))
    return found


def measure(
    contender: "Contender", dataset: "Documents", config: Config
) -> "tuple[Result, Figures]":
    """Bound the test documents' log-likelihood, and retrieve similar training documents."""
    import torch

    from experiments.engine.training import mean_with_error
    from pyro_ssl.metrics import documents, retrieval
    from pyro_ssl.models import BernoulliVAE

    model, draws = contender.model, config.draws
    assert isinstance(model, BernoulliVAE)
    torch.manual_seed(contender.seed)
    xs, train_xs = (part.to(contender.device) for part in (dataset.test_xs, dataset.train_xs))
    frequencies = documents.word_frequencies(contender.data.unlabelled_xs)
    targets = documents.smoothed(xs, frequencies)
    bounds = documents.document_bounds(model, xs, draws=draws)
    own = documents.own_log_prob(targets)
    unigram = documents.unigram_log_prob(xs, frequencies)
    unigram_deviance = own - documents.unigram_log_prob(targets, frequencies)
    result: Result = {
        "test_rows": len(xs),
        **mean_with_error("test_elbo", bounds),
        "test_perplexity": documents.perplexity(bounds, xs),
        **mean_with_error(
            "test_deviance_kl", own - documents.document_bounds(model, xs, targets, draws)
        ),
        "unigram_log_prob": unigram.mean().item(),
        "unigram_perplexity": documents.perplexity(unigram, xs),
        "unigram_deviance": unigram_deviance.mean().item(),
    }
    on = [model.encode(part) for part in (train_xs, xs)]
    threshold = on[0].median(0).values if config.codes == "median" else 0.5
    train_codes, codes = (retrieval.pack_codes((p > threshold).cpu().numpy()) for p in on)
    result[f"precision_at_{_NEAREST}"] = retrieval.precision_at(
        min(_NEAREST, len(train_xs)),
        train_codes,
        dataset.train_ys.numpy(),
        codes,
        dataset.test_ys.numpy(),
    )
    return result, {}


def comparison(config: Config) -> "Comparison":
    """Return what to train and how to test it."""
    from experiments.engine.runner import Comparison
    from experiments.engine.training import check_contenders, fit_contenders

    models = architectures(config)
    return Comparison(
        name="semantic_hashing",
        config=config,
        models=tuple(models),
        suffix="20newsgroups" + "-random" * (config.split == "random"),
        load=load,
        settings=lambda model, dataset: recorded_options(models[model]),
        check=partial(check_contenders, contenders),
        run_seed=partial(fit_contenders, contenders, (measure,)),
    )


def main(args: Sequence[str] | None = None) -> int:
    """Run the experiment with command-line arguments, `sys.argv`'s if None."""
    config = tyro.cli(Config, args=args, description=__doc__)
    # Imported once the command line is known to be good, so that --help answers at once.
    from experiments.engine.runner import run_command

    return run_command(comparison, config, args)


if __name__ == "__main__":
    raise SystemExit(main())
