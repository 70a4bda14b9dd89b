"""The folder of a fitted model: how it is written atomically, and how it is read."""

import json
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyro_ssl.command.recipe import FORMAT, Recipe
from pyro_ssl.errors import CheckpointError, ConfigError, DataError, ResultsError
from pyro_ssl.files import write_text
from pyro_ssl.json_files import json_text, read_json
from pyro_ssl.locks import held
from pyro_ssl.reading import refusing
from pyro_ssl.versions import environment

if TYPE_CHECKING:
    from pyro_ssl.estimator import SemiSupervisedVAEClassifier

MODEL, DATA, HISTORY = "model.json", "data.json", "history.csv"
_RUN, _STATE, _NEW, _FORMER = "run.json", "training.pt", "new", "former"


@dataclass(frozen=True)
class FitFolder:
    """The intermediate files of a fit: a folder `NAME.partial` beside the model folder.

    It holds `run.json`, which identifies the fit, and the state of the training. At the end the
    model is written to a folder in it, which is then renamed to the model folder. If another model
    folder must be replaced, there are two renames; after a kill between them, both models are in
    the folder `NAME.partial`, as `new` and `former`.

    Attributes:
        model: the model folder.
        partial: the folder beside it.
        resume: whether to continue an earlier fit.
    """

    model: Path
    partial: Path
    resume: bool

    @property
    def state(self) -> Path:
        """The file of the training's state."""
        return self.partial / _STATE

    def begin(self, run: Mapping[str, Any]) -> None:
        """Store the values that identify the fit, or check that they equal the earlier fit's.

        Args:
            run: plain values by name.

        Raises:
            ConfigError: if the earlier fit, which should be continued, differs.
        """
        file = self.partial / _RUN
        if not (self.resume and file.exists()):
            write_text(json_text(run, file), file)
            return
        try:
            then = read_json(file)
        except CheckpointError as error:
            raise CheckpointError(
                f"{file} is damaged ({error}): delete {self.partial} to begin anew"
            ) from error
        differing = [name for name in run if then.get(name) != json.loads(json.dumps(run[name]))]
        if differing:
            raise ConfigError(
                f"{self.partial} is of a fit with other {', '.join(differing)}: give them as they "
                "were, or delete that folder to begin anew"
            )

    def finish(
        self, classifier: "SemiSupervisedVAEClassifier", recipe: Recipe, about: Mapping[str, Any]
    ) -> None:
        """Write the model folder.

        Args:
            classifier: the fitted classifier.
            recipe: how its data was read.
            about: further plain values about the data, including the number of `rows`.

        Raises:
            ResultsError: if a file cannot be written.
        """
        from pyro_ssl.report import write_report

        new, former = self.partial / _NEW, self.partial / _FORMER
        shutil.rmtree(new, ignore_errors=True)
        classifier.save(new)
        write_text(classifier.history_.to_csv(index=False), new / HISTORY)
        data = {"format": FORMAT, "reading": recipe.to_dict(), **about, "versions": environment()}
        write_text(json_text(data, new / DATA), new / DATA)
        try:
            if self.model.exists():
                self.model.rename(former)
            new.rename(self.model)
        except OSError as error:
            raise ResultsError(f"{self.model} cannot be written: {error}") from error
        shutil.rmtree(self.partial, ignore_errors=True)
        # Last, since it reads the finished model: an error in it cannot cost the model.
        write_report(self.model, classifier, rows=about["rows"])


@contextmanager
def fit_folder(model: Path, resume: bool, overwrite: bool) -> Iterator[FitFolder]:
    """Yield the folders of a fit, and leave no `NAME.partial` behind unless a fit can continue.

    Raises:
        ResultsError: if the model folder or an unfinished fit is in the way, or nothing can be
            written there.
    """
    if not model.name or model.name == "..":
        raise ResultsError(f"out is {model}, expected the name of a folder to make")
    partial = model.with_name(f"{model.name}.partial")
    _check_free(model, overwrite)
    with held(model.with_name(f".{model.name}.lock"), str(partial)):
        yield from _locked_folder(model, partial, resume)


def _locked_folder(model: Path, partial: Path, resume: bool) -> Iterator[FitFolder]:
    """Do the work of `fit_folder`, after all other processes are locked out."""
    if partial.exists() and not resume:
        raise ResultsError(
            f"{partial} is left from a fit that was cut short: use --resume to continue it, or "
            "delete it to start anew"
        )
    try:
        partial.mkdir(parents=True, exist_ok=True)
        (partial / ".writable").touch()
        (partial / ".writable").unlink()
    except OSError as error:
        raise ResultsError(f"{partial} cannot be written: {error}") from error
    folder = FitFolder(model, partial, resume)
    try:
        yield folder
    except BaseException as error:
        # An interrupted training can continue; after an error it would only fail again.
        cut_short = not isinstance(error, Exception)
        if not (folder.state.exists() and (cut_short or resume)):
            shutil.rmtree(partial, ignore_errors=True)
        elif cut_short:
            warnings.warn(f"{partial} keeps the training: --resume continues it", stacklevel=2)
        raise


def load_model(path: Path) -> tuple["SemiSupervisedVAEClassifier", Recipe]:
    """Return a classifier, and how its data was read.

    Raises:
        CheckpointError: if the folder is missing or damaged, or `fit` did not write it.
    """
    from pyro_ssl.estimator import SemiSupervisedVAEClassifier

    file = path / DATA
    state = read_json(file, "expected a model folder that pyro-ssl fit wrote")
    if state.get("format") != FORMAT:
        raise CheckpointError(f"{file} has no format {FORMAT!r}: upgrade pyro_ssl, or fit again")
    with refusing(file):
        recipe = Recipe.from_dict(state.get("reading"))
    classifier = SemiSupervisedVAEClassifier.load(path)
    trained = list(map(str, getattr(classifier, "feature_names_in_", ())))
    if trained != list(recipe.columns):
        raise CheckpointError(
            f"{file} has the columns {', '.join(recipe.columns) or 'none'}, but the model was "
            f"trained on {', '.join(trained) or 'none'}: one of its files is damaged; fit again"
        )
    return classifier, recipe


def _check_free(model: Path, overwrite: bool) -> None:
    if not model.exists() or (model.is_dir() and not any(model.iterdir())):
        return
    if not (model / MODEL).exists():
        raise ResultsError(
            f"{model} exists, and is not a model folder: give another name, or move it away"
        )
    if not overwrite:
        raise ResultsError(
            f"{model} holds a model: use --overwrite to replace it, or give another name"
        )


def checked_output(out: Path, data: Path) -> Path:
    """Return the file to write, after checking that it is not one of the files to read.

    Raises:
        DataError: if writing it would destroy the data.
    """
    if out.exists() and data.exists() and out.samefile(data):
        raise DataError(f"{out} is the data itself: give another file for the output")
    if out.is_dir():
        raise ResultsError(f"{out} is a folder, expected a file's name")
    return out
