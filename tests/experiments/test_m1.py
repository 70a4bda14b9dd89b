import json
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.svm import SVC

from experiments import mnist_m1, mnist_m1_svm, mnist_m1m2
from experiments.engine.frames import Frames
from experiments.engine.margins import MarginSVC
from pyro_ssl.data import load_dataset, split_labels
from pyro_ssl.infer import load_model
from pyro_ssl.metrics import importance_weighted_bound
from pyro_ssl.models import active_latents, posteriors
from tests.slow import slow

DIGITS = "--dataset digits --validation 60 --quiet --hidden-dims 16 --epochs 2 --device cpu".split()
M1 = [*DIGITS, "--latent-dim", "3", "--no-two-dimensional", "--bound-samples", "1"]
M1M2 = [*DIGITS, "--labels", "30", "--m1.epochs", "2", "--active-threshold", "0"]
M1M2 += ["--m1.hidden-dims", "16", "--m1.latent-dim", "3"]


def call(module, arguments, root):
    return module.main([*arguments, "--results-root", str(root)])


def result(root, name, seed=0):
    return json.loads((root / name / f"seed_{seed}.json").read_text())


def test_bounds_are_those_of_the_trained_model_on_drawn_test_pixels(tmp_path):
    arguments = [*M1, "--bound-samples", "1", "40"]
    assert call(mnist_m1, arguments, tmp_path) == 0
    found = result(tmp_path, "mnist_m1/vae-digits")
    model = load_model(tmp_path / "mnist_m1/vae-digits/seed_0.pt")
    torch.manual_seed(11)
    drawn = load_dataset("digits").test_xs.bernoulli()
    for name, k in (("test_elbo", 1), ("test_bound_40", 40)):
        again = importance_weighted_bound(model, drawn, k).mean().item()
        assert found[name] == pytest.approx(again, abs=5 * found[f"{name}_standard_error"])
    assert found["test_elbo"] < found["test_bound_40"]
    frame = pd.read_csv(tmp_path / "mnist_m1/vae-digits/seed_0.csv")
    assert found["selected_epoch"] == frame["validation_elbo"].idxmax()


def test_gaussian_likelihood_takes_pixels_as_they_are(tmp_path):
    assert call(mnist_m1, [*M1, "--likelihood", "gaussian"], tmp_path) == 0
    assert result(tmp_path, "mnist_m1/vae-digits")["binarised"] is False


def test_prior_and_objective_are_options_that_old_runs_lack(tmp_path):
    learned = ["--prior", "mixture", "--num-components", "4"]
    tighter = ["--objective", "iwae", "--num-particles", "3"]
    assert call(mnist_m1, M1, tmp_path) == 0
    assert call(mnist_m1, [*M1, *learned, *tighter, "--tag", "iwae"], tmp_path) == 0
    plain = result(tmp_path, "mnist_m1/vae-digits")
    found = result(tmp_path, "mnist_m1/vae-digits-iwae")
    assert not {"prior", "objective", "num_components", "num_particles"} & plain["config"].keys()
    asked = {"prior": "mixture", "num_components": 4, "objective": "iwae", "num_particles": 3}
    assert {k: found["config"][k] for k in asked} == asked
    model = load_model(tmp_path / "mnist_m1/vae-digits-iwae/seed_0.pt")
    assert (model.prior, model.num_components, model.num_samples) == ("mixture", 4, 3)
    assert model.importance_weighted
    assert np.isfinite(found["test_elbo"])


def test_finished_m1_is_used_as_it_is_and_said_so(tmp_path, capsys):
    assert call(mnist_m1, M1, tmp_path) == 0
    checkpoint = tmp_path / "mnist_m1/vae-digits/seed_0.pt"
    before = checkpoint.read_bytes()
    capsys.readouterr()
    # What is asked of an M1 to be trained now does not touch a finished one.
    assert call(mnist_m1m2, [*M1M2, "--m1.latent-dim", "9"], tmp_path) == 0
    assert f"M1 of seed 0 is taken from {checkpoint}" in capsys.readouterr().out
    assert checkpoint.read_bytes() == before
    both = load_model(tmp_path / "mnist_m1m2/m1m2-digits-30/seed_0_both_layers.pt")
    lower = load_model(checkpoint).state_dict()
    assert all(torch.equal(v, lower[k]) for k, v in both.vae.state_dict().items())


