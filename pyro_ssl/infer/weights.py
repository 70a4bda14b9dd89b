"""Weights of rows and terms in an objective: handlers around a model and its guide."""

from collections.abc import Mapping
from typing import Annotated, Any

from pyro.poutine.messenger import Messenger
from torch import Tensor

from pyro_ssl.infer.annealing import site_keys
from pyro_ssl.models.rows import LABELLED, PLATES, UNLABELLED
from pyro_ssl.option_kinds import Range
from pyro_ssl.options import checked


class RowWeights(Messenger):
    """Makes the objective of a batch an unbiased estimate of the whole data's, per example.

    The data has N_l labelled and N_u unlabelled rows, N = N_l + N_u. A batch has B_l and B_u of
    them, drawn uniformly. Labelled rows weigh N_l / (B_l N) and unlabelled rows N_u / (B_u N). A
    term beside the bound (`add_term`; the classification term is one) weighs 1 / B_l or 1 / B_u
    instead: `alpha` is the weight of its mean over labelled rows, whatever their number.

    `fit` trains with these weights. Around a model and a guide, they give Pyro's own `SVI` the same
    objective::

        weighted = RowWeights(data.num_labelled, data.num_unlabelled)
        svi = SVI(weighted(m.model), weighted(m.guide), optimiser, m.make_elbo())

    With `equal`, the numbers of rows in the data do not matter: the bounds of labelled and of
    unlabelled rows weigh 1 / B_l and 1 / B_u, as if each kind were a data set of its own. The loss
    is then a sum of two means. If half of the data is labelled, it is twice the usual loss.

    The plates of the rows, `labelled_rows` and `unlabelled_rows` at dimension -1, tell them apart.

    Args:
        num_labelled: N_l, labelled rows in the whole data.
        num_unlabelled: N_u, unlabelled rows in the whole data.
        equal: weigh both bounds equally.
    """

    @checked
    def __init__(
        self,
        num_labelled: Annotated[int, Range(0)],
        num_unlabelled: Annotated[int, Range(0)],
        equal: bool = False,
    ) -> None:
        super().__init__()
        total = max(num_labelled + num_unlabelled, 1)
        self.shares: dict[str, Any] = {
            LABELLED: 1.0 if equal else num_labelled / total,
            UNLABELLED: 1.0 if equal else num_unlabelled / total,
        }

    def _pyro_sample(self, msg: Any) -> None:
        plate = next((f for f in msg["cond_indep_stack"] if f.name in PLATES), None)
        if plate is None:
            return
        share = self.share(PLATES[plate.name], msg["infer"])
        msg["scale"] = msg["scale"] * (share / plate.size)

    def share(self, kind: str, infer: Mapping[str, Any]) -> Any:
        """Return the weight of a site's mean over its rows.

        Args:
            kind: the rows' kind.
            infer: the site's `infer`, see `add_term`.
        """
        share = self.shares[kind]
        mean, bound = (infer.get(f"{of}_weight", 0.0) for of in ("mean", "bound"))
        if mean + bound > 0:
            share = (mean + bound * share) / (mean + bound)
        return share


class TermWeights(Messenger):
    """Pyro handler that scales annealed terms.

    Args:
        weights: factors, 0-dimensional, by keys of `FitConfig.anneal`; other keys have no effect.
    """

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.weights = weights

    def _pyro_sample(self, msg: Any) -> None:
        for key in site_keys(msg):
            if key in self.weights:
                msg["scale"] = msg["scale"] * self.weights[key]
