import copy
import math
from dataclasses import replace

import pandas as pd
import pyro
import pytest
import torch
from pyro.distributions import Categorical

from pyro_ssl.errors import CheckpointError, ConfigError, DataError, NonFiniteError
from pyro_ssl.infer import FitConfig, fit, load_checkpoint, load_model
from pyro_ssl.metrics import importance_weighted_bound
from pyro_ssl.models import Autoencoder, MLPClassifier
from tests.infer.problems import STEADY, blobs, small_m2, small_vae, unlabelled_blobs

CONFIG = FitConfig(epochs=4, batch_size=36, learning_rate=0.01, **STEADY)


def same_weights(first, second) -> bool:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def without_seconds(rows):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def test_learns_and_reports_every_epoch():
    history = fit(small_m2(), blobs(), replace(CONFIG, epochs=40))
    frame = history.to_frame()
    assert list(frame["epoch"]) == list(range(40))
    assert frame["unlabelled_elbo"].iloc[-5:].mean() > frame["unlabelled_elbo"].iloc[:5].mean() + 1
    assert frame["validation_accuracy"].max() > 0.9
    assert not frame.isna().any().any()


def test_same_seed_same_run_and_global_random_state_untouched():
    models = [small_m2(), small_m2()]
    torch.manual_seed(11)
    before = torch.get_rng_state()
    histories = [fit(m, blobs(), CONFIG) for m in models]
    assert torch.equal(torch.get_rng_state(), before)
    assert list(pyro.get_param_store().keys()) == []
    assert same_weights(*models)
    assert without_seconds(histories[0].rows) == without_seconds(histories[1].rows)


class StopError(Exception):
    pass


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
@pytest.mark.parametrize("error", [StopError, KeyboardInterrupt])
def test_resumed_run_ends_bit_identical_to_one_never_stopped(tmp_path, schedule, error):
    options = {"batch_norm": True, "input_dropout": 0.2}
    config = replace(CONFIG, learning_rate_schedule=schedule, epochs=6, keep_best=False)
    never_stopped = small_m2(**options)
    whole = fit(never_stopped, blobs(), config)

    path, steps = tmp_path / "run.pt", iter(range(100))

    def stop_in_the_middle_of_the_third_epoch(progress):
        if next(steps) == 7:
            raise error

    with pytest.raises(error):
        fit(
            small_m2(**options),
            blobs(),
            config,
            checkpoint=path,
            on_step=stop_in_the_middle_of_the_third_epoch,
        )
    assert load_checkpoint(path)["epoch"] == 2
    resumed = small_m2(seed=99, **options)
    torch.manual_seed(1234)
    rest = fit(resumed, blobs(), config, checkpoint=path, resume=True)
    assert same_weights(resumed, never_stopped)
    assert without_seconds(rest.rows) == without_seconds(whole.rows)
    assert rest.selected_epoch == whole.selected_epoch == 5


def test_more_epochs_at_a_constant_rate_continue_the_same_run(tmp_path):
    whole, parted = small_m2(), small_m2()
    config = replace(CONFIG, keep_best=False)
    fit(whole, blobs(), config)
    path = tmp_path / "run.pt"
    fit(parted, blobs(), replace(config, epochs=2), checkpoint=path)
    fit(parted, blobs(), config, checkpoint=path, resume=True)
    assert same_weights(whole, parted)


def test_keeps_the_best_epoch_or_the_last(tmp_path):
    best, last = small_m2(), small_m2()
    config = replace(CONFIG, epochs=12)
    history = fit(best, blobs(), config)
    scores = history.to_frame()["validation_accuracy"]
    assert history.selection == "best validation accuracy"
    assert history.selected_epoch == scores.idxmax()
    data = blobs()
    share = (best.predict_proba(data.validation_xs).argmax(-1) == data.validation_ys).float().mean()
    assert share.item() == pytest.approx(scores.max())
    history = fit(last, data, replace(config, keep_best=False))
    assert (history.selection, history.selected_epoch) == ("last epoch", 11)


