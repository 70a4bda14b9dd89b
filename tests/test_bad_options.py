"""Bad values for every constructor argument of every public class, and for data arguments.

Whatever a caller gives, the error is one of ours, or the object works: it is not accepted first,
and an error of torch or Python later.
"""

import contextlib
import copy
import dataclasses
import importlib
import inspect
import math
import pathlib
import pkgutil
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from torch import nn

import pyro_ssl
from pyro_ssl import data, elbos, infer, likelihoods, metrics, models, nets
from pyro_ssl.errors import PyroSSLError
from pyro_ssl.infer.batches import Share
from pyro_ssl.infer.ensemble import EnsembleConfig, Member
from pyro_ssl.metrics.frechet import ClassifierFeatures
from tests.slow import slow

XS, YS = (torch.arange(24.0).view(6, 4) % 5 > 2).float(), torch.tensor([0, 1, -1, -1, 1, -1])
SMALL = {"input_shape": (4,), "hidden_dims": (3,)}
M2_OPTIONS = SMALL | {"num_classes": 2, "latent_dim": 2}
IMAGES = torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def small_m2(**options):
    return models.M2(**M2_OPTIONS, **options)


def rows(real=False):
    return data.SSLData.from_arrays(XS, YS, 2, real_valued=real)


# For each public class, arguments with which it works. Those of M2 are also its descendants'.
MODELS = {
    models.M2: M2_OPTIONS | {"decoder_dims": (3,)},
    models.VAE: SMALL | {"latent_dim": 2},
    models.Autoencoder: SMALL | {"latent_dim": 2},
    models.CCVAE: SMALL | {"num_classes": 2, "style_dim": 1, "num_samples": 3},
    models.MLPClassifier: SMALL | {"num_classes": 2},
    models.RegressionM2: SMALL | {"latent_dim": 2},
    models.LatentM2: {"num_inputs": 2, "num_classes": 2, "latent_dim": 2, "hidden_dims": (3,)},
    models.M1M2: {
        "m1": SMALL | {"latent_dim": 2},
        "num_classes": 2,
        "latent_dim": 2,
        "hidden_dims": (3,),
    },
    models.ApproxM2: M2_OPTIONS | {"baseline_dims": (3,)},
    models.LeaveOneOutM2: M2_OPTIONS | {"num_samples": 2},
    models.RaoBlackwellM2: M2_OPTIONS | {"num_summed": 1},
    models.GumbelSoftmaxM2: M2_OPTIONS,
    models.LogisticNormalM2: M2_OPTIONS,
    models.LogisticNormal: M2_OPTIONS,
    models.LogGamma: M2_OPTIONS,
    models.MultiLabelM2: M2_OPTIONS,
    models.MultiLabelCCVAE: SMALL | {"num_classes": 2, "style_dim": 1, "num_samples": 3},
    models.ADGM: SMALL | {"num_classes": 2, "latent_dim": 2, "auxiliary_dim": 2},
    models.SDGM: SMALL | {"num_classes": 2, "latent_dim": 2, "auxiliary_dim": 2},
    models.BernoulliVAE: {"num_words": 4, "num_bits": 2},
    models.BitMixture: {"initial_centres": ((0.0, 1.0), (1.0, 0.0)), "hidden_dims": (3,)},
    models.GeneratorVAE: {
        "image_shape": (1, 16, 16),
        "latent_dim": 2,
        "generator_channels": 1,
        "encoder_channels": 1,
        "hidden_dim": 3,
    },
}
OTHERS = {
    models.PyroModel: {"input_shape": (4,)},
    models.SSLModel: {"input_shape": (4,), "num_classes": 2},
    nets.MLP: {"in_features": 4, "hidden_dims": (3,), "out_features": 2},
    nets.LabelledLinear: {"in_features": 4, "num_classes": 2, "out_features": 3},
    nets.ConvEncoder: {"input_shape": (1, 9, 9), "channels": 2},
    nets.WideResNet: {"input_shape": (1, 9, 9), "outputs": 3, "width": 1, "channels": 2},
    nets.ConvDecoder: {"input_shape": (1, 9, 9), "channels": 2},
    nets.FlatEncoder: {"input_shape": (2, 2)},
    nets.FlatDecoder: {"input_shape": (2, 2)},
    nets.Generator: {"image_shape": (1, 16, 16), "latent_dim": 2, "channels": 1},
    nets.Discriminator: {"image_shape": (1, 16, 16), "channels": 1},
    nets.GivenNetwork: {"network": nn.Linear(4, 2), "input_shape": (4,), "output_shape": (2,)},
    likelihoods.Bernoulli: {},
    likelihoods.Laplace: {"scale": 0.1},
    likelihoods.Gaussian: {},
    likelihoods.StudentT: {},
    likelihoods.LogNormal: {},
    likelihoods.Poisson: {},
    likelihoods.NegativeBinomial: {},
    likelihoods.Multinomial: {},
    likelihoods.Categorical: {"num_categories": 3},
    likelihoods.Ordinal: {"num_levels": 3},
    likelihoods.Mixed: {"columns": ("gaussian", "poisson")},
    likelihoods.Conditional: {"likelihood": "gaussian", "covariates": ("gaussian",)},
    likelihoods.GeneCounts: {},
    elbos.StaticEnum_ELBO: {},
    elbos.LabelWeighted_ELBO: {},
    elbos.RaoBlackwell_ELBO: {},
    elbos.ImportanceWeighted_ELBO: {},
    elbos.LeaveOneOut_ELBO: {},
    elbos.Antithetic_ELBO: {},
    infer.Anneal: {"start": 0.0, "end": 1.0, "steps": 3},
    infer.FitConfig: {},
    infer.Consistency: {"view": data.Augmentation()},
    data.Augmentation: {},
    infer.MiniBatches: {"data": rows(), "batch_size": 2},
    infer.Objective: {"model": small_m2(), "num_labelled": 3, "num_unlabelled": 3},
    infer.RowWeights: {"num_labelled": 3, "num_unlabelled": 3},
    EnsembleConfig: {},
    Share: {},
    Member: {"labelled": np.arange(2), "unlabelled": np.arange(2, 4)},
    data.SSLData: {
        "labelled_xs": XS[:2],
        "labelled_ys": YS[:2],
        "unlabelled_xs": XS[2:],
        "num_classes": 2,
        "validation_xs": XS[:0],
        "validation_ys": YS[:0],
    },
    data.ImageDataset: {
        "name": "own",
        "train_xs": IMAGES,
        "train_ys": torch.arange(6) % 2,
        "test_xs": IMAGES,
        "test_ys": torch.arange(6) % 2,
        "num_classes": 2,
    },
    data.LabelSplit: dict.fromkeys(("labelled", "unlabelled", "validation"), np.arange(2)),
    data.Documents: {
        "name": "own",
        "train_xs": XS,
        "train_ys": YS,
        "test_xs": XS,
        "test_ys": YS,
        "words": ("a", "b", "c", "d"),
    },
    data.GaussianMixture: {
        "name": "own",
        "locs": torch.zeros(2, 2),
        "covariances": torch.eye(2).expand(2, 2, 2),
    },
    data.Cells: dict.fromkeys(("counts", "types", "batches"), np.zeros((2, 2), np.int64))
    | {"shares": np.ones((1, 1, 2))},
    metrics.FrechetDistance: {
        "reference": torch.rand(4, 1, 2, 2),
        "features": ClassifierFeatures(
            models.MLPClassifier((1, 2, 2), 2, hidden_dims=(2,), batch_norm=False)
        ),
    },
}
FUNCTIONS = {
    data.draw_cells: {"cells": 20, "genes": 10, "types": 2, "batches": 1},
    data.draw_shapes: {"num": 2, "size": 16},
    data.shapes_dataset: {"train_rows": 2, "test_rows": 2, "size": 16},
    data.split_labels: {
        "ys": torch.arange(8) % 2,
        "num_classes": 2,
        "labels": 2,
        "validation": 2,
        "seed": 0,
    },
    data.count_words: {
        "name": "own",
        "train_texts": ("one two", "two three"),
        "train_ys": [0, 1],
        "test_texts": ("two",),
        "test_ys": [0],
        "num_words": 2,
    },
    data.data_root: {},
    infer.pseudo_labelled: {"data": rows(), "classifiers": small_m2()},
    likelihoods.as_likelihood: {"likelihood": "gaussian"},
    likelihoods.pixel_likelihood: {"name": "laplace", "laplace_scale": 0.1},
    metrics.accuracy: {"probabilities": torch.full((6, 2), 0.5), "ys": torch.arange(6) % 2},
    metrics.bayes_probabilities: {"model": small_m2(), "xs": XS, "num_samples": 2},
    metrics.class_bounds: {"model": small_m2(), "xs": XS, "num_samples": 2},
    metrics.expected_calibration_error: {
        "probabilities": torch.full((6, 2), 0.5),
        "ys": torch.arange(6) % 2,
    },
    metrics.importance_weighted_bound: {"model": small_m2(), "xs": XS, "num_samples": 2},
    metrics.joint_bound: {"model": small_m2(), "xs": XS, "ys": torch.arange(6) % 2},
    metrics.kl_per_dimension: {"model": small_m2(), "xs": XS},
    metrics.predict_in_chunks: {"model": small_m2(), "xs": XS},
    metrics.one_label_each: {"probabilities": torch.full((6, 2), 0.5), "ys": torch.arange(6) % 2},
    metrics.perplexity: {"bounds": -torch.ones(6), "xs": XS},
    metrics.document_bounds: {"model": models.BernoulliVAE(4, 2), "xs": XS, "draws": 1},
    metrics.pack_codes: {"codes": np.ones((3, 5), bool)},
    metrics.precision_at: {
        "k": 1,
        "codes": metrics.pack_codes(np.eye(3, dtype=bool)),
        "labels": np.arange(3),
        "queries": metrics.pack_codes(np.eye(3, dtype=bool)),
        "query_labels": np.arange(3),
    },
    metrics.intervention_score: {
        "model": models.MultiLabelM2(**M2_OPTIONS),
        "judge": models.MLPClassifier(**SMALL, num_classes=2, multi_label=True),
        "xs": XS,
    },
    models.active_latents: {"vae": models.VAE(**SMALL, latent_dim=2), "xs": XS},
    models.posteriors: {"vae": models.VAE(**SMALL, latent_dim=2), "xs": XS, "active": (0,)},
    infer.fit: {
        "model": models.VAE(**SMALL, latent_dim=2),
        "data": rows(),
        "config": infer.FitConfig(steps=1, compile="never"),
    },
}
# No constructor of these is for users, or what they hold is only ever returned to them; loggers
# write files, and need packages that may be missing.
NOT_MADE_BY_USERS = {
    "History", "Progress", "Likelihood", "CovariateLikelihood", "ScoreFunction_ELBO", "RowWeight",
    "BagOfWords", "ClassChunks", "Scaling", "RelaxedM2", "Batch", "PyroSSLError", "LabelCodes",
    "EnsembleHistory", "ConfidenceBins", "ClassBounds",
}  # fmt: skip


