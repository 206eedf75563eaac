"""One kind of error of a library."""

from dataclasses import dataclass

MODEL = "model.model_name_or_path"
"""The setting that most errors about a model's files are about."""


@dataclass(frozen=True)
class Row:
    """One kind of error."""

    types: tuple[str, ...]
    """Names of classes: the error is of one of them or of one made from it."""
    words: str
    """A regular expression that the message contains."""
    what: str
    """What is wrong; ``{0}`` is the first group of `words`, ``{message}`` the message."""
    where: str
    """The setting; empty: the section whose settings the innermost of the known files reads."""
    remedy: str
    """What to write or do instead; groups are filled in as in `what`."""
    file: str = ""
    """Part of the path of the file that raises it."""
    through: str = ""
    """Part of the path of a file that the error comes through."""