def test_stops_when_patience_is_out():
    history = fit(small_m2(), blobs(), replace(CONFIG, epochs=500, patience=3))
    scores = history.to_frame()["validation_accuracy"]
    assert history.termination == "patience"
    assert len(scores) == scores.idxmax() + 4 < 500


def test_without_labels_the_bound_still_rises_and_nothing_is_labelled():
    history = fit(small_m2(), blobs(labels=0), replace(CONFIG, epochs=30))
    frame = history.to_frame()
    assert not [c for c in frame if c.startswith("labelled") or c == "classification"]
    assert frame["unlabelled_elbo"].iloc[-1] > frame["unlabelled_elbo"].iloc[0]


def test_with_every_row_labelled_it_trains_on_labels_alone():
    data = blobs(rows=120, labels=120)
    history = fit(small_m2(), data, replace(CONFIG, epochs=30, batch_size=40))
    frame = history.to_frame()
    assert not [c for c in frame if c.startswith("unlabelled")]
    assert frame["validation_accuracy"].max() > 0.9


def test_baseline_trains_on_labelled_rows_alone():
    torch.manual_seed(0)
    model = MLPClassifier((1, 4, 4), 3, hidden_dims=(16,))
    config = replace(CONFIG, batch_size=12, steps_per_epoch=10, epochs=10)
    frame = fit(model, blobs().labelled_only(), config).to_frame()
    assert frame["validation_accuracy"].max() > 0.8
    loss_is_cross_entropy = -frame["labelled_log_prob_y"]
    assert frame["loss"].tolist() == pytest.approx(loss_is_cross_entropy.tolist(), rel=1e-5)


@pytest.mark.filterwarnings("ignore:Encountered NaN")
@pytest.mark.parametrize("network", ["classifier", "encoder", "decoder"])
def test_nan_stops_the_run_naming_site_and_step_and_keeps_the_last_good_state(tmp_path, network):
    path = tmp_path / "run.pt"
    model = small_m2()
    before = copy.deepcopy(model.state_dict())
    last = getattr(model, network).layers[-1]
    original = last.bias.detach().clone()

    def poison(module, inputs, output):
        # A stand-in for a bias that trains away until it overflows: two steps of Adam at the
        # rate of 0.01 move it by about 0.02, so the third step is the first to see it.
        far = (last.bias.detach() - original).abs().max() > 0.015
        return torch.where(far, float("nan"), 1.0) * output

    last.register_forward_hook(poison)
    with pytest.raises(NonFiniteError, match="lower learning rate") as caught:
        fit(model, blobs(), CONFIG, checkpoint=path)
    site = {"classifier": "classification", "encoder": "z", "decoder": "x"}[network]
    assert caught.value.site == f"labelled/{site}"
    assert (caught.value.epoch, caught.value.step) == (0, 2)
    for state in (load_checkpoint(path)["model"], model.state_dict()):
        assert all(torch.equal(before[k], v) for k, v in state.items())


@pytest.mark.filterwarnings("ignore:Encountered NaN")
def test_nan_that_a_replay_does_not_meet_again_is_not_given_a_made_up_place():
    model, first = small_m2(), iter([float("nan")])
    model.decoder.register_forward_hook(lambda module, inputs, output: output * next(first, 1.0))
    with pytest.raises(NonFiniteError, match="did not meet it again") as caught:
        fit(model, blobs(), CONFIG)
    assert (caught.value.site, caught.value.step) == ("loss", -1)