class _Hostile:
    def __repr__(self):
        raise RuntimeError("it cannot be shown")


BAD = [
    None, True, False, 0, 1, -1, 2.5, 0.0, -0.5, math.nan, math.inf, -math.inf, 10**20, 10**5000,
    1e300, 1e-300, 2**40, "", "abc", "3", b"abc", (), [], {}, {1: 2}, {"a": 1}, set(), (0,), (-1,),
    (2.5,), ("a",), (True,), [[1]], (10**20,), (1, 2, 3, 4, 5), int, str, nn.Linear, len,
    _Hostile(), lambda: 0, 1j, np.float64("nan"), np.int64(-3), np.bool_(True), np.str_("abc"),
    np.array(2.5),
    np.array([]), np.zeros((2, 2)), np.array(["a"]), np.datetime64("2020-01-01"), torch.tensor(2.5),
    torch.tensor(-1), torch.zeros(0), torch.zeros(2, 3), torch.full((6, 4), math.nan),
    torch.zeros(6, 4, dtype=torch.int64), torch.zeros(6, 4, dtype=torch.float64),
    torch.full((6, 4), 300.0), torch.full((6,), 7), torch.zeros(6, 4, device="meta"), pd.NA,
    pd.DataFrame({"a": [1]}), pathlib.Path("abc"), nn.Linear(3, 3), nn.Identity(), object(),
    likelihoods.Gaussian(), likelihoods.Mixed(("gaussian",)), infer.FitConfig(), Figure(),
    torch.zeros(6, 4).to_sparse(), range(3), iter(()), np.ma.masked, slice(None), Ellipsis,
]  # fmt: skip
bad_values = st.sampled_from(range(len(BAD))) | st.one_of(
    # Between these are numbers that work, of gigabytes of memory and hours of time.
    st.integers(-3, 3) | st.integers(2**33),
    st.floats(),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.lists(st.integers(-3, 3) | st.floats() | st.text(max_size=2), max_size=3),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
).map(lambda value: (value,))


