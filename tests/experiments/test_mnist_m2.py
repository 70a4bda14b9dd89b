import json
import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
import torch
import tyro

from experiments import mnist_m2
from experiments.engine.results import RunFolder
from pyro_ssl.data import load_dataset
from pyro_ssl.infer import Objective, load_checkpoint, load_model
from pyro_ssl.models.rows import Batch
from tests.experiments import built
from tests.slow import slow

TINY = (
    "--dataset digits --labels 20 --validation 50 --epochs 3 --hidden-dims 16 --latent-dim 3 "
    "--quiet --no-baseline --device cpu"
).split()


@pytest.fixture
def run(tmp_path):
    def call(*arguments, root=None):
        return mnist_m2.main([*TINY, "--results-root", str(root or tmp_path), *arguments])

    call.folder = tmp_path / "mnist_m2" / "m2-digits-20"
    return call


def weights(run, seed=0):
    return load_checkpoint(run.folder / f"seed_{seed}.pt")["model"]


def test_results_hold_what_they_promise(run):
    assert run("--seeds", "0", "3") == 0
    frame = pd.read_csv(run.folder / "seed_3.csv")
    assert {
        "epoch", "seconds", "loss", "labelled_elbo", "unlabelled_elbo", "classification",
        "labelled_kl_z", "unlabelled_kl_z", "unlabelled_kl_y", "gradient_norm",
        "validation_accuracy", "validation_ece",
    } <= set(frame)  # fmt: skip
    assert frame["epoch"].tolist() == [0, 1, 2]
    result = json.loads((run.folder / "seed_3.json").read_text())
    assert (result["model"], result["dataset"], result["labels"], result["seed"]) == (
        "m2", "digits", 20, 3,
    )  # fmt: skip
    assert 0.1 < result["test_accuracy"] <= 1
    assert 0 <= result["test_ece"] <= 1
    for rule in ("bayes", "weighted_bayes"):
        assert 0.1 < result[f"test_{rule}_accuracy"] <= 1
        assert 0 <= result[f"test_{rule}_ece"] <= 1
    assert result["test_rows"] == 397
    assert result["validation_rows"] == 50
    assert result["unlabelled_rows"] == 1400 - 70
    assert result["selected_epoch"] == frame["validation_accuracy"].idxmax()
    assert torch.__version__.startswith(result["version_torch"])
    other = json.loads((run.folder / "seed_0.json").read_text())
    assert other["split_digest"] != result["split_digest"]
    assert other["config"] == result["config"]


def test_label_fraction_is_a_share_of_the_rows_that_are_not_for_validation(run, capsys):
    assert run("--label-fraction", "0.05") == 0
    folder = run.folder.parent / "m2-digits-0.05"
    result = json.loads((folder / "seed_0.json").read_text())
    assert (result["labels"], result["unlabelled_rows"]) == (67, 1350 - 67)
    assert "labels" not in result["config"]
    assert run("--label-fraction", "1.5") == 1
    assert "label_fraction is 1.5, expected 0 to 1" in capsys.readouterr().err


def test_same_command_gives_the_same_numbers(run, tmp_path):
    run()
    run(root=tmp_path / "again")
    first = json.loads((run.folder / "seed_0.json").read_text())
    again = tmp_path / "again" / "mnist_m2" / "m2-digits-20" / "seed_0.json"
    second = json.loads(again.read_text())
    assert first.pop("seconds_per_epoch") > 0
    second.pop("seconds_per_epoch")
    # Of the whole process, with all that it did before.
    del first["peak_memory_mib"], second["peak_memory_mib"]
    assert first == second


def test_another_configuration_needs_its_own_folder(run, capsys):
    run()
    kept = (run.folder / "seed_0.json").read_text()
    assert run("--alpha", "7") == 1
    message = capsys.readouterr().err
    for needed in ("alpha (15.0 there, 7.0 now)", "--tag", "--overwrite"):
        assert needed in message
    assert (run.folder / "seed_0.json").read_text() == kept
    assert run("--alpha", "7", "--tag", "seven") == 0
    assert (run.folder.parent / "m2-digits-20-seven" / "seed_0.json").exists()
    assert run("--alpha", "7", "--overwrite") == 0
    assert json.loads((run.folder / "config.json").read_text())["alpha"] == 7


def test_overwrite_replaces_its_own_seeds_and_no_others(run, capsys):
    run("--seeds", "0", "1")
    first, second = (run.folder / f"seed_{s}.json" for s in (0, 1))
    kept = [f.stat().st_mtime_ns for f in (first, second)]
    assert run("--alpha", "7", "--overwrite") == 1
    assert "also holds seeds [1]" in capsys.readouterr().err
    assert [f.stat().st_mtime_ns for f in (first, second)] == kept
    assert run("--overwrite") == 0
    assert first.stat().st_mtime_ns != kept[0]
    assert second.stat().st_mtime_ns == kept[1]
    assert run("--seeds", "0", "1", "--alpha", "7", "--overwrite") == 0
    assert json.loads(second.read_text())["config"]["alpha"] == 7