@pytest.mark.filterwarnings("ignore:Encountered NaN")
def test_nan_in_a_later_epoch_keeps_the_checkpoint_of_the_epoch_before(tmp_path):
    path, epochs = tmp_path / "run.pt", []
    model = small_m2()
    kept = {}

    def poison_after_two(progress):
        epochs.append(len(progress.rows))
        if len(progress.rows) == 2:
            kept.update(copy.deepcopy(model.state_dict()))
            # The state is already saved: from here on the next step must go wrong.
            trigger["on"] = True

    trigger = {"on": False}
    model.encoder.register_forward_hook(
        lambda module, inputs, output: output * float("nan") if trigger["on"] else output
    )
    with pytest.raises(NonFiniteError) as caught:
        fit(model, blobs(), CONFIG, checkpoint=path, on_epoch=poison_after_two)
    assert caught.value.site == "labelled/z"
    assert caught.value.epoch == 2
    state = load_checkpoint(path)
    assert state["epoch"] == 2
    assert all(torch.equal(kept[k], state["model"][k]) for k in kept)
    assert all(torch.equal(kept[k], model.state_dict()[k]) for k in kept)


@pytest.mark.filterwarnings("ignore:Encountered NaN")
def test_gradient_that_is_not_finite_is_named():
    model = small_m2()
    weight = model.decoder.layers[-1].weight
    weight.register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(NonFiniteError) as caught:
        fit(model, blobs(), CONFIG)
    assert caught.value.site == "gradient of decoder.layers.1.weight"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"epochs": 0}, "epochs is 0"),
        ({"learning_rate": -1.0}, "learning_rate is -1"),
        ({"precision": "float16"}, "precision is 'float16'"),
        ({"learning_rate_schedule": "linear"}, "learning_rate_schedule is 'linear'"),
    ],
)
def test_configurations_that_cannot_work_are_refused(change, says):
    with pytest.raises(ConfigError, match=says):
        fit(small_m2(), blobs(), replace(CONFIG, **change))


def test_baseline_without_labels_is_refused():
    with pytest.raises(DataError, match="learns only from labelled rows"):
        fit(MLPClassifier((1, 4, 4), 3), blobs(labels=0), CONFIG)


def test_model_and_data_must_fit_each_other():
    with pytest.raises(DataError, match="num_classes is 3, the data's 4"):
        fit(small_m2(), blobs(classes=4), CONFIG)
    data = blobs()
    wide = replace(
        data,
        **{
            f"{p}_xs": getattr(data, f"{p}_xs").repeat(1, 1, 1, 2)
            for p in ("labelled", "unlabelled", "validation")
        },
    )
    with pytest.raises(DataError, match="input_shape"):
        fit(small_m2(), wide, CONFIG)


def test_resume_refuses_another_configuration_model_or_data(tmp_path):
    path = tmp_path / "run.pt"
    fit(small_m2(), blobs(), CONFIG, checkpoint=path)
    with pytest.raises(CheckpointError, match=r"learning_rate \(0.01 then, 0.02 now\)"):
        fit(small_m2(), blobs(), replace(CONFIG, learning_rate=0.02), path, resume=True)
    for options, says in (
        ({"hidden_dims": (9,)}, r"hidden_dims \(\(16,\) then, \(9,\) now\)"),
        ({"alpha": 1.0}, "alpha"),
    ):
        model = small_m2(**options)
        before = copy.deepcopy(model.state_dict())
        with pytest.raises(CheckpointError, match=says):
            fit(model, blobs(), CONFIG, path, resume=True)
        assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    with pytest.raises(CheckpointError, match="rows labelled, unlabelled, validation"):
        fit(small_m2(), blobs(labels=15), CONFIG, path, resume=True)
    classifier = MLPClassifier((1, 4, 4), 3)
    with pytest.raises(CheckpointError, match="is of a M2"):
        fit(classifier, blobs(), CONFIG, path, resume=True)
    with pytest.raises(CheckpointError, match="no checkpoint"):
        fit(small_m2(), blobs(), CONFIG, tmp_path / "none.pt", resume=True)


