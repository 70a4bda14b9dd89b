"""What a comparison is made of, without running it."""

from experiments.engine.results import RunFolder
from experiments.engine.runner import SeedRun


def seed_run(comparison, dataset=None, seed=0):
    dataset = comparison.load(comparison.config) if dataset is None else dataset
    folders = {
        model: RunFolder(comparison.path(model), comparison.settings(model, dataset))
        for model in comparison.models
    }
    return SeedRun(comparison, seed, dataset, folders, {})


def contenders(comparison, dataset=None, seed=0):
    """The contenders of one seed by name, in their order."""
    build, _ = comparison.run_seed.args
    return {c.name: c for c in build(seed_run(comparison, dataset, seed))}


def measured(contender):
    """All figures of merit of a contender, as if it were trained."""
    _, measures = contender.run.comparison.run_seed.args
    result = {}
    for measure in measures:
        result |= measure(contender, contender.run.dataset, contender.run.config)[0]
    return result