def test_damaged_configuration_file_is_one_clear_line(run, capsys):
    run()
    (run.folder / "config.json").write_text("{")
    assert run("--seeds", "1") == 1
    assert "is damaged" in capsys.readouterr().err


def contenders(*arguments):
    config = tyro.cli(mnist_m2.Config, args=["--dataset", "digits", "--device", "cpu", *arguments])
    return built.contenders(mnist_m2.comparison(config))


def test_alpha_weighs_the_mean_cross_entropy_beside_the_bound_per_example():
    m2 = contenders("--labels", "30", "--alpha", "7")["m2"]
    data = m2.data
    total = data.num_labelled + data.num_unlabelled
    assert m2.model.alpha == 7
    objective = Objective(m2.model.eval(), data.num_labelled, data.num_unlabelled)
    xs = torch.cat([data.labelled_xs, data.unlabelled_xs])
    ys = torch.cat([data.labelled_ys, torch.full((data.num_unlabelled,), -1)])
    loss, terms = objective(Batch(xs, ys, 30))
    bounds = 30 * terms["labelled_elbo"] + data.num_unlabelled * terms["unlabelled_elbo"]
    torch.testing.assert_close(loss, -bounds / total + 7 * terms["classification"])


@pytest.mark.parametrize(("labels", "steps"), [(30, 25), (1000, 25)])
def test_baseline_has_the_same_network_and_enough_steps(labels, steps):
    both = contenders("--labels", str(labels), "--batch-size", "20", "--validation", "50")
    assert both["mlpclassifier"].steps == max(steps, labels // 20)
    shapes = [
        {k: v.shape for k, v in c.model.state_dict().items() if k.startswith("classifier")}
        for c in both.values()
    ]
    assert shapes[0] == shapes[1]
    assert both["mlpclassifier"].data.num_unlabelled == 0


def test_digits_need_no_other_option(tmp_path):
    arguments = ["--dataset", "digits", "--epochs", "1", "--quiet", "--results-root", str(tmp_path)]
    assert mnist_m2.main(arguments) == 0
    result = json.loads((tmp_path / "mnist_m2" / "m2-digits-100" / "seed_0.json").read_text())
    assert result["validation_rows"] == result["config"]["validation"] == 350


def test_test_accuracy_is_that_of_the_model_in_the_checkpoint_on_the_test_rows(run):
    run("--epochs", "12")
    model, digits = load_model(run.folder / "seed_0.pt"), load_dataset("digits")
    result = json.loads((run.folder / "seed_0.json").read_text())
    predicted = model.predict_proba(digits.test_xs).argmax(-1)
    share = (predicted == digits.test_ys).float().mean().item()
    assert result["test_accuracy"] == pytest.approx(share)
    validation = pd.read_csv(run.folder / "seed_0.csv")["validation_accuracy"]
    assert result["test_accuracy"] != pytest.approx(validation.max())


def test_bar_shows_bound_and_validation_accuracy(tmp_path, capsys):
    arguments = [a for a in TINY if a != "--quiet"]
    assert mnist_m2.main([*arguments, "--results-root", str(tmp_path)]) == 0
    shown = capsys.readouterr().err
    for needed in ("M2 seed 0", "unlabelled_elbo=-", "labelled_elbo=-", "validation_accuracy=0."):
        assert needed in shown


def test_finished_seed_is_kept_and_a_new_one_joins_it(run, capsys):
    run()
    before = (run.folder / "seed_0.json").stat().st_mtime_ns
    assert run("--seeds", "0", "1") == 0
    assert "seed 0 is finished" in capsys.readouterr().out
    assert (run.folder / "seed_0.json").stat().st_mtime_ns == before
    assert (run.folder / "seed_1.json").exists()


@pytest.mark.parametrize("kept", [1, 2])
def test_killed_run_leaves_whole_epochs_and_resumes_to_the_same_end(run, tmp_path, capsys, kept):
    run(root=tmp_path / "whole")
    whole = tmp_path / "whole" / "mnist_m2" / "m2-digits-20"

    class KilledError(BaseException):
        pass

    writes, write = iter(range(100)), RunFolder.write

    def die_before_writing(self, seed, suffix, text):
        if next(writes) == kept:
            raise KilledError
        write(self, seed, suffix, text)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunFolder, "write", die_before_writing)
        with pytest.raises(KilledError):
            run()
    assert pd.read_csv(run.folder / "seed_0.csv")["epoch"].tolist() == list(range(kept))
    assert load_checkpoint(run.folder / "seed_0.pt")["epoch"] == kept + 1
    assert not (run.folder / "seed_0.json").exists()
    assert run() == 1
    assert "--resume" in capsys.readouterr().err
    assert run("--resume") == 0
    expected = load_checkpoint(whole / "seed_0.pt")["model"]
    assert all(torch.equal(expected[k], v) for k, v in weights(run).items())
    columns = [c for c in pd.read_csv(run.folder / "seed_0.csv") if c != "seconds"]
    pd.testing.assert_frame_equal(
        pd.read_csv(run.folder / "seed_0.csv")[columns],
        pd.read_csv(whole / "seed_0.csv")[columns],
        check_exact=True,
    )


