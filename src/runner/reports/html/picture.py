"""The report's main plots as one picture, for a README or a slide."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from runner.distribution import install_command
from runner.errors import UserError
from runner.redaction import hide_tokens
from runner.terminal import visible

_VEGA_LITE = "6.4"
"""The version whose specifications the page's scripts draw too (vendored/scripts.json)."""
_WIDTH, _COLUMNS = 420, 2
_SCALE = 2.0
"""Pixels of a PNG for each unit of a plot."""
_LINE = 100
"""Characters of the title's lines."""
_COLORS = {"var(--ink)": "#1c1e21", "var(--quiet)": "#666b73", "var(--line)": "#dfe2e6"}
"""Those of assets/page.css in the light: a picture has no style sheet."""
_OWN = ("$schema", "background", "width", "config", "autosize")
"""What is said once for a whole picture."""


def picture(title: str, plots: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return a Vega-Lite specification of several plots beside and below each other.

    Args:
        title: what they are of.
        plots: at least one, by name; as the page has them, without what a reader can do with them.
    """
    parts = [_part(specification) for specification in plots.values()]
    config = next(iter(plots.values()))["config"]
    made: dict[str, Any] = {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "background": "white",
        "padding": 16,
        "title": {"text": _lines(visible(hide_tokens(title))), "anchor": "start", "fontSize": 14, "offset": 12},
        "concat": parts,
        "columns": min(_COLUMNS, len(parts)),
        "resolve": {"scale": {"color": "independent"}},
        "config": config,
    }
    text = json.dumps(made)
    for name, color in _COLORS.items():
        text = text.replace(f'"{name}"', f'"{color}"')
    colored: dict[str, Any] = json.loads(text)
    return colored


def png(specification: Mapping[str, Any]) -> bytes:
    """Return a picture as a PNG file.

    Raises:
        UserError: the extra `report` is not installed.
    """
    drawn: bytes = _converter("--png").vegalite_to_png(
        dict(specification), vl_version=_VEGA_LITE, scale=_SCALE, allowed_base_urls=[]
    )
    return drawn


def svg(specification: Mapping[str, Any]) -> bytes:
    """Return a picture as an SVG file.

    Raises:
        UserError: the extra `report` is not installed.
    """
    drawn: str = _converter("--svg").vegalite_to_svg(dict(specification), vl_version=_VEGA_LITE, allowed_base_urls=[])
    return drawn.encode()


def _converter(option: str) -> Any:
    try:
        import vl_convert
    except ImportError as error:
        missing = "it needs the extra `report`, which is not installed"
        raise UserError(missing, where=option, remedy=install_command("report")) from error
    return vl_convert


def _part(specification: Mapping[str, Any]) -> dict[str, Any]:
    part = {name: value for name, value in specification.items() if name not in _OWN}
    return {"title": {"text": specification["description"], "anchor": "start", "fontSize": 11}, "width": _WIDTH, **part}


def _lines(text: str) -> Sequence[str]:
    """A text in lines that fit a picture of one column."""
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + 1 + len(word) > _LINE:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines
