"""How data was read for training, so that new data is read in the same way."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

from pyro_ssl.command.casting import TYPES
from pyro_ssl.command.options import MISSING, Applying, Reading
from pyro_ssl.errors import CheckpointError
from pyro_ssl.reading import check_kinds

FORMAT = "pyro_ssl data 1"

_TEXT = (str, type(None))
# The entries of the file, with their types.
_STATED: dict[str, Any] = {
    **dict.fromkeys(("label_column", "unlabelled", "separator", "encoding", "image_column"), _TEXT),
    **dict.fromkeys(("missing", "drop", "columns"), (list, tuple)),
    "kind": str,
    "image_size": (int, type(None)),
    "channels": int,
}


@dataclass(frozen=True)
class Recipe:
    """How rows are read; the options are those of the command `fit`.

    Attributes:
        kind: the kind of a row: columns of a table, a part of an array, or an image.
        columns: for a table, the type of each column that is learnt from, by name, in order; see
            `casting.TYPES`.
        channels: for images, 1 if all were grey, else 3.
    """

    kind: Literal["table", "array", "images"]
    label_column: str | None = None
    unlabelled: str | None = None
    missing: tuple[str, ...] = MISSING
    drop: tuple[str, ...] = ()
    separator: str | None = None
    encoding: str | None = None
    image_column: str | None = None
    image_size: int | None = None
    channels: int = 3
    columns: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, options: Reading, kind: Literal["table", "array", "images"]) -> "Recipe":
        """Return the recipe that the options of a command describe."""
        given = {f.name for f in fields(Reading)} & {f.name for f in fields(cls)}
        return cls(kind, **{name: getattr(options, name) for name in given})

    def changed(self, options: Applying) -> "Recipe":
        """Return the recipe with the options that a command states for another file."""
        names = ("separator", "encoding", "image_column", "label_column")
        stated = {n: v for n in names if (v := getattr(options, n, None)) is not None}
        return replace(self, **stated)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, for `from_dict`."""
        found = asdict(self)
        # A list of pairs keeps its order wherever it is read.
        return found | {"columns": [list(pair) for pair in self.columns.items()]}

    @classmethod
    def from_dict(cls, state: Any) -> "Recipe":
        """Return the recipe that `to_dict` describes.

        Raises:
            CheckpointError: if there are other keys, or values of other types.
        """
        if not isinstance(state, Mapping) or set(state) != {f.name for f in fields(cls)}:
            raise CheckpointError(
                "data.json does not say how the data was read: it is damaged, or of another "
                "version of pyro_ssl; fit again"
            )
        check_kinds(state, _STATED, "how the data was read")
        columns = dict(state["columns"])
        texts = [*state["missing"], *state["drop"], *columns]
        kinds = {state["kind"]} <= {"table", "array", "images"} and {*columns.values()} <= {*TYPES}
        if not (kinds and all(isinstance(text, str) for text in texts)):
            raise CheckpointError(
                "data.json has an impossible kind, columns or missing entries: "
                "it is damaged; fit again"
            )
        given = {k: tuple(v) if k in ("missing", "drop") else v for k, v in state.items()}
        return cls(**given | {"columns": columns})
