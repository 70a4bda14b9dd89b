"""Semantic hashing of documents by Bernoulli VAEs of several architectures."""

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import torch

from experiments.contender import Contender
from experiments.devices import resolve_precision
from experiments.experiment import Experiment, Figures, Result, mean_with_error
from experiments.semantic_hashing import Config
from pyro_ssl.data import Documents, SSLData, load_newsgroups, split_labels
from pyro_ssl.errors import ConfigError
from pyro_ssl.infer import FitConfig
from pyro_ssl.metrics.documents import (
    document_bounds,
    own_log_prob,
    perplexity,
    smoothed,
    unigram_log_prob,
    word_frequencies,
)
from pyro_ssl.metrics.retrieval import pack_codes, precision_at
from pyro_ssl.models import BernoulliVAE

# Nearest training documents whose group is looked at.
_NEAREST = 100


@dataclass(frozen=True)
class Architecture:
    """What tells the models of a grid apart."""

    bits: int
    encoder_depth: int
    decoder_depth: int
    inputs: str

    @property
    def name(self) -> str:
        """The name of its folder, without the data set's."""
        depths = f"{self.encoder_depth}-{self.decoder_depth}"
        return f"bernoullivae-{self.inputs}-{depths}-{self.bits}bits"


# The encoders that the paper calls e1, e2, e3, each with every decoder and length of the code.
PAPER = [
    Architecture(bits, encoder_depth, decoder_depth, inputs)
    for inputs, encoder_depth in (("counts", 0), ("frequencies", 1), ("frequencies", 0))
    for decoder_depth, bits in product((0, 1, 2), (8, 16, 32, 64))
]


class HashingExperiment(Experiment[Documents]):
    """Bernoulli VAEs of documents.

    Args:
        config: the options of `semantic_hashing`.
    """

    def __init__(self, config: Config) -> None:
        self.architectures = {a.name: a for a in _architectures(config)}
        super().__init__("semantic_hashing", config, list(self.architectures), "20newsgroups")
        self.config = config

    def load(self) -> Documents:
        """Return the documents, downloading them if need be."""
        config = self.config
        return load_newsgroups(config.data_root, config.words, config.remove, config.tokens)

    def decisive_for(self, name: str, decisive: dict[str, Any]) -> dict[str, Any]:
        """Return the options with the architecture's own in place of the common ones."""
        own = self.architectures[name]
        found = {k: v for k, v in decisive.items() if k != "grid"}
        return found | {
            "bits": own.bits,
            "encoder_depth": own.encoder_depth,
            "decoder_depth": own.decoder_depth,
            "inputs": own.inputs,
        }

    def contenders(self, dataset: Documents, seed: int, trial: bool = False) -> list[Contender]:
        """Build all on the same training and validation documents."""
        config = self.config
        split = split_labels(dataset.train_ys.numpy(), 20, 0, config.validation, seed)
        training, validation = split.unlabelled, split.validation
        data = SSLData.unlabelled(
            dataset.train_xs[training], dataset.train_xs[validation], real_valued=True
        ).to(self.device)
        how = FitConfig(
            epochs=config.epochs,
            batch_size=config.batch_size,
            learning_rate=config.learning_rate,
            learning_rate_schedule=config.learning_rate_schedule,
            binarise=False,
            precision=resolve_precision(config.precision, self.device),
            compile=config.compile,
            cuda_graph=config.cuda_graph,
            patience=config.patience,
            seed=seed,
        )
        frequencies = word_frequencies(data.unlabelled_xs)
        found = []
        for name, own in self.architectures.items():
            torch.manual_seed(seed)
            model = BernoulliVAE(
                num_words=len(dataset.words),
                num_bits=own.bits,
                encoder_dims=(config.hidden,) * own.encoder_depth,
                decoder_dims=(config.hidden,) * own.decoder_depth,
                inputs=own.inputs,
                estimator=config.estimator,
            ).to(self.device)
            model.start_from(frequencies)
            found.append(Contender(name, seed, model, data, how, split.digest))
        return found

    def test(
        self, contender: Contender, frame: pd.DataFrame, dataset: Documents
    ) -> tuple[Result, Figures]:
        """Bound the test documents' log-likelihood, and look for the like among the others."""
        model, draws = contender.model, self.config.draws
        assert isinstance(model, BernoulliVAE)
        torch.manual_seed(contender.seed)
        xs, train_xs = dataset.test_xs.to(self.device), dataset.train_xs.to(self.device)
        frequencies = word_frequencies(contender.data.unlabelled_xs)
        targets = smoothed(xs, frequencies)
        bounds, own = document_bounds(model, xs, draws=draws), own_log_prob(targets)
        unigram = unigram_log_prob(xs, frequencies)
        deviance = own - document_bounds(model, xs, targets, draws)
        result: Result = {
            "test_rows": len(xs),
            **mean_with_error("test_elbo", bounds),
            "test_perplexity": perplexity(bounds, xs),
            **mean_with_error("test_deviance_kl", deviance),
            "unigram_log_prob": unigram.mean().item(),
            "unigram_perplexity": perplexity(unigram, xs),
            "unigram_deviance": (own - unigram_log_prob(targets, frequencies)).mean().item(),
        }
        codes = [pack_codes((model.encode(part) > 0.5).cpu().numpy()) for part in (train_xs, xs)]
        labels: list[np.ndarray] = [dataset.train_ys.numpy(), dataset.test_ys.numpy()]
        nearest = min(_NEAREST, len(train_xs))
        result[f"precision_at_{_NEAREST}"] = precision_at(
            nearest, codes[0], labels[0], codes[1], labels[1]
        )
        return result, {}


def _architectures(config: Config) -> list[Architecture]:
    for name in ("encoder_depth", "decoder_depth"):
        if getattr(config, name) < 0:
            raise ConfigError(f"{name} is {getattr(config, name)}, expected at least 0")
    if config.draws < 1:
        raise ConfigError(f"draws is {config.draws}, expected at least 1")
    if config.grid == "paper":
        return PAPER
    return [Architecture(config.bits, config.encoder_depth, config.decoder_depth, config.inputs)]
