"""Measures of quality: of classifiers, bounds, interventions, documents, codes and images."""

from pyro_ssl.metrics.bayes import ClassBounds, bayes_probabilities, class_bounds
from pyro_ssl.metrics.bounds import importance_weighted_bound, joint_bound, kl_per_dimension
from pyro_ssl.metrics.classification import (
    ConfidenceBins,
    accuracy,
    confidence_bins,
    expected_calibration_error,
    one_label_each,
    predict_in_chunks,
)
from pyro_ssl.metrics.documents import document_bounds, perplexity
from pyro_ssl.metrics.frechet import FrechetDistance
from pyro_ssl.metrics.interventions import intervention_score
from pyro_ssl.metrics.retrieval import pack_codes, precision_at

__all__ = [
    "ClassBounds",
    "ConfidenceBins",
    "FrechetDistance",
    "accuracy",
    "bayes_probabilities",
    "class_bounds",
    "confidence_bins",
    "document_bounds",
    "expected_calibration_error",
    "importance_weighted_bound",
    "intervention_score",
    "joint_bound",
    "kl_per_dimension",
    "one_label_each",
    "pack_codes",
    "perplexity",
    "precision_at",
    "predict_in_chunks",
]
