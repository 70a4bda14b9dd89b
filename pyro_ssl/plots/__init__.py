"""All figures of the project; each function returns a matplotlib `Figure`."""

from pyro_ssl.plots.animation import save_animation
from pyro_ssl.plots.characteristics import (
    characteristic_walks,
    class_swaps,
    class_variances,
    interventions,
    style_walks,
)
from pyro_ssl.plots.classifiers import (
    ClassMarker,
    bound_distribution,
    class_markers,
    latent_map,
    signal_reconstructions,
    training_course,
)
from pyro_ssl.plots.comparison import kl_by_site, losses, validation_accuracy
from pyro_ssl.plots.curves import kl_by_dimension, learning_curves, reliability
from pyro_ssl.plots.fractions import by_label_fraction, interval_by_labels
from pyro_ssl.plots.generators import elbo_and_distance
from pyro_ssl.plots.images import (
    CLASS_CONDITIONAL,
    analogies,
    class_manifolds,
    class_samples,
    image_grid,
    manifold,
    prior_samples,
    reconstruction_frame,
    reconstructions,
)
from pyro_ssl.plots.latents import Bottleneck, bottlenecks, latent_positions
from pyro_ssl.plots.mixtures import BitMixtureState, approximation_errors, bit_mixtures
from pyro_ssl.plots.rows import row_lines

__all__ = [
    "CLASS_CONDITIONAL",
    "BitMixtureState",
    "Bottleneck",
    "ClassMarker",
    "analogies",
    "approximation_errors",
    "bit_mixtures",
    "bottlenecks",
    "bound_distribution",
    "by_label_fraction",
    "characteristic_walks",
    "class_manifolds",
    "class_markers",
    "class_samples",
    "class_swaps",
    "class_variances",
    "elbo_and_distance",
    "image_grid",
    "interval_by_labels",
    "interventions",
    "kl_by_dimension",
    "kl_by_site",
    "latent_map",
    "latent_positions",
    "learning_curves",
    "losses",
    "manifold",
    "prior_samples",
    "reconstruction_frame",
    "reconstructions",
    "reliability",
    "row_lines",
    "save_animation",
    "signal_reconstructions",
    "style_walks",
    "training_course",
    "validation_accuracy",
]