def test_m1_is_trained_first_where_there_is_none(tmp_path, capsys):
    assert call(mnist_m1m2, [*M1M2, "--seeds", "3"], tmp_path) == 0
    assert "M1 of seed 3 is trained first" in capsys.readouterr().out
    assert call(mnist_m1, [*M1, "--seeds", "3"], tmp_path) == 0
    assert "vae seed 3 is finished" in capsys.readouterr().out


def test_validation_rows_of_both_layers_must_be_the_same(tmp_path, capsys):
    assert call(mnist_m1, M1, tmp_path) == 0
    assert call(mnist_m1m2, [*M1M2, "--validation", "80"], tmp_path) == 1
    message = capsys.readouterr().err
    assert "60 validation rows, this run has 80" in message
    assert "--m1.tag" in message


def test_stacked_results_are_those_of_the_joint_model(tmp_path):
    assert call(mnist_m1m2, [*M1M2, "--epochs", "8"], tmp_path) == 0
    folder = tmp_path / "mnist_m1m2/m1m2-digits-30"
    found = result(tmp_path, "mnist_m1m2/m1m2-digits-30")
    both, digits = load_model(folder / "seed_0_both_layers.pt"), load_dataset("digits")
    predicted = both.predict_proba(digits.test_xs).argmax(-1)
    assert found["test_accuracy"] == pytest.approx((predicted == digits.test_ys).float().mean())
    torch.manual_seed(5)
    again = importance_weighted_bound(both, digits.test_xs.bernoulli()).mean().item()
    error = found["test_elbo_standard_error"]
    assert found["test_elbo"] == pytest.approx(again, abs=5 * error)
    frame = pd.read_csv(folder / "seed_0.csv")
    # The joint ELBO has the reconstruction of the pixels, which the upper layer's has not.
    assert found["test_elbo"] < frame["unlabelled_elbo"].iloc[-1] - 20 * error
    validation = split_labels(digits.train_ys.numpy(), 10, 30, 60, 0).validation
    accuracy = both.predict_proba(digits.train_xs[validation]).argmax(-1)
    accuracy = (accuracy == digits.train_ys[validation]).float().mean().item()
    assert frame["validation_accuracy"].max() == pytest.approx(accuracy)


def test_svm_is_chosen_on_validation_rows_and_tested_once(tmp_path):
    svm = ["--dataset", "digits", "--validation", "60", "--quiet", "--labels", "40"]
    svm += ["--unlabelled-rows", "100", "--rounds", "1", "50", "--active-threshold", "0"]
    svm += ["--device", "cpu"]
    assert call(mnist_m1, [*M1, "--epochs", "80"], tmp_path) == 0
    assert call(mnist_m1_svm, svm, tmp_path) == 0
    for kind, tried in (("linear_svm", 3), ("rbf_svm", 15), ("self_training_svm", 10)):
        folder = tmp_path / f"mnist_m1_svm/{kind}-digits-40"
        frame, found = pd.read_csv(folder / "seed_0.csv"), result(folder.parent, folder.name)
        assert len(frame) == tried
        best = frame.loc[frame["validation_accuracy"].idxmax()].drop("validation_accuracy")
        assert found["chosen"] == best.to_dict()
        # Ten classes, forty labels and features worth something.
        assert found["test_accuracy"] > 0.3
    frame = pd.read_csv(tmp_path / "mnist_m1_svm/rbf_svm-digits-40/seed_0.csv")
    digits, found = load_dataset("digits"), result(tmp_path, "mnist_m1_svm/rbf_svm-digits-40")
    vae = load_model(tmp_path / "mnist_m1/vae-digits/seed_0.pt")
    active = active_latents(vae, digits.train_xs, 0)
    train, test = (posteriors(vae, xs, active)[:, 0] for xs in (digits.train_xs, digits.test_xs))
    split = split_labels(digits.train_ys.numpy(), 10, 40, 60, 0)
    unit = 1 / (train.shape[1] * train[split.unlabelled].var(0, correction=0).mean())
    options = found["chosen"]
    svm = SVC(C=options["penalty"], gamma=float(options["gamma"] * unit))
    svm.fit(train[split.labelled].numpy(), digits.train_ys[split.labelled].numpy())
    score = svm.score(test.numpy(), digits.test_ys.numpy())
    assert found["test_accuracy"] == pytest.approx(score, abs=0.01)


