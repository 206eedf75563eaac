"""Text of others on a terminal: nothing in it may move the cursor, set a title or change what is read."""

import re
from unicodedata import category

_COLOR = re.compile(r"\x1b\[[0-9;:]{0,30}m")
_JOINERS = "\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}"


def printable(text: str) -> str:
    """Return text in one line, with a replacement character for each that a terminal would act on."""
    return text if text.isprintable() else visible(" ".join(text.split()))


def visible(text: str) -> str:
    """Return text with its line breaks and tabs, and a replacement character for each other that a terminal acts on.

    Those are control characters, and marks that change the direction of what is read. Colors are left out.
    """
    if text.isprintable():
        return text
    plain = _COLOR.sub("", text).replace("\r\n", "\n")
    return "\n".join(line if line.isprintable() else _replaced(line) for line in plain.split("\n"))


def _replaced(line: str) -> str:
    return "".join(letter if _is_harmless(letter) else "\N{REPLACEMENT CHARACTER}" for letter in line)


def _is_harmless(letter: str) -> bool:
    return letter.isprintable() or letter == "\t" or letter in _JOINERS or category(letter) == "Zs"
