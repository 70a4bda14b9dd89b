import numpy as np
import pytest

from pyro_ssl.infer.ensemble import EnsembleConfig, _Schedule
from pyro_ssl.report.training import fall_of


def trained(max_steps, min_steps, best):
    """Checks, steps, reason and the step of the fall, of a measure that rises until `best`."""
    schedule = _Schedule(EnsembleConfig(max_steps=max_steps, min_steps=min_steps))
    checks, made = [], 0
    while made < schedule.end:
        made = schedule.next_steps(made)[-1] + 1
        checks.append(made)
        schedule.advance(made, None if best is None else float(-abs(made - best)))
    return checks, made, schedule.reason, schedule._falls_from


@pytest.mark.parametrize("best", [None, 1, 450, 10_000])
@pytest.mark.parametrize("min_steps", [0, 400])
def test_the_fall_is_where_the_schedule_had_it(min_steps, best):
    reasons = set()
    for max_steps in [2, 3, 20, 99, 100, 101, 151, *np.arange(300, 2000, 70).tolist()]:
        checks, made, why, falls_from = trained(max_steps, min_steps, best)
        assert fall_of(checks, made, why) == falls_from
        reasons.add(why)
    assert reasons == (
        {"max_steps"} if best in (None, 10_000) else {"max_steps", "no better measure"}
    )


def test_one_step_has_no_fall():
    assert fall_of(*trained(1, 0, None)[:3]) is None