@pytest.mark.parametrize(
    ("module", "arguments", "says"),
    [
        (mnist_m1, ["--bound-samples", "0"], "bound_samples"),
        (mnist_m1_svm, ["--labels", "0"], "labels is (0,)"),
        (mnist_m1_svm, ["--penalties"], "penalties is empty"),
        (mnist_m1_svm, ["--validation", "0"], "chosen on validation rows"),
        (mnist_m1_svm, ["--unlabelled-rows", "5"], "unlabelled_rows is 5"),
        (mnist_m1m2, ["--latent-dim", "0"], "latent_dim is 0"),
    ],
)
def test_options_that_cannot_work_are_one_clear_line(tmp_path, capsys, module, arguments, says):
    assert call(module, ["--dataset", "digits", "--quiet", *arguments], tmp_path) == 1
    assert says in capsys.readouterr().err
    # M1 was not trained for nothing.
    assert not list(tmp_path.glob("mnist_m1/*"))


def test_frames_survive_a_resume_and_start_anew_otherwise(tmp_path):
    path = tmp_path / "frames.pt"
    frames = Frames(path, 3, lambda: torch.tensor([1.0]))
    for epoch in (0, 1, 2):
        frames(epoch)
    resumed = Frames(path, 3, lambda: torch.tensor([2.0]))
    resumed(3)
    assert [(e, t.item()) for e, t in resumed.kept.items()] == [(0, 1), (1, 1), (2, 1), (3, 2)]
    resumed(0)
    assert list(resumed.kept) == [0]
    resumed.forget()
    assert not path.exists()


def test_margins_are_those_against_the_nearest_other_class():
    generator = np.random.default_rng(0)
    centres = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]])
    ys = np.repeat([0, 1, 2], 40)
    xs = centres[ys] + generator.normal(size=(120, 2))
    svm = MarginSVC(C=1.0).fit(xs, ys)
    grid = generator.uniform(-2, 6, size=(50, 2))
    pairs = SVC(C=1.0, decision_function_shape="ovo").fit(xs, ys).decision_function(grid)
    zero_one, zero_two, one_two = pairs.T
    margins = np.stack(
        [
            np.minimum(zero_one, zero_two),
            np.minimum(-zero_one, one_two),
            np.minimum(-zero_two, -one_two),
        ],
        1,
    )
    expected = np.exp(margins) / np.exp(margins).sum(1, keepdims=True)
    np.testing.assert_allclose(svm.predict_proba(grid), expected)
    assert (svm.predict(grid) == margins.argmax(1)).all()
    # The surest rows of a class are its inner ones, not its border's.
    inside, border = svm.predict_proba(np.array([[4.0, 0.0], [2.1, 0.0]]))[:, 1]
    assert inside > border


