"""The benchmarks' peers compute what they claim to, and every benchmark runs."""

import json
import math
import subprocess
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from pyro.infer import TraceEnum_ELBO, config_enumerate

from benchmarks import compiler, epoch, retrieval, scale, step
from benchmarks.plain_torch import PlainM2
from benchmarks.textbook import TextbookM2
from benchmarks.timing import alternate, matrix_flops, ratios
from pyro_ssl.models import M2
from tests import oracle
from tests.slow import slow

PIXELS, CLASSES, HIDDEN, LATENT = 12, 4, 7, 3


@pytest.fixture
def m2():
    torch.manual_seed(0)
    options = oracle.PLAIN | {"alpha": 50.0}
    model = M2((1, 3, 4), CLASSES, LATENT, (HIDDEN,), **options).double()
    # A scale that does not depend on the input, where softplus and exp can be made the same.
    model.encoder.layers[1].weight.data[LATENT:] = 0
    model.encoder.layers[1].bias.data[LATENT:] = 0
    return model


@pytest.fixture
def plain(m2):
    peer = PlainM2(PIXELS, CLASSES, HIDDEN, LATENT, 50.0).double()
    for ours, theirs in (
        (m2.classifier.layers[0], peer.classifier[0]),
        (m2.classifier.layers[1], peer.classifier[2]),
        (m2.encoder.layers[0].linear, peer.encoder_in),
        (m2.encoder.layers[0].embedding, peer.encoder_label),
        (m2.encoder.layers[1], peer.encoder_out),
        (m2.decoder.layers[0].linear, peer.decoder_in),
        (m2.decoder.layers[0].embedding, peer.decoder_label),
        (m2.decoder.layers[1], peer.decoder_out),
    ):
        theirs.load_state_dict(ours.state_dict())
    return peer


@pytest.fixture
def textbook(m2):
    peer = TextbookM2(PIXELS, CLASSES, HIDDEN, LATENT).double()
    peer.classifier[0].load_state_dict(m2.classifier.layers[0].state_dict())
    peer.classifier[2].load_state_dict(m2.classifier.layers[1].state_dict())
    for ours, theirs in ((m2.encoder, peer.encoder), (m2.decoder, peer.decoder)):
        first = ours.layers[0]
        joined = torch.cat([first.linear.weight, first.embedding.weight.T], 1)
        theirs[0].load_state_dict({"weight": joined, "bias": first.linear.bias})
        theirs[2].load_state_dict(ours.layers[1].state_dict())
    peer.encoder[2].bias.data[LATENT:] = math.log(math.log(2) + 1e-4)
    return peer


def our_loss(m2, xs, ys=None):
    torch.manual_seed(3)
    return m2.make_elbo().differentiable_loss(m2.model, m2.guide, xs, ys)


def test_plain_pytorch_is_the_same_mathematics(m2, plain):
    xs, ys = torch.rand(5, 1, 3, 4).bernoulli().double(), torch.tensor([0, 3, 1, 1, 2])
    torch.manual_seed(3)
    torch.testing.assert_close(plain.unlabelled_loss(xs.flatten(1)), our_loss(m2, xs))
    torch.manual_seed(3)
    torch.testing.assert_close(plain.labelled_loss(xs.flatten(1), ys), our_loss(m2, xs, ys))


def test_the_textbook_is_the_same_mathematics(m2, textbook):
    xs, ys = torch.rand(5, 1, 3, 4).bernoulli().double(), torch.tensor([0, 3, 1, 1, 2])
    elbo = TraceEnum_ELBO(max_plate_nesting=1, strict_enumeration_warning=False)
    guide = config_enumerate(textbook.guide, "parallel", expand=True)
    torch.manual_seed(3)
    theirs = elbo.differentiable_loss(textbook.model, guide, xs.flatten(1))
    # Its probabilities are not exact where ours, from logits, are.
    torch.testing.assert_close(theirs, our_loss(m2, xs), atol=1e-4, rtol=1e-5)
    one_hot = torch.nn.functional.one_hot(ys, CLASSES).double()
    torch.manual_seed(3)
    theirs = elbo.differentiable_loss(textbook.model, guide, xs.flatten(1), one_hot)
    theirs = theirs + elbo.differentiable_loss(
        textbook.classify_model, textbook.classify_guide, xs.flatten(1), one_hot
    )
    torch.testing.assert_close(theirs, our_loss(m2, xs, ys), atol=1e-4, rtol=1e-5)


