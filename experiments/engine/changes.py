"""Changed images: options of an augmentation, of a term of consistency, and of averaged weights."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from experiments.engine.options import option

if TYPE_CHECKING:
    from pyro_ssl.data import Augmentation
    from pyro_ssl.infer import FitConfig


def _of_term(default: Any) -> Any:
    """An option that has an effect only with a term of consistency."""
    return option(default, recorded=lambda config: config.consistency > 0)


@dataclass(frozen=True)
class ChangeOptions:
    """Options to be inherited beside those of an experiment. By default nothing changes."""

    small_changes: float = option(1.0, recorded=lambda config: config.changed > 0)
    """Size of the small changes: 1 for turns of at most 8 degrees, and others in proportion."""
    changed: float = option(0.0, recorded=lambda config: config.changed > 0)
    """Share of images that are changed a little when they are visited."""
    flip: bool = option(False, recorded=lambda config: config.changed + config.consistency > 0)
    """Mirror half of all changed images."""
    consistency: float = _of_term(0.0)
    """Weight of the mean over unlabelled rows of the term of consistency, in nats; 0 for none."""
    consistency_warmup: int = _of_term(500)
    """Steps over which that weight rises from 0."""
    large_changes: float = _of_term(0.6)
    """Size of the changes that the term of consistency is about: 1 for turns of at most 25
    degrees, and others in proportion."""
    covered: float = _of_term(0.25)
    """Side of the square that they set to 0, as a share of the image's."""
    targets: Literal["probabilities", "labels"] = _of_term("probabilities")
    """What a changed image is to have: q(y|x) of the image, or its likeliest class."""
    temperature: float = _of_term(0.5)
    """Temperature of probabilities that are targets."""
    threshold: float = _of_term(0.0)
    """Probability of the likeliest class below which an image has no part in that term."""
    aligned: bool = _of_term(True)
    """Let each class be the target as often as p(y) says."""
    tolerance: float = option(
        0.0, recorded=lambda config: config.consistency > 0 and config.tolerance > 0
    )
    """Relative deviation from p(y) that this leaves as it is."""
    weight_average: float | None = option(None, recorded=lambda config: bool(config.weight_average))
    """Decay of the average of the weights, a step; none for no average."""


def small_changes(config: ChangeOptions) -> "Augmentation | None":
    """Return the augmentation of all rows; None if there is none."""
    from pyro_ssl.data import Augmentation

    if not config.changed:
        return None
    size = config.small_changes
    affine = (8 * size, 0.08 * size, 5 * size, 0.05 * size)
    return Augmentation(*affine, config.flip, 0.4 * size, changed=config.changed)


def large_changes(config: ChangeOptions) -> "Augmentation":
    """Return the view of the term of consistency."""
    from pyro_ssl.data import Augmentation

    size = config.large_changes
    affine = (25 * size, 0.2 * size, 15 * size, 0.1 * size)
    return Augmentation(*affine, config.flip, 1.2 * size, covered=config.covered)


def with_changes(how: "FitConfig", config: ChangeOptions) -> "FitConfig":
    """Return a training with the augmentation, the term and the average that are asked for."""
    from pyro_ssl.infer import Anneal, Consistency

    how = replace(
        how, augmentation=small_changes(config), weight_average=config.weight_average or None
    )
    if not config.consistency:
        return how
    term = Consistency(
        large_changes(config),
        config.consistency,
        config.targets,
        threshold=config.threshold,
        temperature=config.temperature,
        aligned=config.aligned,
        tolerance=config.tolerance,
    )
    rising = Anneal(0.0, 1.0, config.consistency_warmup)
    return replace(how, consistency=term, anneal={**(how.anneal or {}), "consistency": rising})