def test_an_existing_checkpoint_is_not_overwritten_unasked(tmp_path):
    path = tmp_path / "run.pt"
    fit(small_m2(), blobs(), CONFIG, checkpoint=path)
    content = path.read_bytes()
    with pytest.raises(ConfigError, match="exists already: pass resume=True"):
        fit(small_m2(), blobs(), CONFIG, checkpoint=path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("keep_best", [True, False])
def test_load_model_gives_the_model_that_fit_left(tmp_path, keep_best):
    path = tmp_path / "run.pt"
    model = small_m2(batch_norm=True)
    fit(model, blobs(), replace(CONFIG, keep_best=keep_best, epochs=12), checkpoint=path)
    loaded = load_model(path)
    assert loaded.options == model.options
    xs = blobs().validation_xs
    assert torch.equal(loaded.predict_proba(xs), model.predict_proba(xs))


def test_learning_rate_follows_its_schedule(monkeypatch):
    rates = []
    step = torch.optim.Adam.step

    def spy(self, *args, **kwargs):
        rates.append(self.param_groups[0]["lr"])
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.Adam, "step", spy)
    fit(small_m2(), blobs(), replace(CONFIG, learning_rate_schedule="cosine"))
    halves = [0.5 * (1 + math.cos(math.pi * epoch / 4)) for epoch in range(4)]
    assert rates == pytest.approx([0.01 * h for h in halves for _ in range(3)])


def test_gradient_norm_is_that_of_the_loss(monkeypatch):
    norms = []

    def spy(self, *args, **kwargs):
        gradients = [p.grad.flatten() for g in self.param_groups for p in g["params"]]
        norms.append(torch.cat(gradients).norm().item())

    monkeypatch.setattr(torch.optim.Adam, "step", spy)
    (row,) = fit(small_m2(), blobs(), replace(CONFIG, epochs=1)).rows
    assert row["gradient_norm"] == pytest.approx(sum(norms) / 3, rel=1e-5)


def test_pixels_are_binarised_unless_told_otherwise():
    data = blobs()
    grey = replace(data, unlabelled_xs=torch.full_like(data.unlabelled_xs, 0.5))
    for binarise in (True, False):
        model, seen = small_m2(), set()
        model.encoder.register_forward_hook(
            lambda module, inputs, output, seen=seen: seen.update(inputs[0].unique().tolist())
        )
        fit(model, grey, replace(CONFIG, epochs=1, binarise=binarise))
        assert (0.5 in seen) != binarise


def test_patience_needs_validation_rows():
    data = blobs()
    without = data.with_validation(data.validation_xs[:0], data.validation_ys[:0])
    with pytest.raises(ConfigError, match="patience is 2"):
        fit(small_m2(), without, replace(CONFIG, patience=2))


def test_dtype_of_the_data_must_be_the_models():
    with pytest.raises(DataError, match=r"the model torch\.float64"):
        fit(small_m2().double(), blobs(), CONFIG)


def test_batch_norm_over_a_single_row_is_refused():
    with pytest.raises(ConfigError, match="at least 2 rows"):
        fit(small_m2(batch_norm=True), blobs(labels=0), replace(CONFIG, batch_size=1))


@pytest.mark.parametrize(
    ("data", "sizes", "says"),
    [
        (blobs(), (20, 1), "got 1 labelled and 20 unlabelled: .*or raise labelled_batch_size"),
        (blobs(), (1, 5), "got 5 labelled and 1 unlabelled: .*or raise batch_size"),
        (blobs(labels=119), (36, None), r"got 36 labelled and 1 unlabelled: .*labelled_only\(\)"),
        (blobs(labels=1), (36, None), "got 1 labelled and 36 unlabelled: .* batch_norm=True$"),
    ],
)
def test_separate_batch_norm_over_a_single_row_of_a_kind_is_refused(data, sizes, says):
    config = replace(CONFIG, batch_size=sizes[0], labelled_batch_size=sizes[1])
    with pytest.raises(ConfigError, match=says):
        fit(small_m2(batch_norm="separate"), data, config)
    fit(small_m2(batch_norm=True), data, replace(config, epochs=1))


def test_a_single_unlabelled_row_does_not_shrink_the_labelled_batch():
    config = replace(CONFIG, epochs=30, batch_size=36)
    frame = fit(small_m2(batch_norm=True), blobs(labels=119), config).to_frame()
    alone = fit(small_m2(batch_norm=True), blobs(labels=119).labelled_only(), config).to_frame()
    assert "unlabelled_elbo" in frame
    assert frame["validation_accuracy"].iloc[-1] >= alone["validation_accuracy"].iloc[-1] - 0.05
    assert frame["labelled_elbo"].iloc[-1] == pytest.approx(alone["labelled_elbo"].iloc[-1], abs=1)


