"""The whole page: one file without any address, whose scripts are named by their digests in its policy."""

import base64
import hashlib
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from runner.reports.html.markup import Content, Markup, json_block, tag, text

_SCRIPTS = ("vega.min.js", "vega-lite.min.js", "vega-embed.min.js")
_STYLE = """
:root{color-scheme:light dark;--ink:#1c1e21;--quiet:#666b73;--line:#dfe2e6;--back:#fff}
@media (prefers-color-scheme:dark){:root{--ink:#e6e7e9;--quiet:#9aa1ab;--line:#33373d;--back:#15171a}}
body{margin:0 auto;padding:1.5rem 1rem 4rem;max-width:64rem;background:var(--back);color:var(--ink);
font:15px/1.5 system-ui,sans-serif;overflow-wrap:anywhere}
h1{font-size:1.5rem;margin:0}h2{font-size:1.05rem;margin:2.5rem 0 .5rem}h3{font-size:.9rem;margin:1rem 0 .25rem}
p{margin:.25rem 0;color:var(--quiet)}dl{display:flex;flex-wrap:wrap;gap:.5rem 2rem;margin:1rem 0}
dt{color:var(--quiet);font-size:.8rem}dd{margin:0;font-size:1.2rem;font-variant-numeric:tabular-nums}
table{border-collapse:collapse;width:100%;font-size:.85rem}caption{text-align:left;color:var(--quiet)}
th,td{text-align:left;vertical-align:top;font-weight:400;
padding:.3rem .6rem .3rem 0;border-bottom:1px solid var(--line);white-space:pre-wrap}
thead th{color:var(--quiet)}.wide{overflow-x:auto}.wide th,.wide td{overflow-wrap:normal}
.even{table-layout:fixed}
.number{text-align:right;font-variant-numeric:tabular-nums}
figure{margin:1rem 0}.plot{width:100%}.plot svg{max-width:100%}summary{cursor:pointer;color:var(--quiet)}
:focus-visible{outline:2px solid #4c78d0;outline-offset:2px}
@media screen and (max-width:640px){thead{display:none}tr,th,td{display:block;text-align:left}.number{text-align:left}
tr{border-bottom:1px solid var(--line);padding:.4rem 0}th,td{border:0;padding:.1rem 0}
td::before,tbody th:not([data-label=""])::before{content:attr(data-label) ": ";color:var(--quiet)}}
@media print{:root{color-scheme:light;--ink:#000;--quiet:#444;--line:#ccc;--back:#fff}
body{max-width:none;padding:0;font-size:10pt}h1{font-size:15pt}h2{margin-top:1.2rem;break-after:avoid}
figure,tr,dl{break-inside:avoid}thead{display:table-header-group}.wide{overflow:visible}.plot svg{height:auto}
details:not([open]){display:none}}
"""
_DRAW = """
(() => {
  const all = JSON.parse(document.getElementById("plots").textContent);
  for (const element of document.querySelectorAll(".plot")) {
    vegaEmbed(element, all[element.id], {ast: true, actions: false, renderer: "svg", defaultStyle: false});
  }
})();
"""


def page(title: str, content: Content, plots: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the page.

    Args:
        title: what it is of.
        content: all that is in it; each plot as ``<div class="plot" id="NAME">``.
        plots: Vega-Lite specifications by name.
    """
    folder = files("runner.reports.html") / "vendored"
    scripts = [*((folder / name).read_text("utf-8") for name in _SCRIPTS), _DRAW] if plots else []
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes) or "'none'"
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
        Markup(f"<style>{_STYLE}</style>"),
    )
    end = [json_block("plots", plots), *(Markup(f"<script>{script}</script>") for script in scripts)] if plots else []
    body = tag("body", tag("main", tag("h1", title), content), end)
    return f'<!doctype html>\n<html lang="en">{tag("head", head)}{text(body)}</html>\n'