def arguments(target):
    """Return the names of a target's arguments, also those that it passes on to its base."""
    names, classes = {}, target.__mro__ if inspect.isclass(target) else [target]
    for cls in classes:
        call = cls.__init__ if inspect.isclass(cls) else cls
        if inspect.isclass(cls) and "__init__" not in vars(cls):
            continue
        kinds = inspect.signature(call).parameters.values()
        names |= {p.name: 0 for p in kinds if p.kind not in (2, 4) and p.name != "self"}
        if all(p.kind != 4 for p in kinds):
            break
    # What a callback raises is the caller's own.
    return [name for name in names if name not in ("on_epoch", "on_step")]


def use(made):
    """Use what was made, as far as that is quick."""
    if isinstance(made, models.PyroModel) and type(made) in MODELS:
        use_model(made)
    elif isinstance(made, likelihoods.Likelihood):
        use_likelihood(made)
    elif isinstance(made, infer.FitConfig) and made.epochs < 100 and (made.steps or 0) < 100:
        limits = {"steps": min(made.steps or 1, 2), "epochs": 40, "steps_per_epoch": 1}
        vae = models.VAE(**SMALL, latent_dim=2)
        few = dataclasses.replace(made, **limits, compile="never")
        infer.fit(vae, rows(), few)
    elif isinstance(made, data.Augmentation):
        assert bool(made(torch.rand(3, 1, 5, 4)).isfinite().all())
    elif isinstance(made, infer.Consistency):
        classifier = models.MLPClassifier((1, 5, 4), 2, hidden_dims=(3,), batch_norm=False)
        if not made.aligned:
            assert bool(made.loss(classifier, torch.rand(3, 1, 5, 4)).isfinite().all())
    elif isinstance(made, nets.MLP) and made.layers[0] is not None:
        linear = made.layers[0]
        labels = (
            torch.zeros(2, dtype=torch.int64) if isinstance(linear, nets.LabelledLinear) else None
        )
        inputs = linear.linear.in_features if labels is not None else linear.in_features
        made(torch.zeros(2, inputs), labels)


