"""Tracebacks for people: the frames of libraries, which say nothing about a mistake in one's own code, are left out."""

import itertools
import re
from collections.abc import Sequence
from pathlib import Path

import runner

_FRAME = re.compile(r'(?P<indent> +)File "(?P<file>[^"]*)", line [0-9]+')
_LIBRARY = re.compile(r"/(site|dist)-packages/|/lib(64)?/python[0-9.]+/|<frozen |/torchinductor_")
_UPLOADED = re.compile(r'(?<=File ")[^"]*/inputs/[0-9a-f]{64}/(?=[^"/]+")')
_BEGIN = "Traceback (most recent call last):"


def without_libraries(lines: Sequence[str]) -> list[str]:
    """Return the lines of a log with each traceback's frames in libraries, Python and runner replaced by their number.

    A traceback all of whose frames are such keeps the last of them. Files that came with the recipe get their own name
    back, without the folder that they were fetched into.

    Args:
        lines: whole lines; a traceback whose beginning is missing is recognized by its frames.
    """
    ours = f"{Path(runner.__file__).parent}/"
    out: list[str] = []
    index = 0
    while index < len(lines):
        frames: list[tuple[bool, list[str]]] = []
        while index < len(lines) and (found := _FRAME.match(lines[index])) is not None:
            end = index + 1
            while end < len(lines) and lines[end].startswith(f"{found['indent']}  "):
                end += 1  # its source line, and the carets below
            file = found["file"]
            frames.append((bool(_LIBRARY.search(file)) or file.startswith(ours), list(lines[index:end])))
            index = end
        if frames:
            out += _shortened(frames)
        else:
            out.append(lines[index])
            index += 1
    return out


def last_of_log(lines: Sequence[str], most: int) -> list[str]:
    """Return at most so many last lines of a log without the frames of libraries; a last traceback from its beginning.

    Args:
        lines: the last lines of the log; more than `most`, since some are left out.
        most: how many to show.
    """
    short = without_libraries(lines)[-most:]
    begins = [index for index, line in enumerate(short) if line.endswith(_BEGIN)]
    return short[begins[0] :] if begins else short


def _shortened(frames: Sequence[tuple[bool, list[str]]]) -> list[str]:
    kept = [not of_library for of_library, _ in frames]
    if not any(kept):
        kept[-1] = True
    out: list[str] = []
    for left_out, group in itertools.groupby(zip(kept, frames, strict=True), key=lambda one: not one[0]):
        texts = [text for _, (_, text) in group]
        if left_out:
            out.append(f"  … {len(texts)} {'frame' if len(texts) == 1 else 'frames'} of libraries")
            continue
        for text in texts:
            out += [_UPLOADED.sub("", text[0]), *text[1:]]
    return out