def test_resume_keeps_the_steps_of_an_epoch_of_an_earlier_version(tmp_path):
    path, data = tmp_path / "run.pt", blobs(labels=80)
    config = replace(CONFIG, batch_size=20)
    fit(small_m2(), data, replace(config, epochs=1, steps_per_epoch=2), checkpoint=path)
    state = torch.load(path, weights_only=True)
    # Then an epoch was one pass over the 40 unlabelled rows; the 80 labelled ones need 4 steps.
    then = state["config"] | {"steps_per_epoch": None, "labelled_batch_size": None}
    torch.save(state | {"format": "pyro_ssl checkpoint 4", "config": then}, path)
    with pytest.raises(CheckpointError, match=r"steps_per_epoch \(2 then, 4 now\)"):
        fit(small_m2(), data, config, checkpoint=path, resume=True)
    resumed, whole = small_m2(), small_m2()
    config = replace(config, steps_per_epoch=2, keep_best=False)
    torch.save(state | {"config": state["config"] | {"keep_best": False}}, path)
    fit(resumed, data, config, checkpoint=path, resume=True)
    fit(whole, data, config)
    assert same_weights(resumed, whole)


def columns(frame):
    return set(frame) - {"epoch", "seconds", "gradient_norm"}


def test_vae_learns_and_is_validated_by_its_bound():
    model, data = small_vae(), unlabelled_blobs()
    config = replace(CONFIG, epochs=40)
    history = fit(model, data, config)
    frame = history.to_frame()
    terms = {f"unlabelled_{t}" for t in ("elbo", "log_prob_x", "kl_z")}
    assert columns(frame) == {"loss", "validation_elbo"} | terms
    for part in ("unlabelled_elbo", "validation_elbo"):
        assert frame[part].iloc[-5:].mean() > frame[part].iloc[:5].mean() + 0.5
    parts = frame["unlabelled_log_prob_x"] - frame["unlabelled_kl_z"]
    assert parts.tolist() == pytest.approx(frame["unlabelled_elbo"].tolist(), rel=1e-5)
    assert (-frame["loss"]).tolist() == pytest.approx(frame["unlabelled_elbo"].tolist(), rel=1e-5)
    # Chosen is the best epoch, of whose weights the same noise makes the same figure.
    assert history.selection == "best validation elbo"
    assert history.selected_epoch == frame["validation_elbo"].idxmax()
    torch.manual_seed(config.seed)
    held_out = data.validation_xs.bernoulli()
    again = importance_weighted_bound(model, held_out).mean().item()
    assert again == pytest.approx(frame["validation_elbo"].max(), abs=1e-4)
    assert not model.training


def test_vae_is_validated_with_the_same_noise_in_every_epoch():
    data = unlabelled_blobs()
    for binarise in (True, False):
        config = replace(CONFIG, binarise=binarise, learning_rate=1e-30)
        frame = fit(small_vae(), data, config).to_frame()
        # Steps too small to move a weight; the training's own noise is new every time.
        assert frame["validation_elbo"].nunique() == 1
        assert frame["unlabelled_elbo"].nunique() == 4
        other = fit(small_vae(), data, replace(config, seed=1)).to_frame()
        assert other["validation_elbo"].iloc[0] != frame["validation_elbo"].iloc[0]


def test_validating_a_vae_leaves_its_training_alone():
    rows = [
        without_seconds(fit(small_vae(batch_norm=True), unlabelled_blobs(v), CONFIG).rows)
        for v in (True, False)
    ]
    validated = [{k: v for k, v in row.items() if k != "validation_elbo"} for row in rows[0]]
    assert all("validation_elbo" in row for row in rows[0])
    assert validated == rows[1]


