"""Show rows of a recipe as they are trained on. Started by `runner preview`, which writes the recipe to its input.

``python -m runner.train.preview.run --rows 3 --measured 2000 --cache-dir DIR < recipe.json``
"""

import argparse
import dataclasses
import json
import logging
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from runner.errors import UserError
from runner.exit_codes import CTRL_C, MISTAKE, SUCCEEDED
from runner.recipe.recipe import Recipe
from runner.terminal import visible
from runner.train.agent.log import LOGGER, set_up_logging
from runner.train.loggers.libraries import quiet_libraries

if TYPE_CHECKING:
    from runner.train.preview.rows import Preview, PreviewRow

_log = logging.getLogger(f"{LOGGER}.run_preview")

_GREEN, _DIM, _PLAIN = "\x1b[32m", "\x1b[2m", "\x1b[0m"
_WIDTH = 40


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the rows of the recipe on standard input; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m runner.train.preview.run")
    parser.add_argument("--rows", type=int, default=3)
    parser.add_argument("--measured", type=int, default=2000)
    parser.add_argument("--cache-dir", type=Path, required=True)
    parser.add_argument("--color", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    recipe = Recipe.from_mapping(json.load(sys.stdin))
    set_up_logging(only_stderr=True)
    quiet_libraries()
    try:
        from runner.train.data.mixture import keep_temporary_files_in
        from runner.train.preview.rows import preview  # imports torch, which takes seconds

        with tempfile.TemporaryDirectory() as folder:
            keep_temporary_files_in(Path(folder))
            made = preview(recipe, count=options.rows, measured=options.measured, cache_dir=options.cache_dir)
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)  # as the command line prints it
        return MISTAKE
    except KeyboardInterrupt:
        return CTRL_C
    if options.json:
        print(json.dumps(dataclasses.asdict(made), ensure_ascii=False))
    else:
        print("\n".join(_lines(made, color=options.color)))
    return SUCCEEDED


def _lines(made: "Preview", *, color: bool) -> Iterator[str]:
    for row in made.rows:
        yield from _row(row, color=color)
    if not color and made.rows:
        yield "Between « and » is what the loss sees.\n"
    yield from _histogram(made)
    for note in made.notes:
        yield visible(note)


def _row(row: "PreviewRow", *, color: bool) -> Iterator[str]:
    yield f"{row.place}: {row.tokens} tokens, {row.learned} in the loss"
    texts = []
    for text, learned in row.parts:
        marks = ((_GREEN if learned else _DIM), _PLAIN) if color else (("«", "»") if learned else ("", ""))
        texts.append(f"{marks[0]}{visible(text)}{marks[1]}")
    yield "".join(texts) + "\n"


def _histogram(made: "Preview") -> Iterator[str]:
    """Yield the lengths of the measured rows, in steps that double."""
    measured = len(made.lengths)
    if not measured:
        return
    some = "" if measured >= made.of else f" of the first {measured:,} of {made.of:,} rows"
    yield f"Tokens{some}: {min(made.lengths)} to {max(made.lengths)}, {round(sum(made.lengths) / measured)} on average"
    counts: dict[int, int] = {}
    for length in made.lengths:
        bound = max(8, 1 << (length - 1).bit_length())
        counts[bound] = counts.get(bound, 0) + 1
    most = max(counts.values())
    bound = min(counts)
    while bound <= max(counts):
        count = counts.get(bound, 0)
        yield f"  up to {bound:>7,}  {'█' * max(count > 0, round(_WIDTH * count / most)):<{_WIDTH}}  {count:,}"
        bound *= 2
    if made.max_length is not None:
        yield f"{made.cut:,} of {measured:,} are cut at {made.max_length:,} tokens (training.max_length)."
    if made.empty:
        yield f"{made.empty:,} of {measured:,} are dropped: the loss would see nothing of them."


if __name__ == "__main__":
    sys.exit(main())
