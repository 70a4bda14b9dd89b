"""Models of binary attributes of images, each attribute known or unknown."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from experiments.engine.colour import AttributeOptions, ccvae_options, common_options
from experiments.engine.measures import measure_bound
from experiments.engine.runner import Comparison, Figures, Result
from experiments.engine.semi_supervised import (
    BASELINE,
    Build,
    build_classifier,
    measure_classification,
    semi_supervised,
)
from experiments.engine.training import Contender, Measure
from pyro_ssl import plots
from pyro_ssl.data import ImageDataset, SSLData
from pyro_ssl.metrics import accuracy, predict_in_chunks
from pyro_ssl.models import MultiLabelCCVAE, MultiLabelM2, SSLModel


@dataclass(frozen=True)
class AttributeImages(ImageDataset):
    """Images with the names of their attributes."""

    attributes: tuple[str, ...] = ()

    @classmethod
    def of(cls, dataset: ImageDataset, attributes: Sequence[str]) -> "AttributeImages":
        """Return a data set with the names of its attributes."""
        parts = {f.name: getattr(dataset, f.name) for f in fields(ImageDataset)}
        return cls(**parts, attributes=tuple(attributes))


def attribute_comparison(
    name: str,
    config: AttributeOptions,
    load: Callable[[Any], AttributeImages],
    first: Mapping[str, Build] | None = None,
    measures: Sequence[Measure] = (),
    **others: Any,
) -> Comparison:
    """Return a comparison of the models chosen in the options.

    Args:
        name: name of the experiment, and of its folder.
        config: its options.
        load: returns the images.
        first: models to train before the others.
        measures: measures in addition to those of classification and bounds.
        others: other arguments of `semi_supervised`.
    """
    models: dict[str, tuple[str, Build]] = {
        "ccvae": ("multilabelccvae", build_ccvae),
        "m2": ("multilabelm2", build_m2),
        "classifier": (BASELINE, build_classifier),
    }
    return semi_supervised(
        name,
        config,
        {**(first or {}), **dict(models[kind] for kind in config.model)},
        (measure_classification, measure_attributes, measure_model, *measures),
        load,
        equal_steps=True,
        **others,
    )


def build_ccvae(config: AttributeOptions, data: SSLData) -> MultiLabelCCVAE:
    """Return the CCVAE, newly initialised."""
    return MultiLabelCCVAE(**ccvae_options(config, data))


def build_m2(config: AttributeOptions, data: SSLData) -> MultiLabelM2:
    """Return the M2, newly initialised."""
    return MultiLabelM2(
        latent_dim=config.latent_dim,
        temperature=config.temperature,
        alpha=config.alpha,
        **common_options(config, data),
    )


def measure_attributes(
    contender: Contender, dataset: AttributeImages, config: Any
) -> tuple[Result, Figures]:
    """Classify each known attribute of the test rows."""
    model, result = contender.model, {}
    assert isinstance(model, SSLModel)
    probabilities = predict_in_chunks(model, dataset.test_xs.to(contender.device)).cpu()
    each = zip(
        dataset.attributes, probabilities.split(1, 1), dataset.test_ys.split(1, 1), strict=True
    )
    for attribute, likely, ys in each:
        if (ys >= 0).any():
            result[f"test_accuracy_{attribute}"] = accuracy(likely, ys.cpu())
    return result, {}


def measure_model(
    contender: Contender, dataset: AttributeImages, config: Any
) -> tuple[Result, Figures]:
    """Bound the test rows' log-likelihood, and draw the meaning of each attribute."""
    model = contender.model
    if not isinstance(model, MultiLabelCCVAE | MultiLabelM2):
        return {}, {}
    result = measure_bound(contender, dataset, config, at_once=500)
    examples = contender.data.examples(20)
    figures = {
        "interventions": plots.interventions(model, examples[:10], dataset.attributes),
        "samples": plots.class_samples(model),
    }
    if isinstance(model, MultiLabelCCVAE):
        figures["characteristic_walks"] = plots.characteristic_walks(model, examples[0])
        figures["style_walks"] = plots.style_walks(model, examples[:10], examples[-10:])
        figures["class_variances"] = plots.class_variances(model)
    return result, figures
