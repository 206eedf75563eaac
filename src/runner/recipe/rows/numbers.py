"""Numbers of a JSON file that remember how they are written."""

import json
from typing import Any


class WrittenFloat(float):
    """A number that is shown as it is written in the file: ``1.50``, ``1e3``. It counts and compares as a float."""

    __slots__ = ("written",)

    written: str
    """Its text in the file."""

    def __new__(cls, written: str) -> "WrittenFloat":
        """Return the number that a text is."""
        number = super().__new__(cls, written)
        number.written = written
        return number

    def __str__(self) -> str:
        """Return the text in the file."""
        return self.written

    def __reduce__(self) -> tuple[Any, ...]:
        """Return what copies and pickles are made from."""
        return WrittenFloat, (self.written,)


def written_text(value: Any) -> str:
    """Return a cell as text: text as it is, a number as it is written in its file, anything else as JSON."""
    return str(value) if isinstance(value, str | WrittenFloat) else json.dumps(value, ensure_ascii=False, default=str)
