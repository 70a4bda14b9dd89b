"""Options become what their annotations say, in Python's own types, or are refused in our words."""

import dataclasses
import enum
import fractions
import inspect
import json
import math
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import pandas as pd
import pytest
import torch
from typing_extensions import TypeAliasType

from pyro_ssl import M2, VAE, Anneal, FitConfig, Gaussian, GeneCounts, Mixed, SSLData, fit
from pyro_ssl.data import split_labels
from pyro_ssl.elbos import RaoBlackwell_ELBO
from pyro_ssl.errors import ConfigError, DataError
from pyro_ssl.infer import load_model, save_model
from pyro_ssl.infer.ensemble import EnsembleConfig
from pyro_ssl.metrics import importance_weighted_bound
from pyro_ssl.models import BitMixture, MultiLabelM2
from pyro_ssl.nets import MLP
from pyro_ssl.option_kinds import Dropout, NotNegative, OneOf, Positive, Range, Shape, Size
from pyro_ssl.options import check_fields, checked, converted


class Whole(enum.IntEnum):
    THREE = 3


class Word(str, enum.Enum):
    RELU = "relu"


WHOLES = [
    3, np.int64(3), np.uint8(3), np.array(3), np.array(3, np.int16), torch.tensor(3),
    torch.tensor(3, dtype=torch.uint8), Whole.THREE,
]  # fmt: skip
NO_WHOLES = [
    3.0, 2.5, np.float64(3), math.nan, True, np.bool_(True), torch.tensor(True), "3", b"3", 10**20,
    -(10**20), None, {}, [3], (3,), np.array([3]), torch.tensor([3]), int, lambda: 3, 3j,
    fractions.Fraction(3), torch.tensor(3.0), torch.zeros((), device="meta"),
]  # fmt: skip


Codes = TypeAliasType("Codes", np.ndarray)
Words = TypeAliasType("Words", tuple[str, ...])


def test_aliases_are_what_they_stand_for():
    # From NumPy 2.5 on, NDArray is such an alias.
    array = np.zeros(2)
    assert converted("codes", array, Codes) is array
    with pytest.raises(DataError, match="codes is None"):
        converted("codes", None, Codes)
    assert converted("words", ["a", "b"], Words) == ("a", "b")
    assert converted("words", None, Words | None) is None
    assert converted("words", ["a"], Annotated[Words, "words"]) == ("a",)
    with pytest.raises(ConfigError, match="words"):
        converted("words", [1], Annotated[Words, "words"])


@pytest.mark.parametrize("value", WHOLES, ids=repr)
def test_whole_numbers_of_any_library_become_ints(value):
    found = converted("n", value, int)
    assert (found, type(found)) == (3, int)


@pytest.mark.parametrize("value", NO_WHOLES, ids=lambda value: f"{value}".partition(" at ")[0])
def test_what_is_no_whole_number_is_none(value):
    with pytest.raises(ConfigError, match=r"^n is .*expected (a whole number|a dense tensor)"):
        converted("n", value, int)


@pytest.mark.parametrize(
    "value",
    [0.5, np.float32(0.5), np.float64(0.5), np.longdouble(0.5), np.array(0.5), torch.tensor(0.5),
     torch.tensor(0.5, dtype=torch.bfloat16), fractions.Fraction(1, 2)],
    ids=repr,
)  # fmt: skip
def test_numbers_of_any_library_become_floats(value):
    found = converted("n", value, float)
    assert (found, type(found)) == (0.5, float)


def test_an_int_stays_one_where_a_float_is_expected():
    # Files of earlier runs hold it so.
    assert type(converted("n", 3, float)) is int
    assert type(converted("n", np.int64(3), float)) is int


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e300, 1e-300, 10**400, True, "1", None])
def test_numbers_that_no_model_could_compute_with_are_refused(value):
    with pytest.raises(ConfigError, match=r"^n is "):
        converted("n", value, float)


@pytest.mark.parametrize("value", [True, np.True_, torch.tensor(True), np.array(True)], ids=repr)
def test_bools(value):
    assert converted("b", value, bool) is True
    for other in (1, 0.0, "True", None, [True]):
        with pytest.raises(ConfigError, match="expected True or False"):
            converted("b", other, bool)