def test_validating_a_vae_seeds_no_generator_but_the_one_it_draws_from(monkeypatch):
    # torch.manual_seed seeds all devices', and where CUDA is not in use yet, those to come.
    seeded = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    model = small_vae(seed=11)
    assert seeded == [11]
    before = torch.get_rng_state()
    fit(model, unlabelled_blobs(), replace(CONFIG, seed=3))
    assert torch.equal(torch.get_rng_state(), before)
    assert seeded == [11]


def test_vae_without_validation_rows_keeps_its_last_epoch():
    history = fit(small_vae(), unlabelled_blobs(validation=False), CONFIG)
    assert (history.selection, history.selected_epoch) == ("last epoch", 3)


def test_vae_stops_when_patience_is_out():
    config = replace(CONFIG, learning_rate=0.05, epochs=500, patience=2)
    history = fit(small_vae(), unlabelled_blobs(), config)
    scores = history.to_frame()["validation_elbo"]
    assert history.termination == "patience"
    assert len(scores) == scores.idxmax() + 3 < 500


@pytest.mark.parametrize("keep_best", [True, False])
def test_resumed_vae_ends_bit_identical_to_one_never_stopped(tmp_path, keep_best):
    options = {"batch_norm": True, "likelihood": "gaussian"}
    data, path = unlabelled_blobs(real_valued=True), tmp_path / "run.pt"
    config = replace(CONFIG, epochs=6, binarise=False, keep_best=keep_best)
    never_stopped, resumed = small_vae(**options), small_vae(seed=99, **options)
    whole, steps = fit(never_stopped, data, config), iter(range(100))

    def stop_in_the_middle_of_the_third_epoch(progress):
        if next(steps) == 7:
            raise StopError

    with pytest.raises(StopError):
        fit(
            small_vae(**options),
            data,
            config,
            checkpoint=path,
            on_step=stop_in_the_middle_of_the_third_epoch,
        )
    assert load_checkpoint(path)["epoch"] == 2
    rest = fit(resumed, data, config, checkpoint=path, resume=True)
    assert same_weights(resumed, never_stopped)
    assert without_seconds(rest.rows) == without_seconds(whole.rows)
    assert (rest.selection, rest.selected_epoch) == (whole.selection, whole.selected_epoch)
    loaded = load_model(path)
    assert loaded.options == resumed.options
    assert same_weights(loaded, resumed)


def test_real_values_train_the_models_that_take_them_and_no_others():
    data, config = unlabelled_blobs(real_valued=True), replace(CONFIG, binarise=False, epochs=20)
    assert data.unlabelled_xs.min() < -1
    frame = fit(small_vae(likelihood="gaussian"), data, config).to_frame()
    assert frame["validation_elbo"].iloc[-1] > frame["validation_elbo"].iloc[0] + 1
    with pytest.raises(DataError, match=r"real-valued, but VAE takes inputs in \[0, 1\]"):
        fit(small_vae(), data, config)
    labelled = replace(blobs(), real_valued=True)
    with pytest.raises(DataError, match=r"real-valued, but M2 takes inputs in \[0, 1\]"):
        fit(small_m2(), labelled, config)
    with pytest.raises(ConfigError, match="use binarise=False"):
        fit(small_vae(likelihood="gaussian"), data, replace(config, binarise=True))


def test_autoencoder_trains_on_reconstruction_alone():
    torch.manual_seed(0)
    model = Autoencoder(input_shape=(1, 4, 4), latent_dim=2, hidden_dims=(16,))
    frame = fit(model, unlabelled_blobs(), replace(CONFIG, epochs=30)).to_frame()
    names = {"loss", "unlabelled_elbo", "unlabelled_log_prob_x", "validation_log_prob_x"}
    assert columns(frame) == names
    assert frame["unlabelled_elbo"].tolist() == frame["unlabelled_log_prob_x"].tolist()
    validated = frame["validation_log_prob_x"]
    assert validated.iloc[-1] > validated.iloc[0] + 0.5


cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="NO GPU: CUDA paths not tested")


