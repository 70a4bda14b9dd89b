"""What a GPU could record: no step copies from the host, or makes it wait. No GPU is needed.

Tensors claim to be on a GPU, or have no storage (the device "meta", on which torch can also go
backward). The real CPU is then the host, and each operation shows what it would take from there.
"""

import pyro
import pytest
import torch
from pyro import distributions as dist
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pyro_ssl import Augmentation, Consistency
from pyro_ssl.data import SSLData
from pyro_ssl.infer import FitConfig, Objective
from pyro_ssl.infer.batches import MiniBatches
from pyro_ssl.infer.gradients import CompiledGradients, Gradients, Totals
from pyro_ssl.infer.optimiser import cap_gradients, make_optimiser, set_learning_rate
from pyro_ssl.models import M2, VAE, BernoulliVAE
from pyro_ssl.models.rows import Batch
from tests.infer.ensembles import MODELS as OF_ENSEMBLES
from tests.likelihoods.table import TABLE
from tests.models.test_any_likelihood import LIKELIHOODS, M2_SIZES, VAE_SIZES
from tests.models.test_base import MODELS as OF_EACH_CLASS

aten = torch.ops.aten
CASES = {
    **OF_EACH_CLASS,
    **{f"{name}, in an ensemble": OF_ENSEMBLES[name] for name in ("ConditionalM1M2", "NoisyM2")},
    **{
        f"BernoulliVAE by {name}": lambda name=name: BernoulliVAE(6, num_bits=3, estimator=name)
        for name in ("arm", "straight_through", "score_function")
    },
    **{
        f"M2 of {name}": lambda p_x=LIKELIHOODS[name][0]: M2(likelihood=p_x, **M2_SIZES)
        for name in ("mixed", "multinomial")
    },
    **{
        f"VAE of {name}": lambda family=family: VAE(**VAE_SIZES, likelihood=family.likelihood)
        for name, family in TABLE.items()
    },
}
READS = {"_local_scalar_dense", "is_nonzero", "nonzero", "equal", "masked_select", "_unique2"}
# What torch computes on a GPU without a look at it, but not of tensors without storage.
LIKE_FIRST = {aten._sample_dirichlet.default, aten._dirichlet_grad.default}
IN_PLACE = {aten._fused_adam_.tensor_lr}