@pytest.mark.parametrize("value", ["relu", np.str_("relu"), Word.RELU], ids=repr)
def test_strings(value):
    found = converted("s", value, str)
    assert (found, type(found)) == ("relu", str)
    with pytest.raises(ConfigError, match="expected a string"):
        converted("s", b"relu", str)


@pytest.mark.parametrize(
    "value",
    [(3, 4), [3, 4], range(3, 5), np.array([3, 4]), torch.tensor([3, 4]), pd.Series([3, 4]),
     torch.Size([3, 4]), [np.int64(3), torch.tensor(4)]],
    ids=repr,
)  # fmt: skip
@pytest.mark.parametrize("kind", [Sequence[int], tuple[int, ...], tuple[int, int], Shape])
def test_sequences_become_tuples_of_pythons_own(value, kind):
    found = converted("t", value, kind)
    assert found == (3, 4)
    assert [type(found), *map(type, found)] == [tuple, int, int]


@pytest.mark.parametrize("value", ["34", b"34", {3, 4}, {3: 4}, 3, None, list, torch.tensor(3)])
def test_what_is_no_sequence_is_refused(value):
    with pytest.raises(ConfigError, match="expected a tuple, of which each is a whole number"):
        converted("t", value, Sequence[int])


def test_a_value_within_a_tuple_or_a_dict_is_named_by_its_place():
    with pytest.raises(ConfigError, match=r"t\[1\] is -1, expected a whole number, at least 1"):
        converted("t", [3, -1], Sequence[Size] | None)
    with pytest.raises(ConfigError, match=r"t\[1\]\[0\] is 'a', expected a number"):
        converted("t", [[1.0], ["a"]], Sequence[Sequence[float]])
    with pytest.raises(ConfigError, match=r"w\['z'\] is -1, expected a number, at least 0"):
        converted("w", {"z": -1}, Mapping[str, NotNegative])
    with pytest.raises(ConfigError, match=r"w, one of its keys, is 3, expected a string"):
        converted("w", {3: 1}, Mapping[str, float])


def test_mappings_are_copies_of_pythons_own():
    given = types.MappingProxyType({np.str_("z"): np.float32(2)})
    found = converted("w", given, Mapping[str, float])
    assert json.dumps(found) == '{"z": 2.0}'
    assert [type(key) for key in found] == [str]


def test_sets_have_no_order_but_are_iterables():
    assert set(converted("s", {"a", "b"}, Iterable[str])) == {"a", "b"}


def test_ranges_say_what_was_expected():
    for kind, value, words in (
        (Size, 0, "a whole number, at least 1"),
        (Size, 2**31, "a whole number, at least 1, at most 2147483647"),
        (Size | None, 0, "a whole number, at least 1, or None"),
        (Positive, 0, "a positive number"),
        (Positive, 1e40, "a positive number of a size that float32 can hold"),
        (Dropout, 1, "a number, at least 0, below 1"),
        (Annotated[int, Range(2)], 10**20, "a whole number, at least 2, in 64 bits"),
        (Annotated[str, OneOf(("a", "b"))], "c", "one of a, b"),
        (Annotated[str | None, OneOf(("a", "b"))], 3, "one of a, b, or None"),
        (Shape, (), "a tuple, not empty, of which each is a whole number, at least 1"),
        (Anneal, {}, "an Anneal"),
        (Callable[[], None] | None, 3, "a function, or None"),
        (type[VAE], M2, "a class"),
        (Mapping[str, int], [], "a dict"),
    ):
        with pytest.raises(ConfigError) as caught:
            converted("o", value, kind)
        assert str(caught.value).endswith(f", expected {words}")


def test_tensors_are_data():
    for value in (3, None, [1.0], np.zeros(2)):
        with pytest.raises(DataError, match=r"xs is .*expected a Tensor"):
            converted("xs", value, torch.Tensor)
    for value in (torch.zeros(2, device="meta"), torch.zeros(2).to_sparse()):
        with pytest.raises(DataError, match="expected a dense tensor with values"):
            converted("xs", value, torch.Tensor)


def test_errors_show_any_value_in_a_line():
    class Hostile:
        def __repr__(self):
            raise RuntimeError("no")

    for value in (Hostile(), 10**5000, "a\nb" * 500, torch.zeros(300, 300), torch.nn.Linear(2, 2)):
        with pytest.raises(ConfigError) as caught:
            converted("o", value, bool)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 200


