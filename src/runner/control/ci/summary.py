"""A run as Markdown, for the page of a job and for a comment: a table, what was required, and the curves."""

import html

from runner.control.results.gate import Gate
from runner.reports.drawing.curves import draw_metrics
from runner.reports.tables import duration, number
from runner.runs.measured.spending import in_dollars
from runner.runs.metrics import read_metrics
from runner.runs.status import RunStatus
from runner.storage.store import Store

_ROWS = ("eval_loss", "perplexity", "exact_match", "reward", "loss", "tokens")
_WIDTH, _HEIGHT = 76, 14
_FENCE = "`" * 4
_SIGNS = r"\`*_[]|@~"
"""Signs that Markdown or GitHub would make something of."""


def summarize(store: Store, status: RunStatus, gate: Gate | None) -> str:
    """Return a run as Markdown.

    Args:
        store: where it lives.
        status: the run's.
        gate: what was required; None: it has not ended.
    """
    verdict = "" if gate is None else ": passed" if gate.passed else ": did not pass"
    lines = [f"### {_text(status.recipe)} {status.shown_state}{verdict}", "", *_table(status, gate)]
    if status.reason and status.state != "succeeded":
        lines += ["", *_fenced(status.reason)]
    if gate is not None:
        lines += ["", "| | required | values |", "|---|---|---|"]
        lines += [
            f"| {'pass' if each.passed else '**FAIL**'} | {_text(each.requirement)} | {_text(each.detail)} |"
            for each in gate.checked
        ]
    records = read_metrics(store, status.run_id)
    if records:
        drawn = draw_metrics({status.run_id: records}, width=_WIDTH, height=_HEIGHT, plain=False, colors=False)
        lines += ["", *_fenced("\n".join("".join(text for text, _ in line).rstrip() for line in drawn))]
    return "\n".join(lines) + "\n"


def _table(status: RunStatus, gate: Gate | None) -> list[str]:
    values, others = (gate.values, gate.baseline_values) if gate is not None else ({}, {})
    steps = "" if status.step is None else f"{status.step} of {status.max_steps or '?'}"
    baseline = _text(gate.baseline) if gate is not None and gate.baseline else ""
    rows = [("run", f"`{status.run_id}`", baseline), ("steps", steps, ""), ("attempts", str(status.attempts), "")]
    own, other = ({name: number(side[name]) for name in _ROWS if name in side} for side in (values, others))
    rows += [(name, own.get(name, ""), other.get(name, "")) for name in _ROWS if name in own or name in other]
    seconds = values.get("duration_seconds")
    rows.append(("time", duration(seconds) if isinstance(seconds, float) else "", ""))
    rows.append(("cost", "" if status.cost is None else in_dollars(status.cost), ""))
    lines = ["| | this run | baseline |", "|---|---|---|"] if others else ["| | this run |", "|---|---|"]
    for name, mine, its in rows:
        if mine or its:
            lines.append(f"| {name} | {mine} | {its} |" if others else f"| {name} | {mine} |")
    return lines


def _text(text: str) -> str:
    """Text in one line as Markdown shows it: as it is, whatever it holds."""
    plain = html.escape(" ".join(text.split()), quote=False)
    return "".join(f"&#{ord(sign)};" if sign in _SIGNS else sign for sign in plain)


def _fenced(text: str) -> list[str]:
    return [f"{_FENCE}text", text.replace(_FENCE, "`"), _FENCE]
