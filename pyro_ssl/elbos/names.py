"""Names of terms in programs, reports and annealing.

A site of a program is `SITE`, or `labelled/SITE` and `unlabelled/SITE` in a call that mixes both
kinds of rows. In reports, the contribution of a site is `kl_SITE` or `log_prob_SITE`, with the kind
in front (`labelled_kl_z`); `FitConfig.anneal` takes the same names without the kind.
"""

LABELLED = "labelled"
UNLABELLED = "unlabelled"
KINDS = (LABELLED, UNLABELLED)

# The factor of a guide that trains the classifier: -log q(y|x) of labelled rows.
CLASSIFICATION = "classification"
# The factor that makes q(y|.) of a changed image that of the image.
CONSISTENCY = "consistency"
# The factor of a guide that trains the regressor: -log q(y|x) of real labels.
REGRESSION = "regression"
# The auxiliary site of a guide whose value multiplies the terms of its rows, in an ELBO.
WEIGHT = "weight"
# The bound, in reports.
ELBO = "elbo"
# The bound on log p(x, y) of rows with given labels, in reports.
JOINT_BOUND = "joint_bound"
# The mean of log q(y|x) of real labels, in reports.
LOG_Q_Y = "log_q_y"
# The penalty on the model's weights, in reports.
PENALTY = "penalty"
# The beginning of all names of measures on validation rows.
VALIDATION = "validation"
# All terms of a bound together, in annealing, by the kind of rows.
BOUNDS = {kind: f"{kind}_bound" for kind in KINDS}

_KL = "kl_"


def split_name(site: str) -> tuple[str, str]:
    """Return the kind of a site's rows, empty if a call has only one, and the rest of it."""
    part, _, own = site.rpartition("/")
    return part, own


def kind_of(site: str) -> str | None:
    """Return the kind of rows that a site's name begins with, or None."""
    part, slash, _ = site.partition("/")
    return part if slash and part in KINDS else None


def kl(site: str) -> str:
    """Return the name of a latent site's divergence."""
    return f"{_KL}{site}"


def log_prob(site: str) -> str:
    """Return the name of an observed site's log-probability."""
    return f"log_prob_{site}"


def is_kl(term: str) -> bool:
    """Return whether a term, or a factor of that name, is a divergence."""
    return term.startswith(_KL)


def reported(term: str, part: str) -> str:
    """Return a term's name in reports; `part` is a kind of rows, `VALIDATION`, or empty."""
    return f"{part}_{term}" if part else term


def kl_of_dimension(site: str, dimension: int | str) -> str:
    """Return the name of the divergence of one dimension of a latent, on validation rows."""
    return reported(f"{kl(site)}_{dimension}", VALIDATION)


def is_reported_kl(column: str) -> bool:
    """Return whether a column of a report is the divergence of a latent in training."""
    return any(column.startswith(reported(_KL, kind)) for kind in ("", *KINDS))