def test_checked_keeps_a_functions_signature_and_pythons_own_errors():
    @checked
    def function(number: Size, *rest: int, flag: bool = False, **others: Any) -> Any:
        """Doc."""
        return number, rest, flag, others

    assert function.__doc__ == "Doc."
    assert list(inspect.signature(function).parameters) == ["number", "rest", "flag", "others"]
    assert function(np.int64(3), "a", flag=np.True_, other="b") == (3, ("a",), True, {"other": "b"})
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'number'"):
        function()
    with pytest.raises(
        TypeError, match=r"M2.__init__\(\) got an unexpected keyword .*'num_clases'"
    ):
        M2(num_clases=3)


def test_checked_says_so_where_there_is_not_so_much_memory():
    with pytest.raises(ConfigError, match=r"MLP needs more memory than there is"):
        MLP(2**31 - 1, (2**31 - 1,), 2)


def test_checked_leaves_other_errors_alone():
    @checked
    def function(number: int) -> None:
        raise RuntimeError("of somebody else")

    with pytest.raises(RuntimeError, match="of somebody else"):
        function(3)


def test_annotations_that_cannot_be_resolved_check_nothing():
    @dataclasses.dataclass(frozen=True)
    class Own:
        value: "Unknown"  # noqa: F821

        def __post_init__(self):
            check_fields(self)

    assert Own(np.int64(3)).value == 3
    assert type(Own(np.int64(3)).value) is int


# Where NumPy's numbers enter.
YS = np.array([0, 1, 2, 1, 0, -1, -1, -1])
XS = np.random.default_rng(0).random((8, 4)).astype(np.float32)


@pytest.mark.parametrize("make", [np.int64, np.array, torch.tensor], ids=lambda m: m.__name__)
def test_a_model_made_with_other_libraries_numbers_is_saved_and_loaded(make, tmp_path):
    model = M2(
        input_shape=[make(4)],
        num_classes=make(3),
        latent_dim=make(2),
        hidden_dims=np.array([3]),
        alpha=make(2),
        input_dropout=np.float32(0.25),
        activation=np.str_("relu"),
        batch_norm=np.bool_(True),
    )
    save_model(model, tmp_path / "model.pt")
    again = load_model(tmp_path / "model.pt")
    assert again.options == model.options
    assert json.loads(json.dumps({k: v for k, v in model.options.items() if k != "likelihood"}))


def test_a_run_configured_by_numpy_is_resumed(tmp_path):
    data = SSLData.from_arrays(XS, YS)
    for rate in np.logspace(-3, -2, 2):
        model, path = M2((4,), YS.max() + 1, 2, (3,)), tmp_path / f"{rate}.pt"
        options = {"learning_rate": rate, "batch_size": np.int32(3), "compile": np.str_("never")}
        config = FitConfig(epochs=np.int64(2), **options, anneal={"kl_z": Anneal(0, 1, np.int8(2))})
        fit(model, data, config, checkpoint=path)
        history = fit(model, data, config, checkpoint=path, resume=True)
        assert len(history.rows) == 2


def test_other_classes_take_numpys_numbers_too():
    assert EnsembleConfig(max_steps=np.int64(9)).max_steps == 9
    assert type(RaoBlackwell_ELBO(np.int64(1)).num_summed) is int
    assert type(Gaussian(torch.tensor(0.5)).scale) is float
    assert type(GeneCounts(np.array(100.0)).target) is float
    assert Mixed(np.array(["gaussian", "poisson"])).columns[0] == Gaussian()
    mixture = BitMixture(np.eye(2), scale=np.float32(0.5))
    assert mixture.options["initial_centres"] == ((1.0, 0.0), (0.0, 1.0))
    assert type(mixture.options["initial_centres"][0][0]) is float
    frequencies = MultiLabelM2(np.array([0.2, 0.3]), input_shape=(4,), num_classes=2).frequencies
    assert [type(f) for f in frequencies] == [float, float]
    split = split_labels(YS[:5], np.int64(3), np.int64(3), np.int64(0), np.uint8(0))
    assert len(split.labelled) == 3
    bound = importance_weighted_bound(VAE((4,), 2, (3,)), torch.tensor(XS), np.int64(2))
    assert bound.shape == (8,)
