"""The whole page: one file without any address, whose scripts are named by their digests in its policy."""

import base64
import hashlib
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from runner.reports.html.markup import Content, Markup, json_block, tag, text

VENDORED = ("vega.min.js", "vega-lite.min.js", "vega-embed.min.js")
"""The scripts of others, in ``vendored/``. `tools/vendor_vega.py` fetches them."""


def page(title: str, content: Content, plots: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the page.

    Args:
        title: what it is of.
        content: all that is in it; each plot as ``<div class="plot" id="NAME">``.
        plots: Vega-Lite specifications by name.
    """
    folder = files("runner.reports.html")
    scripts = [(folder / "vendored" / name).read_text("utf-8") for name in VENDORED] if plots else []
    scripts.append((folder / "assets" / "page.js").read_text("utf-8"))
    style = (folder / "assets" / "page.css").read_text("utf-8")
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes)
    policy = (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )
    head = (
        Markup('<meta charset="utf-8">'),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
        Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Markup('<link rel="icon" href="data:,">'),
        tag("title", title),
        Markup(f"<style>{style}</style>"),
    )
    end = [json_block("plots", plots) if plots else None, *(Markup(f"<script>{script}</script>") for script in scripts)]
    body = tag("body", tag("main", tag("h1", title), content), end)
    return f'<!doctype html>\n<html lang="en">{tag("head", head)}{text(body)}</html>\n'