def test_contestants_take_turns_and_ratios_are_per_round():
    order = []
    steps = {name: lambda name=name: order.append(name) for name in "ab"}
    seconds = alternate(steps, rounds=2, device=torch.device("cpu"), block=3)
    assert "".join(order) == "aaaaabbbbb" + "aaaabbbb" * 2
    assert seconds.shape == (2, 2)
    seconds = pd.DataFrame({"a": [4.0, 6.0, 30.0], "b": [2.0, 2.0, 10.0]})
    assert ratios(seconds, "b", "a")["times_faster"] == 3


def test_runs_side_by_side_count_while_all_of_them_run():
    # From 10 to 14 seconds the first makes 2 epochs of 20 steps, the second 4.
    runs = [[0.0, 9.0, 11.0, 14.0], [10.0, 11.0, 12.0, 13.0, 14.0, 15.0]]
    assert scale.seconds_per_step(runs) == pytest.approx(4 / 120)


def test_flops_are_those_of_the_matrix_products():
    first, second = torch.ones(3, 4, requires_grad=True), torch.ones(4, 5)
    assert matrix_flops(lambda: (first @ second).sum().backward()) == 2 * 3 * 4 * 5 * 2


def test_packed_codes_and_floats_find_the_same():
    # Of 100 codes all are among the nearest; of more, those as near as the 100th may differ.
    both = retrieval.contestants(100, 16)
    assert both["packed"]() == pytest.approx(both["floats"]())
    both = retrieval.contestants(2000, 64)
    assert both["packed"]() == pytest.approx(both["floats"](), abs=0.05)


# One row a benchmark: its tiny arguments, and the column that says what was timed.
BENCHMARKS = {
    step: ("--device cpu --batch-size 4 --rounds 1 --precisions float32", "step"),
    epoch: ("--device cpu --rows 40 --labels 10 --batch-size 10 --epochs 1", "epoch"),
    scale: (
        "--device cpu --classes 3 12 --class-chunks 2 --batch-sizes 2 --data-rows 500 --jobs 1 "
        "--rounds 1 --seconds 0.1",
        "quantity",
    ),
    retrieval: ("--codes 200 --bits 16 --rounds 1", "ms_a_query"),
}


@pytest.mark.parametrize(
    "module",
    [pytest.param(m, marks=[slow] * (m is scale)) for m in BENCHMARKS],
    ids=lambda m: m.__name__,
)
def test_benchmark_runs_and_leaves_its_tables(module, tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda function, **kwargs: function)
    arguments, column = BENCHMARKS[module]
    module.main([*arguments.split(), "--results-root", str(tmp_path)])
    name = module.__name__.split(".")[-1]
    table = pd.read_csv(tmp_path / f"{name}.csv")
    assert table[column].notna().all()
    assert (table["commit"].str.len() >= 40).all()
    assert f"python -m benchmarks.{name}" in (tmp_path / f"{name}.md").read_text()


def test_waits_for_the_compiler_are_those_of_two_processes(tmp_path, monkeypatch):
    seen = []

    def run(command, env, **kwargs):
        folder = env["TORCHINDUCTOR_CACHE_DIR"]
        seen.append((command[-2:], folder))
        times = {"imports": 1.0, "first": 20.0 if len(seen) % 2 else 3.0, "later": 0.01}
        return subprocess.CompletedProcess(command, 0, f"a line\n{json.dumps(times)}\n", "")

    monkeypatch.setattr(compiler, "subprocess", SimpleNamespace(run=run))
    compiler.main(["--models", "VAE", "M2", "--results-root", str(tmp_path)])
    assert [name for (name, _), _ in seen] == ["VAE", "VAE", "M2", "M2"]
    folders = [folder for _, folder in seen]
    assert folders[0] == folders[1] != folders[2] == folders[3]
    table = pd.read_csv(tmp_path / "compiler.csv")
    assert table["first_process_seconds"].tolist() == [20.0, 20.0]
    assert table["second_process_seconds"].tolist() == [3.0, 3.0]


def test_a_first_step_is_told_from_later_ones(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda function, **kwargs: function)
    found = compiler.first_step("VAE", 8)
    assert found["first"] > found["later"] > 0