def use_model(model):
    """Evaluate a model's objective once, and make it again from its options."""
    options = model.options
    again = type(model)(**copy.deepcopy(options))
    assert again.state_dict().keys() == model.state_dict().keys()
    xs = torch.ones(4, *model.input_shape)
    xs[..., -1:] = 0.5 if model.likelihood.takes_real_values else 1.0
    try:
        model.check(xs)
    except PyroSSLError:
        return
    ys = torch.tensor([0, 0, -1, -1])
    if model.real_labels:
        ys = torch.tensor([0.1, 0.2, math.nan, math.nan])
    elif getattr(model, "multi_label", False):
        ys = ys[:, None].expand(4, model.num_classes)
    batch = pyro_ssl.Batch(xs, ys, 2)
    infer.Objective(model, 2, 2)(batch)[0].backward()


def use_likelihood(family):
    shape = (len(family.columns),) if isinstance(family, likelihoods.Mixed) else (3,)
    outputs = torch.zeros(2, *family.output_shape(shape))
    number = family.num_shared(shape)
    shared = torch.zeros(number) if number else None
    if not isinstance(family, likelihoods.CovariateLikelihood):
        xs = torch.full((2, *shape), family.filler)
        family.distribution(outputs, shape, shared).log_prob(xs)
        family.features(xs, shape)
    assert likelihoods.likelihood_from_dict(family.to_dict()) == family


def refused_or_working(target, name, value):
    good = (MODELS | OTHERS | FUNCTIONS)[target]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with contextlib.suppress(PyroSSLError):
            use(target(**{**good, name: value}))


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    # A bad value may be the name of a checkpoint.
    monkeypatch.chdir(tmp_path)


TARGETS = [*MODELS, *OTHERS, *FUNCTIONS]


def test_every_public_class_is_tried():
    found = set()
    for module in pkgutil.walk_packages(pyro_ssl.__path__, "pyro_ssl."):
        parts = module.name.split(".")
        if parts[1] in ("estimator", "command", "plots", "report", "__main__"):
            continue
        imported = importlib.import_module(module.name)
        found |= {
            getattr(imported, n)
            for n in getattr(imported, "__all__", ())
            if n.isidentifier() and inspect.isclass(getattr(imported, n))
        }
    found |= {
        getattr(pyro_ssl, n)
        for n in dir(pyro_ssl)
        if inspect.isclass(getattr(pyro_ssl, n))
        and getattr(pyro_ssl, n).__module__.startswith("pyro_ssl.")
    }
    lacking = {c.__name__ for c in found if c not in TARGETS} - NOT_MADE_BY_USERS
    assert {n for n in lacking if "Classifier" not in n and "Regressor" not in n} <= {
        "SemiSupervisedSplit",
        "EpochLogger",
        "TensorBoardLogger",
        "MLflowLogger",
    }


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.__name__)
def test_good_arguments_work(target):
    use(target(**(MODELS | OTHERS | FUNCTIONS)[target]))


@slow
@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.__name__)
def test_every_bad_value_of_every_argument_is_refused_in_our_words(target):
    for name in arguments(target):
        for value in BAD:
            refused_or_working(target, name, value)


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.__name__)
def test_bad_values_are_refused_in_our_words(target):
    if not arguments(target):
        return

    @settings(max_examples=10, deadline=None, derandomize=True, database=None)
    @given(st.sampled_from(arguments(target)), bad_values)
    def refused(name, drawn):
        refused_or_working(target, name, BAD[drawn] if isinstance(drawn, int) else drawn[0])

    refused()
