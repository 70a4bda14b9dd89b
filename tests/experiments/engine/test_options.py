from dataclasses import dataclass

from experiments.engine.options import RunOptions, option, options_for, recorded_options


@dataclass(frozen=True)
class Common(RunOptions):
    width: int = option(3, recorded_as=str)
    rate: float = 0.1
    depth: int = option(1, recorded=lambda config: config.width > 3)
    noise: float = option(0.5, models=("vae",))
    vae_rate: float = option(0.2, models=("vae",), in_place_of="rate")
    pictures: bool = option(True, recorded=False)


@dataclass(frozen=True)
class Other(Common):
    width: int = 5
    pictures: bool = False


RUN = {"precision": "auto", "tag": None}


def test_what_is_recorded_is_said_where_an_option_is_declared():
    assert recorded_options(Common(), "m2") == RUN | {"width": "3", "rate": 0.1}
    found = recorded_options(Common(), "vae")
    assert found == RUN | {"width": "3", "noise": 0.5, "vae_rate": 0.2}
    assert list(found) == [*RUN, "width", "noise", "vae_rate"]


def test_another_default_keeps_the_rules():
    assert recorded_options(Other(), "m2") == RUN | {"width": "5", "rate": 0.1, "depth": 1}


def test_a_model_has_its_own_option_in_place_of_the_common_one():
    assert options_for(Common(), "vae") == Common(rate=0.2)
    config = Common()
    assert options_for(config, "m2") is config
