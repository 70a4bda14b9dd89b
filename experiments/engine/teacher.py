"""A classifier that is trained first, and whose classes of all rows another one begins with."""

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

_FILE = "_teacher.pt"


def learn_from_teacher(
    build: Callable[[Any, SSLData], SSLModel], epochs: int, steps: int, contender: Contender
) -> None:
    """Train a teacher as the contender will be, then the contender on the teacher's classes.

    Args:
        build: returns the teacher, newly initialised, given the options and the rows.
        epochs: epochs of the teacher; 0 for no teacher.
        steps: steps of the contender on rows that all have a label, as many a step as it will have
            unlabelled ones.
        contender: what learns from the teacher, in place.
    """
    run, model, how = contender.run, contender.model, contender.fit_config
    if not epochs:
        return
    assert isinstance(model, SSLModel)
    torch.manual_seed(contender.seed)
    teacher = build(run.config, contender.data).to(contender.device)
    checkpoint = run.file(contender.name, _FILE)
    resume = run.config.resume and checkpoint.exists()
    lessons = replace(how, epochs=epochs)
    history = fit(teacher, contender.data, lessons, checkpoint=checkpoint, resume=resume)
    run.folders[contender.name].log(run.seed, f"teacher: {history.to_frame().iloc[-1].to_dict()}")
    imitation = replace(
        how,
        epochs=1,
        steps_per_epoch=steps,
        labelled_batch_size=how.batch_size,
        learning_rate_schedule="constant",
        consistency=None,
        anneal={},
        weight_average=None,
        keep_best=False,
    )
    fit(model, pseudo_labelled(contender.data, teacher), imitation)


def measure_teacher(
    contender: Contender, dataset: ImageDataset, config: Any
) -> tuple[Result, Figures]:
    """Classify the test rows by the teacher."""
    file = contender.run.file(contender.name, _FILE)
    if not file.exists():
        return {}, {}
    teacher = load_model(file).to(contender.device)
    assert isinstance(teacher, SSLModel)
    found = metrics.predict_in_chunks(teacher, dataset.test_xs.to(contender.device))
    return {
        "teacher_test_accuracy": metrics.accuracy(found, dataset.test_ys.to(contender.device))
    }, {}
