"""Classifiers that are trained first, and whose classes of all rows another one begins with."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from experiments.engine.runner import Figures, Result
from experiments.engine.training import Contender
from pyro_ssl import metrics
from pyro_ssl.data import ImageDataset, SSLData
from pyro_ssl.infer import fit, load_model, pseudo_labelled
from pyro_ssl.models import SSLModel

# The number of a teacher stands for the star.
_FILES = "_teacher_*.pt"
# Difference of the seeds of one teacher and the next.
_SEEDS = 100_000


def learn_from_teachers(
    build: Callable[[Any, SSLData], SSLModel],
    number: int,
    epochs: int,
    steps: int,
    contender: Contender,
) -> None:
    """Train teachers as the contender will be, then the contender on the teachers' classes.

    Args:
        build: returns a teacher, newly initialised, given the options and the rows.
        number: number of teachers, which differ in their seeds alone.
        epochs: epochs of each.
        steps: steps of the contender on rows that all have a label, as many a step as it will have
            unlabelled ones.
        contender: what learns from the teachers, in place.
    """
    run, model, how, data = contender.run, contender.model, contender.fit_config, contender.data
    assert isinstance(model, SSLModel)
    teachers = []
    for each in range(number):
        seed = contender.seed + each * _SEEDS
        torch.manual_seed(seed)
        teacher = build(run.config, data).to(contender.device)
        checkpoint = run.file(contender.name, _FILES.replace("*", str(each)))
        resume = run.config.resume and checkpoint.exists()
        lessons = replace(how, epochs=epochs, seed=seed)
        history = fit(teacher, data, lessons, checkpoint=checkpoint, resume=resume)
        told = history.to_frame().iloc[-1].to_dict()
        run.folders[contender.name].log(run.seed, f"teacher {each}: {told}")
        teachers.append(teacher)
    # There are no unlabelled rows then.
    weights = {k: w for k, w in how.term_weights.items() if not k.startswith("unlabelled")}
    imitation = replace(
        how,
        epochs=1,
        steps_per_epoch=steps,
        labelled_batch_size=how.batch_size,
        learning_rate_schedule="constant",
        consistency=None,
        anneal={},
        term_weights=weights,
        weight_average=None,
        keep_best=False,
    )
    fit(model, pseudo_labelled(data, teachers), imitation)


def measure_teachers(
    contender: Contender, dataset: ImageDataset, config: Any
) -> tuple[Result, Figures]:
    """Classify the test rows by the teachers' mean, if there are any."""
    first = contender.run.file(contender.name, _FILES)
    test_xs = dataset.test_xs.to(contender.device)
    found = []
    for file in sorted(first.parent.glob(first.name)):
        teacher = load_model(file).to(contender.device)
        assert isinstance(teacher, SSLModel)
        found.append(metrics.predict_in_chunks(teacher, test_xs))
    if not found:
        return {}, {}
    mean = torch.stack(found).mean(0)
    accuracy = metrics.accuracy(mean, dataset.test_ys.to(contender.device))
    return {"teachers_test_accuracy": accuracy}, {}
