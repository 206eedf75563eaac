"""The rows of a plain text file: each line is a text."""

from collections.abc import Iterator
from pathlib import Path

from runner.recipe.rows.text import read_text, whole_lines


def read_text_rows(path: Path, where: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield each line as the column ``text``, blank ones too, with its number.

    Raises:
        UserError: the file is not UTF-8 text.
        OSError: it cannot be read.
    """
    for first, block in whole_lines(read_text(path, where), where):
        for number, line in enumerate(block.removesuffix("\n").split("\n"), first):
            yield number, {"text": line}