def test_damaged_checkpoint_stops_the_resume_and_loses_nothing(run, capsys):
    run()
    (run.folder / "seed_0.json").unlink()
    csv = (run.folder / "seed_0.csv").read_text()
    (run.folder / "seed_0.pt").write_bytes(b"PK but no more")
    assert run("--resume") == 1
    assert "truncated or not a checkpoint" in capsys.readouterr().err
    assert (run.folder / "seed_0.csv").read_text() == csv


def test_interrupt_saves_and_says_how_to_go_on(tmp_path):
    arguments = [*TINY, "--epochs", "100000", "--compile", "never"]
    arguments += ["--results-root", str(tmp_path)]
    process = subprocess.Popen(
        [sys.executable, "-m", "experiments.mnist_m2", *arguments],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        # What a shell starts in the background inherits that interrupts are ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    csv = tmp_path / "mnist_m2" / "m2-digits-20" / "seed_0.csv"
    # However slow the machine: no limit of time.
    while not csv.exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, message = process.communicate()
    assert process.returncode == 130, message
    assert f"{csv.with_suffix('.pt')} holds the last whole epoch" in message
    assert "experiments.mnist_m2 --dataset digits" in message
    assert message.strip().endswith("--resume")
    epochs = load_checkpoint(csv.with_suffix(".pt"))["epoch"]
    assert epochs >= len(pd.read_csv(csv)) >= 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--labels", "2000"], "labels=2000, but only 1350 rows are left"),
        (["--batch-size", "0"], "batch_size is 0, expected a whole number"),
        (["--device", "tpu"], "device is 'tpu'"),
        (["--device", "cuda:99"], "use --device cpu"),
        (["--learning-rate", "0"], "learning_rate is 0"),
        (["--hidden-dims", "0"], "hidden_dims"),
        (["--seeds"], "seeds is empty"),
        (["--seeds", "-1"], "none below 0"),
        (["--seeds", "1", "1"], "different ones"),
        (["--resume"], "exclude each other"),
        (["--labels", "1", "--baseline"], "at least 2 rows"),
        (["--patience", "3", "--validation", "0"], "patience is 3"),
        (["--alpha", "-1"], "alpha is -"),
    ],
)
def test_options_that_cannot_work_are_one_clear_line(run, capsys, arguments, says):
    run()
    kept = (run.folder / "seed_0.json").read_text()
    assert run(*arguments, "--overwrite") == 1
    error = capsys.readouterr().err
    assert says in error
    assert "Traceback" not in error
    assert (run.folder / "seed_0.json").read_text() == kept


def test_unwritable_results_folder_is_one_clear_line(run, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    assert run(root=tmp_path / "file") == 1
    assert "--results-root" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--labels", "0"], ["--labels", "1350"]])
def test_no_labels_and_all_labels_work(run, arguments):
    assert run(*arguments, "--baseline") == 0


def test_without_validation_the_last_epoch_is_tested(run):
    assert run("--validation", "0") == 0
    result = json.loads((run.folder / "seed_0.json").read_text())
    assert (result["selection"], result["selected_epoch"]) == ("last epoch", 2)


@slow
def test_rao_blackwell_seeds_of_a_command_run_side_by_side(tmp_path):
    # By `python -m`, whose options are of a class that the other processes cannot import.
    command = [sys.executable, "-m", "experiments.mnist_m2", *TINY, "--num-summed", "1"]
    command += ["--seeds", "0", "1", "--jobs", "2", "--results-root", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "mnist_m2" / "raoblackwellm2-digits-20"
    results = [json.loads((folder / f"seed_{seed}.json").read_text()) for seed in (0, 1)]
    assert [r["seed"] for r in results] == [0, 1]
    assert {r["model"] for r in results} == {"raoblackwellm2"}
    assert {r["execution"] for r in results} == {"eager"}
    assert load_model(folder / "seed_1.pt").num_summed == 1


def test_an_error_of_one_of_several_seeds_is_one_line(run, capsys):
    assert run("--learning-rate", "1e30", "--seeds", "0", "1", "--jobs", "2") == 1
    assert "stopped being finite" in capsys.readouterr().err


def test_torchrun_trains_one_run_with_two_processes(tmp_path):
    options = [*TINY, "--results-root", str(tmp_path)]
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = [*launch, "-m", "experiments.mnist_m2", *options]
    for more in ([], ["--resume"]):
        done = subprocess.run([*command, *more], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert "is finished" in done.stdout
    folder = tmp_path / "mnist_m2" / "m2-digits-20"
    assert json.loads((folder / "seed_0.json").read_text())["processes"] == 2
    assert len(load_checkpoint(folder / "seed_0.pt")["rng"]) == 2
    assert [f.name for f in tmp_path.iterdir()] == ["mnist_m2"]