def test_unfinished_run_refuses_to_go_on_with_another_m1(tmp_path, capsys):
    assert call(mnist_m1m2, M1M2, tmp_path) == 0
    folder = tmp_path / "mnist_m1m2/m1m2-digits-30"
    finished = json.loads((folder / "seed_0.json").read_text())
    assert not (folder / "seed_0_m1.txt").exists()
    # As a kill between training and test leaves it.
    (folder / "seed_0.json").unlink()
    (folder / "seed_0_m1.txt").write_text(finished["m1_digest"])
    assert call(mnist_m1m2, [*M1M2, "--resume"], tmp_path) == 0
    again = json.loads((folder / "seed_0.json").read_text())
    assert again["test_accuracy"] == finished["test_accuracy"]
    assert again["test_elbo"] == finished["test_elbo"]
    (folder / "seed_0.json").unlink()
    (folder / "seed_0_m1.txt").write_text(finished["m1_digest"])
    assert call(mnist_m1, [*M1, "--epochs", "3", "--overwrite"], tmp_path) == 0
    assert call(mnist_m1m2, [*M1M2, "--resume"], tmp_path) == 1
    assert "was trained on another M1" in capsys.readouterr().err
    assert not (folder / "seed_0.json").exists()


def test_finished_seed_asks_for_no_m1(tmp_path, capsys):
    assert call(mnist_m1m2, M1M2, tmp_path) == 0
    # As in a clone, which has results and no checkpoints.
    (tmp_path / "mnist_m1/vae-digits/seed_0.pt").unlink()
    assert call(mnist_m1m2, M1M2, tmp_path) == 0
    assert "is finished" in capsys.readouterr().out
    shutil.rmtree(tmp_path / "mnist_m1")
    assert call(mnist_m1m2, M1M2, tmp_path) == 0
    assert not (tmp_path / "mnist_m1").exists()


def test_results_without_their_checkpoint_are_no_m1(tmp_path, capsys):
    assert call(mnist_m1, M1, tmp_path) == 0
    (tmp_path / "mnist_m1/vae-digits/seed_0.pt").unlink()
    assert call(mnist_m1m2, M1M2, tmp_path) == 1
    message = capsys.readouterr().err
    for needed in ("does not come with the source", "--overwrite", "--m1.tag"):
        assert needed in message


def test_what_is_wrong_with_m1_shows_before_results_are_replaced(tmp_path):
    assert call(mnist_m1m2, M1M2, tmp_path) == 0
    kept = (tmp_path / "mnist_m1m2/m1m2-digits-30/seed_0.json").read_text()
    assert call(mnist_m1m2, [*M1M2, "--validation", "80", "--overwrite"], tmp_path) == 1
    assert (tmp_path / "mnist_m1m2/m1m2-digits-30/seed_0.json").read_text() == kept


def test_another_seed_of_m1_is_trained_as_those_that_lie_there(tmp_path):
    assert call(mnist_m1, [*M1, "--activation", "elu", "--no-batch-norm"], tmp_path) == 0
    assert call(mnist_m1m2, [*M1M2, "--seeds", "1"], tmp_path) == 0
    models = [load_model(tmp_path / f"mnist_m1/vae-digits/seed_{seed}.pt") for seed in (0, 1)]
    assert models[0].options == models[1].options
    assert models[1].activation == "elu"
    assert not torch.equal(models[0].decoder.layers[0].weight, models[1].decoder.layers[0].weight)


def test_without_an_active_latent_there_is_nothing_to_classify_by(tmp_path, capsys):
    assert call(mnist_m1m2, [*M1M2, "--active-threshold", "100"], tmp_path) == 1
    assert "no latent of M1" in capsys.readouterr().err


@slow
def test_torchrun_tests_and_writes_in_one_process_alone(tmp_path):
    options = "--epochs 2 --hidden-dims 8 --test-rows 20 --train-rows 200 --validation 50 --quiet"
    options += " --device cpu"
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = [*launch, "-m", "experiments.gaussians_vae", *options.split()]
    command += ["--results-root", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result = tmp_path / "gaussians_vae/vae-two-gaussians/seed_0.json"
    # The autoencoder is finished: the VAE's test finds it where the first process keeps it.
    result.unlink()
    done = subprocess.run([*command, "--resume"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(result.read_text())["processes"] == 2


def test_unreadable_frames_are_as_none(tmp_path):
    (tmp_path / "frames.pt").write_bytes(b"PK")
    assert Frames(tmp_path / "frames.pt", 3, lambda: torch.zeros(1)).kept == {}