class OnDevice(TorchDispatchMode):
    """Fails on operations that join the host and a device, or show the host a value."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in LIKE_FIRST:
            result = torch.empty_like(args[0])
        else:
            result = None if func in IN_PLACE else func(*args, **kwargs)
        assert func.overloadpacket.__name__ not in READS, f"{func} makes the host wait"
        tensors = [t for t in tree_leaves((args, kwargs, result)) if isinstance(t, torch.Tensor)]
        places = {t.device.type for t in tensors}
        assert len(places) < 2, f"{func} joins {' and '.join(sorted(places))}"
        return result


def moved(model, device):
    """The model with parameters and buffers without values, as if on a device."""
    for module in model.modules():
        for name, p in module._parameters.items():
            if p is not None:
                empty = torch.empty(p.shape, dtype=p.dtype, device=device)
                module._parameters[name] = nn.Parameter(empty, p.requires_grad)
        for name, b in module._buffers.items():
            if b is not None:
                module._buffers[name] = torch.empty(b.shape, dtype=b.dtype, device=device)
    return model.train()


def batches(model, device):
    xs = torch.rand(60, *model.input_shape, device=device)
    ys = torch.zeros(20, dtype=torch.float32 if model.real_labels else torch.int64, device=device)
    if getattr(model, "multi_label", False):
        ys = ys.unsqueeze(-1).expand(-1, model.num_classes)
    data = object.__new__(SSLData)
    for name, rows in (("labelled_xs", xs[:20]), ("labelled_ys", ys), ("unlabelled_xs", xs[20:])):
        object.__setattr__(data, name, rows)
    return MiniBatches(data, 20, 10, binarise=model.takes_pixels)


@pytest.fixture(autouse=True)
def as_in_fit():
    with pyro.validation_enabled(False), pyro.get_param_store().scope():
        yield


@pytest.mark.parametrize("name", CASES)
def test_no_step_copies_from_the_host_or_makes_it_wait(name):
    model = moved(CASES[name](), "meta")
    draws, objective = batches(model, "meta"), Objective(model, 20, 40)
    gradients, totals = Gradients(objective), Totals()
    with OnDevice():
        objective.advance()
        measured = gradients(draws.draw())
        cap_gradients(gradients.parameters, measured.norm, 1.0)
        totals.add(measured)
    assert any(p.grad is not None for p in model.parameters())


def test_augmented_and_consistent_steps_stay_on_the_device():
    model = moved(M2((1, 6, 5), 4, 2, (5,)), "meta")
    change = Augmentation(10, 0.1, 10, 0.1, flip=True, elastic=1.0, covered=0.2)
    objective = Objective(model, 20, 40, consistency=Consistency(change, aligned=True))
    draws = batches(model, "meta")
    draws.augmentation = change
    with OnDevice():
        assert "consistency" in Gradients(objective)(draws.draw()).names


@pytest.mark.parametrize("name", OF_EACH_CLASS)
def test_no_compiled_step_takes_anything_from_the_host(name):
    model = moved(OF_EACH_CLASS[name](), "meta")
    draws = batches(model, "meta")
    with OnDevice():
        graph, _ = CompiledGradients(Objective(model, 20, 40))._record(draws.draw())
    for node in graph.graph.nodes:
        values = tree_leaves(node.meta.get("val"))
        if node.op == "get_attr":
            values.append(getattr(graph, node.target))
        assert {v.device.type for v in values if isinstance(v, torch.Tensor)} <= {"meta"}, node


# Nothing fake can be given a provenance by Pyro, as the score function's ELBO does.
UNTRACKED = [name for name in CASES if "ApproxM2" not in name and "score_function" not in name]


@pytest.mark.parametrize("name", UNTRACKED)
def test_every_tensor_of_a_forward_pass_is_made_on_the_device_of_the_data(name):
    # Unlike on "meta", mixing devices is an error of torch's own.
    model = CASES[name]()
    with FakeTensorMode():
        draws = batches(moved(model, "cuda"), "cuda")
        order, position = draws._unlabelled_order
        assert order.device.type == position.device.type == "cuda"
        objective = Objective(model, 20, 40)
        with OnDevice():
            loss, terms = objective(draws.draw())
        assert {value.device.type for value in (loss, *terms.values())} == {"cuda"}


@pytest.mark.parametrize("name", ["adam", "rmsprop"])
def test_no_move_of_the_weights_takes_anything_from_the_host(name):
    # The constructor looks at the step size, the step does not.
    here = nn.Parameter(torch.empty(3, 2))
    optimiser = make_optimiser([here], FitConfig(optimiser=name), here.device)
    with FakeTensorMode():
        weights = [nn.Parameter(torch.empty(3, 2, device="cuda")) for _ in range(2)]
        group = optimiser.param_groups[0]
        group["params"], group["lr"] = weights, torch.empty((), device="cuda")
        for weight in weights:
            weight.grad = torch.empty_like(weight)
        with OnDevice():
            set_learning_rate(optimiser, 0.1)
            for _ in range(2):
                optimiser.step()


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU joins what stand-ins refuse to")
def test_the_look_out_sees_what_it_is_for():
    with FakeTensorMode(), OnDevice():
        xs = torch.empty(3, device="cuda")
        on = torch.where(xs * 2.0 + 1 > 0, xs, 0.0) > 0
        for function in (
            lambda: dist.Normal(xs, 0.5),
            lambda: torch.tensor(0.5, device="cuda"),
            lambda: xs + torch.ones(()),
            lambda: xs.to("cpu"),
            lambda: xs.__setitem__(on, 1.0),
        ):
            with pytest.raises(AssertionError, match="joins cpu and cuda"):
                function()
    with OnDevice(), pytest.raises(RuntimeError, match="meta"):
        torch.empty((), device="meta").item()


def test_batches_of_these_tests_have_both_kinds():
    batch = batches(OF_EACH_CLASS["M2"](), "meta").draw()
    assert isinstance(batch, Batch)
    assert (len(batch.xs), batch.num_labelled) == (30, 10)
