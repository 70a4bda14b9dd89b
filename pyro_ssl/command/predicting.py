"""The command `predict`: a label, probabilities and the novelty of each row."""

from typing import TYPE_CHECKING

import pandas as pd

from pyro_ssl.command.model_folder import checked_output, load_model
from pyro_ssl.command.options import Predict
from pyro_ssl.command.parts import Part
from pyro_ssl.command.sources import open_for_model
from pyro_ssl.command.writing import TABLES, check_suffix, table_writer
from pyro_ssl.errors import ConfigError

if TYPE_CHECKING:
    from pyro_ssl.estimator import SemiSupervisedVAEClassifier


def run(options: Predict) -> None:
    """Predict the rows of a file, in parts, and write the predictions to another file.

    Raises:
        PyroSSLError: if options, model, data or output are invalid.
    """
    check_suffix(options.out, TABLES)
    checked_output(options.out, options.data)
    classifier, recipe = load_model(options.model)
    source = open_for_model(recipe, options, id_column=options.id_column)
    with table_writer(options.out) as write:
        for part in source.parts():
            write(predictions(classifier, part))


def predictions(classifier: "SemiSupervisedVAEClassifier", part: Part) -> pd.DataFrame:
    """Return ids, label, a probability for each class, and novelty, for the rows of a part.

    Raises:
        ConfigError: if the id column has the name of another column of the result.
    """
    probabilities = classifier.predict_proba(part.rows)
    names = [f"probability_{label}" for label in classifier.classes_.tolist()]
    found = pd.DataFrame(probabilities, columns=names)
    found.insert(0, "label", classifier.classes_[probabilities.argmax(1)])
    found["novelty"] = classifier.novelty(part.rows)
    ids = part.ids.reset_index(drop=True)
    twice = [name for name in ids.columns if name in found.columns]
    if twice:
        raise ConfigError(
            f"id_column is {twice[0]!r}, which is also the name of a column of the predictions: "
            "rename it"
        )
    return pd.concat([ids, found], axis=1)
