"""What the best epoch is chosen by, and when a run has waited long enough for a better one."""

from dataclasses import replace

import pytest
import torch

from pyro_ssl.errors import CheckpointError, ConfigError
from pyro_ssl.infer import FitConfig, fit, load_checkpoint, load_model
from pyro_ssl.metrics import joint_bound
from pyro_ssl.models import MLPClassifier
from tests.infer.problems import STEADY, blobs, small_m2, small_vae, unlabelled_blobs
from tests.infer.test_fit import StopError, same_weights, without_seconds

CONFIG = FitConfig(epochs=12, batch_size=36, learning_rate=0.03, select="bound", **STEADY)
JOINT = "validation_joint_bound"


def test_chosen_is_the_epoch_of_the_highest_bound():
    model, data = small_m2(), blobs()
    history = fit(model, data, replace(CONFIG, epochs=40))
    frame = history.to_frame()
    assert history.selection == "best validation joint bound"
    assert history.selected_epoch == frame[JOINT].idxmax()
    assert history.selected_epoch != frame["validation_accuracy"].idxmax()
    # The weights are those of that epoch: the same noise makes the same figure.
    torch.manual_seed(CONFIG.seed)
    again = joint_bound(model, data.validation_xs.bernoulli(), data.validation_ys).mean().item()
    assert again == pytest.approx(frame[JOINT].max(), abs=1e-4)


def test_the_noise_is_the_same_in_every_epoch():
    for binarise in (True, False):
        config = replace(CONFIG, learning_rate=1e-30, epochs=3, binarise=binarise)
        frame = fit(small_m2(), blobs(), config).to_frame()
        assert frame[JOINT].nunique() == 1
    other = fit(small_m2(), blobs(), replace(config, seed=1)).to_frame()
    assert other[JOINT].iloc[0] != frame[JOINT].iloc[0]


def test_training_and_all_other_reports_are_those_without_the_bound():
    config = replace(CONFIG, keep_best=False, validation_bound=True)
    models, rows = [small_m2(), small_m2()], []
    for model, select in zip(models, ("bound", "accuracy"), strict=True):
        history = fit(model, blobs(), replace(config, select=select))
        rows.append(without_seconds(history.rows))
    assert same_weights(*models)
    assert all(JOINT in row for row in rows[0])
    assert [{k: v for k, v in row.items() if k != JOINT} for row in rows[0]] == rows[1]


def test_a_model_without_such_a_bound_is_refused_before_it_trains():
    config = replace(CONFIG, batch_size=12)
    with pytest.raises(ConfigError, match=r'MLPClassifier .* use .* select="accuracy"'):
        fit(MLPClassifier((1, 4, 4), 3), blobs(), config)
    with pytest.raises(ConfigError, match="select is 'elbo', expected one of accuracy, bound"):
        replace(CONFIG, select="elbo")


def test_a_model_that_does_not_classify_is_chosen_by_its_elbo_either_way():
    histories = []
    for select in ("bound", "accuracy"):
        histories.append(fit(small_vae(), unlabelled_blobs(), replace(CONFIG, select=select)))
    assert without_seconds(histories[0].rows) == without_seconds(histories[1].rows)
    assert {h.selection for h in histories} == {"best validation elbo"}
    assert histories[0].selected_epoch == histories[1].selected_epoch


def test_without_validation_rows_the_last_epoch_is_kept():
    data = blobs()
    data = data.with_validation(data.validation_xs[:0], data.validation_ys[:0])
    history = fit(small_m2(), data, replace(CONFIG, epochs=2))
    assert history.selection == "last epoch"
    assert JOINT not in history.rows[0]


@pytest.mark.parametrize("select", ["bound", "accuracy"])
@pytest.mark.parametrize("min_steps", [None, 1, 37, 60])
def test_patience_waits_for_the_measure_and_for_the_first_steps(select, min_steps):
    # Three steps an epoch. With such steps the measure gets no better after some epochs.
    config = replace(CONFIG, learning_rate=0.3, epochs=60, patience=2)
    history = fit(small_m2(), blobs(), replace(config, select=select, min_steps=min_steps))
    measure = JOINT if select == "bound" else "validation_accuracy"
    scores, end = history.to_frame()[measure], None
    for epoch in range(1, 60):
        if epoch > scores[:epoch].argmax() + 2 and 3 * epoch >= (min_steps or 0):
            end = epoch
            break
    assert history.termination == "patience"
    assert len(history.rows) == end < 60
    assert history.selected_epoch == scores.idxmax()


def test_resumed_run_keeps_what_it_chose_and_when_it_stops(tmp_path):
    path = tmp_path / "run.pt"
    config = replace(CONFIG, learning_rate=0.3, steps=100, epochs=40, patience=2, min_steps=20)
    never_stopped, resumed = small_m2(), small_m2(seed=9)
    whole = fit(never_stopped, blobs(), config)

    def stop(progress):
        if progress.step == 14:
            raise StopError

    with pytest.raises(StopError):
        fit(small_m2(), blobs(), config, checkpoint=path, on_step=stop)
    rest = fit(resumed, blobs(), config, checkpoint=path, resume=True)
    assert without_seconds(rest.rows) == without_seconds(whole.rows)
    assert (rest.selected_epoch, rest.termination) == (whole.selected_epoch, "patience")
    assert same_weights(resumed, never_stopped)
    assert same_weights(load_model(path), resumed)
    assert load_checkpoint(path)["best"]["measure"] == JOINT
    with pytest.raises(CheckpointError, match=r"select \(bound then, accuracy now\)"):
        fit(small_m2(), blobs(), replace(config, select="accuracy"), path, resume=True)


def test_a_checkpoint_from_before_there_was_a_choice_resumes_by_accuracy(tmp_path):
    path, config = tmp_path / "run.pt", replace(CONFIG, select="accuracy")
    fit(small_m2(), blobs(), replace(config, epochs=2), checkpoint=path)
    state = torch.load(path, weights_only=True)
    for name in ("select", "min_steps", "steps"):
        del state["config"][name]
    torch.save(state | {"format": "pyro_ssl checkpoint 4"}, path)
    assert len(fit(small_m2(), blobs(), config, path, resume=True).rows) == 12
