"""Results folders with damaged or foreign files: each is one line that names the file."""

import json
import shutil

import pandas as pd
import pytest

from experiments import gmm_approximation, label_fraction_sweep, mnist_m1_svm, mnist_m2, report
from experiments.engine import runner
from experiments.engine.label_treatments import draw_runs
from experiments.engine.m1 import M1Options
from experiments.engine.marks import filled
from experiments.engine.results import RunFolder, read_result
from pyro_ssl.errors import ConfigError, ResultsError
from tests.experiments.test_mnist_m2 import TINY
from tests.test_text_files import DAMAGED

RESULT = {"model": "m2", "dataset": "digits", "device": "cpu", "seed": 0, "test_accuracy": 0.5}


def result_with(**changes) -> bytes:
    kept = {k: v for k, v in (RESULT | changes).items() if v is not ...}
    return json.dumps(kept).encode()


# What may lie in place of seed_0.json.
RESULTS = DAMAGED | {
    "no keys of ours": b"{}",
    "no device": result_with(device=...),
    "text for a number": result_with(test_accuracy="0.5"),
    "not a number": result_with(test_accuracy=float("nan")),
    "infinite": result_with(test_elbo=float("-inf")),
    "a list for a number": result_with(labels=[20]),
    "half a label": result_with(labels=20.5),
    "a number for text": result_with(device=3),
    "text that cannot be shown": result_with(model="a\ud800"),
    "other kinds within": result_with(config=[], files="seed_0.csv"),
    "of another seed": result_with(seed=1),
    "a truth for a seed": result_with(seed=False),
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder of results with one finished seed."""
    root = tmp_path_factory.mktemp("finished")
    assert mnist_m2.main([*TINY, "--results-root", str(root)]) == 0
    return root


@pytest.fixture
def root(finished, tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "environment", dict)
    shutil.copytree(finished, tmp_path / "results")
    return tmp_path / "results"


@pytest.fixture
def run(root, capsys):
    """Run the experiment again; return its exit code and the lines of its errors."""

    def call(*more):
        code = mnist_m2.main([*TINY, "--results-root", str(root), *more])
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        call.out = said.out
        return code, said.err.splitlines()

    call.folder = root / "mnist_m2" / "m2-digits-20"
    return call


@pytest.mark.parametrize("content", RESULTS.values(), ids=RESULTS)
def test_damaged_results_are_named_before_anything_runs(content, tmp_path, capsys):
    folder = RunFolder(tmp_path / "mnist_m2" / "m2-digits-20", {})
    folder.path.mkdir(parents=True)
    folder.file(0, ".json").write_bytes(content)
    for read in (lambda: folder.results(0), lambda: folder.begin(0, resume=True)):
        with pytest.raises(ResultsError, match=r"seed_0\.json is .*: move it elsewhere"):
            read()
    if content != result_with(model="a\ud800"):
        assert report.main(["--results-root", str(tmp_path)]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: ")
        assert "seed_0.json" in line


@pytest.mark.parametrize("more", [(), ("--resume",), ("--seeds", "1", "0")])
def test_a_damaged_result_stops_a_run_before_it_begins(run, more):
    (run.folder / "seed_0.json").write_text('{"test')
    code, (line,) = run(*more)
    assert code == 1
    assert line.startswith(f"error: {run.folder}/seed_0.json is damaged")
    assert not list(run.folder.glob("seed_1*"))
    # What the line says to do.
    (run.folder / "seed_0.json").rename(run.folder / "elsewhere")
    assert run("--resume") == (0, [])
    read_result(run.folder / "seed_0.json")


def test_a_damaged_result_can_be_overwritten(run):
    (run.folder / "seed_0.json").write_bytes(b"\xff")
    (run.folder / "config.json").write_text("[")
    assert run("--overwrite") == (0, [])
    assert read_result(run.folder / "seed_0.json")["seed"] == 0


def test_a_folder_in_place_of_a_result_is_named(run, root, capsys):
    (run.folder / "seed_0.json").unlink()
    (run.folder / "seed_0.json").mkdir()
    for more in ((), ("--resume",), ("--overwrite",)):
        code, (line,) = run(*more)
        assert code == 1
        assert "seed_0.json is damaged or not a file" in line
    assert report.main(["--results-root", str(root)]) == 1
    assert "seed_0.json is damaged or not a file" in capsys.readouterr().err


CONFIGS = DAMAGED | {"other keys": b'{"alfa": 3}', "other types": b'{"alpha": [null, {"b": "c"}]}'}


@pytest.mark.parametrize("content", CONFIGS.values(), ids=CONFIGS)
def test_damaged_configurations_are_named(content, tmp_path):
    folder = RunFolder(tmp_path / "here", {"alpha": 15.0})
    folder.path.mkdir()
    (folder.path / "config.json").write_bytes(content)
    folder.file(1, ".log").write_text("")
    for check in (
        lambda: folder.claim([0], overwrite=False),
        lambda: folder.check_replaceable([0]),
    ):
        with pytest.raises(ResultsError, match=r"here"):
            check()
    folder.check_replaceable([0, 1])
    folder.claim([0, 1], overwrite=True)
    assert json.loads((folder.path / "config.json").read_text()) == {"alpha": 15.0}


def test_a_folder_in_place_of_the_configuration_is_named(run):
    (run.folder / "config.json").unlink()
    (run.folder / "config.json").mkdir()
    for more in ((), ("--resume",), ("--overwrite",)):
        code, (line,) = run(*more)
        assert code == 1
        assert "config.json" in line


def test_foreign_files_in_a_folder_are_nobodys_seeds(run):
    for name in ("seed_.txt", "seed_x.json", "seed_1e3.csv", "seed_0x", "seed_" + "9" * 200, "a"):
        (run.folder / name).write_text("foreign")
    (run.folder / "seed_0.csv.d").mkdir()
    assert run() == (0, [])
    assert run("--overwrite", "--alpha", "3") == (0, [])
    assert (run.folder / "seed_x.json").read_text() == "foreign"


def test_the_report_names_foreign_results(root, capsys):
    foreign = root / "mnist_m2" / "m2-digits-20" / "seed_x.json"
    for content in ("foreign", json.dumps(RESULT)):
        foreign.write_text(content)
        assert report.main(["--results-root", str(root)]) == 1
        assert f"error: {foreign} is " in capsys.readouterr().err


def test_the_report_names_a_page_that_it_cannot_read(root, tmp_path, capsys):
    assert report.main(["--results-root", str(root), "--pages", str(tmp_path / "none")]) == 1
    assert "error: " in capsys.readouterr().err


def test_what_is_lost_of_a_finished_seed_is_said(run):
    assert run() == (0, [])
    assert f"m2 seed 0 is finished in {run.folder}: kept\n" in run.out
    for lost in ("seed_0.csv", "seed_0_learning_curves.png"):
        (run.folder / lost).unlink()
    (run.folder / "seed_0.pt").unlink()
    assert run() == (0, [])
    assert (
        "kept, but without seed_0.csv, seed_0_learning_curves.png: --overwrite makes them again\n"
        in run.out
    )
    # Results of earlier versions do not say which figures there were.
    result = json.loads((run.folder / "seed_0.json").read_text())
    del result["files"]
    (run.folder / "seed_0.json").write_text(json.dumps(result))
    assert run() == (0, [])
    assert "kept, but without seed_0.csv: --overwrite" in run.out


def m1_source(root, **config):
    source = mnist_m1_svm.source(
        mnist_m1_svm.Config(dataset="digits", results_root=str(root), **config)
    )
    (root / "mnist_m1" / "vae-digits").mkdir(parents=True, exist_ok=True)
    return source, root / "mnist_m1" / "vae-digits"


M1_CONFIGS = DAMAGED | {
    "text for a number": b'{"epochs": "ten"}',
    "text for a tuple": b'{"hidden_dims": "ab"}',
    "floats in a tuple": b'{"hidden_dims": [1.5]}',
    "no choice of ours": b'{"likelihood": "poisson"}',
    "null": b'{"latent_dim": null}',
    "not a number": b'{"learning_rate": NaN}',
}


@pytest.mark.parametrize("content", M1_CONFIGS.values(), ids=M1_CONFIGS)
def test_a_damaged_m1_is_named(content, tmp_path):
    source, folder = m1_source(tmp_path)
    (folder / "config.json").write_bytes(content)
    with pytest.raises(ResultsError, match=r"vae-digits/config\.json is damaged"):
        source._comparison(0)


def test_results_of_m1_without_what_is_read_are_named(tmp_path):
    source, folder = m1_source(tmp_path)
    (folder / "seed_0.pt").write_bytes(b"")
    (folder / "seed_0.json").write_text(json.dumps(RESULT))
    with pytest.raises(ResultsError, match=r"seed_0\.json .*no 'validation_rows'"):
        source._check_seed(0, 10)


@pytest.mark.parametrize("content", [b"", b"epoch,loss\n0,a\n", b"\xff\xfe", b"x\n1\n"])
def test_damaged_tables_of_other_runs_are_named(content, tmp_path):
    config = mnist_m2.Config(dataset="digits", labels=20, results_root=str(tmp_path))
    comparison = mnist_m2.comparison(config)
    folder = comparison.path("m2")
    folder.mkdir(parents=True)
    (folder / "seed_0.json").write_text("{}")
    (folder / "seed_0.csv").write_bytes(content)
    with pytest.raises(ResultsError, match=r"seed_0\.csv is damaged"):
        draw_runs(comparison, ("m2",))


def test_a_damaged_trace_of_a_finished_encoder_is_named(tmp_path, capsys, monkeypatch):
    config = gmm_approximation.Config(results_root=str(tmp_path))
    comparison = gmm_approximation.comparison(config)
    folders = {m: RunFolder(comparison.path(m), {}) for m in comparison.models}
    for folder in folders.values():
        folder.write(0, ".csv", "step,elbo\n0,1\n")
    with pytest.raises(ResultsError, match=r"seed_0\.csv .*no column evidence, kl_posterior"):
        gmm_approximation.run_seed(runner.SeedRun(comparison, 0, None, folders, {}))


def test_a_damaged_benchmark_or_a_run_without_accuracy_is_named(tmp_path):
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "step.csv").write_text("step,times_faster\n")
    marks = "".join(
        f"<!-- {n}: begin -->\n<!-- {n}: end -->\n"
        for n in ("results", "benchmark step", "treatments", "sweep")
    )
    row = {"dataset": "mnist", "labels": 100, "seeds": 1, "device": "cpu", "validation_rows": 1}
    nothing = pd.DataFrame([{"run": "a/b", **row}])
    with pytest.raises(ResultsError, match=r"step\.csv is damaged"):
        filled(marks, nothing, tmp_path)
    (tmp_path / "benchmarks" / "step.csv").unlink()
    for run in ("mnist_label_treatments/m2-mnist-100", "mnist_ccvae/ccvae-mnist-48-sweep"):
        lacking = pd.DataFrame([{"run": run, **row}])
        with pytest.raises(ResultsError, match=f"{run} has no test_accuracy_%"):
            filled(marks, lacking, tmp_path)


# --- Names that would lead out of the folder.

TAGS = [
    "../..", "..", ".", "/tmp/x", "a/b", "a\\b", "", " ", "a\0b", "a\nb", "a\tb", "x" * 101,
    "\ud800",     "*", "[a]", "-", "~", "$HOME", "a:b", "é" * 101,
]  # fmt: skip


@pytest.mark.parametrize("tag", TAGS, ids=[ascii(tag)[:12] for tag in TAGS])
def test_a_tag_is_part_of_a_name_and_no_path(tag, tmp_path):
    for module in (mnist_m2, gmm_approximation):
        options = {"tag": tag, "results_root": str(tmp_path / "in")}
        with pytest.raises(ConfigError, match="tag is "):
            runner.run_comparisons([module.comparison(module.Config(**options))])
    with pytest.raises(ConfigError, match="tag is "):
        label_fraction_sweep.sweep(label_fraction_sweep.Config(dataset="digits", **options))
    source, _ = m1_source(tmp_path / "in", m1=M1Options(tag=tag))
    with pytest.raises(ConfigError, match=r"m1\.tag is "):
        source._comparison(0)
    assert [f.name for f in tmp_path.iterdir()] == ["in"]
    assert [f.name for f in (tmp_path / "in").iterdir()] == ["mnist_m1"]


@pytest.mark.parametrize("tag", ["fast", "256", "2d", "a b", "lr=3e-3", "v1.2_x,y@z+50%", "größe"])
def test_tags_that_are_names_pass(tag, tmp_path):
    config = mnist_m2.Config(dataset="digits", tag=tag, results_root=str(tmp_path))
    folder = mnist_m2.comparison(config).path("m2")
    assert folder.parent == tmp_path / "mnist_m2"
    assert folder.name == f"m2-digits-100-{tag}"


@pytest.mark.parametrize("dataset", ["../x", "a/b", "/x", "a\nb", "a\0b", "x" * 300, "\udcff"])
def test_a_name_of_data_that_leads_elsewhere_is_refused(dataset, tmp_path):
    config = mnist_m2.Config(dataset=dataset, results_root=str(tmp_path))
    with pytest.raises(ConfigError, match="folder of results would be called"):
        mnist_m2.comparison(config).path("m2")


@pytest.mark.parametrize("name", ["results_root", "data_root"])
def test_roots_are_paths(name, tmp_path, capsys):
    root = {"results_root": tmp_path} | {name: "a\0b"}
    config = mnist_m2.Config(dataset="digits", **{k: str(v) for k, v in root.items()})
    with pytest.raises(ConfigError, match=f"{name} is 'a.*expected the path of a folder"):
        runner.run_comparisons([mnist_m2.comparison(config)])
