"""What a reader can do with a plot in the page. Pictures are made of the same specifications without it.

Whether a trial is shown or dimmed is not left to Vega: it would compute all of a plot anew for each movement of a
pointer. assets/page.js gives the shapes of a trial a class.
"""

from collections.abc import Mapping
from typing import Any

_ZOOM = {
    "name": "zoom",
    "select": {"type": "interval", "zoom": "wheel![event.ctrlKey || event.shiftKey]"},
    "bind": "scales",
}
_BRUSH = {"name": "brush", "select": {"type": "interval", "zoom": False}}


def zoomable(specification: Mapping[str, Any]) -> dict[str, Any]:
    """Return the plot with axes that move and zoom.

    Dragging moves them, the wheel zooms with Ctrl or Shift (without, the page scrolls), a double click goes back.
    """
    return _with_param(specification, _ZOOM)


def brushable(specification: Mapping[str, Any]) -> dict[str, Any]:
    """Return parallel coordinates in which dragging over an axis chooses the trials that pass there."""
    return _with_param(specification, _BRUSH)


def _with_param(specification: Mapping[str, Any], param: Mapping[str, Any]) -> dict[str, Any]:
    first, *others = specification["layer"]
    return {**specification, "layer": [{**first, "params": [param]}, *others]}