@cuda
def test_cuda_run_learns_resumes_and_leaves_random_states_alone(tmp_path):
    path, config = tmp_path / "run.pt", replace(CONFIG, epochs=20)
    before = torch.cuda.get_rng_state(0)
    fit(small_m2().to("cuda:0"), blobs().to("cuda:0"), replace(config, epochs=10), checkpoint=path)
    model = small_m2().to("cuda:0")
    frame = fit(model, blobs().to("cuda:0"), config, checkpoint=path, resume=True).to_frame()
    assert torch.equal(torch.cuda.get_rng_state(0), before)
    assert frame["epoch"].tolist() == list(range(20))
    assert frame["validation_accuracy"].max() > 0.8
    on_cpu = fit(small_m2(), blobs(), config).to_frame()
    assert frame["loss"].iloc[-1] == pytest.approx(on_cpu["loss"].iloc[-1], rel=0.1)


@cuda
@pytest.mark.parametrize("compiled", ["never", "always"])
def test_cuda_graph_replays_the_steps_that_would_be_made_without(compiled):
    runs = {}
    for graph in (False, True):
        config = replace(CONFIG, cuda_graph=graph, compile=compiled, epochs=5, keep_best=False)
        model = small_m2(batch_norm=True, input_dropout=0.2).to("cuda:0")
        history = fit(model, blobs().to("cuda:0"), config)
        assert ("in a CUDA graph" in history.execution) == graph
        assert ("compiled" in history.execution) == (compiled == "always")
        runs[graph] = history.to_frame().drop(columns="seconds")
    pd.testing.assert_frame_equal(runs[True], runs[False], rtol=1e-3, atol=1e-3)


@cuda
def test_cuda_resume_follows_the_schedule_in_a_graph(tmp_path):
    config = replace(CONFIG, learning_rate_schedule="cosine", epochs=6, keep_best=False)
    path, rows = tmp_path / "run.pt", []

    class Stop(Exception):  # noqa: N818
        pass

    def stop(progress):
        if len(progress.rows) == 2:
            raise Stop

    whole = fit(small_m2().to("cuda:0"), blobs().to("cuda:0"), config)
    with pytest.raises(Stop):
        fit(small_m2().to("cuda:0"), blobs().to("cuda:0"), config, checkpoint=path, on_epoch=stop)
    rest = fit(small_m2().to("cuda:0"), blobs().to("cuda:0"), config, checkpoint=path, resume=True)
    assert "in a CUDA graph" in rest.execution
    rows = [h.to_frame().drop(columns="seconds") for h in (whole, rest)]
    pd.testing.assert_frame_equal(*rows, rtol=1e-3, atol=1e-3)


@cuda
def test_cuda_streams_rows_that_stay_in_main_memory():
    rows = []
    for stream in (False, True):
        history = fit(small_m2().to("cuda:0"), blobs().to("cuda:0", stream=stream), CONFIG)
        rows.append(history.to_frame().drop(columns="seconds"))
        assert ("in a CUDA graph" in history.execution) == (not stream)
    # The orders are drawn on different devices: other batches, the same training.
    assert rows[0]["loss"].iloc[-1] == pytest.approx(rows[1]["loss"].iloc[-1], rel=0.1)


def test_bfloat16_step_agrees_with_float32_and_keeps_densities_in_float32():
    runs = {}
    for precision in ("float32", "bfloat16"):
        config = replace(CONFIG, precision=precision, epochs=1, keep_best=False)
        runs[precision] = fit(small_m2(), blobs(), config).rows[0]
    assert runs["bfloat16"]["loss"] == pytest.approx(runs["float32"]["loss"], rel=0.01)
    assert runs["bfloat16"]["loss"] != runs["float32"]["loss"]


def test_validation_is_off_inside_and_back_on_after():
    fit(small_m2(), blobs(), replace(CONFIG, epochs=1))
    with pytest.raises(ValueError, match="logits"):
        Categorical(logits=torch.tensor([float("nan"), 0.0]))
