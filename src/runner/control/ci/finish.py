"""What a CI job leaves of a run: files for people and for the system that runs the job."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.control.ci.summary import summarize
from runner.control.results.gate import SUCCEEDED, Gate, check, read_requirements
from runner.control.results.report import write_run_report
from runner.exit_codes import FAILED
from runner.runs.status import RunStatus, exit_code
from runner.storage.atomic import atomic_write
from runner.storage.manifest import Damaged
from runner.storage.store import Store

MARKER = "<!-- runner: {recipe} -->"
"""The first line of a comment's body: whoever posts it finds by it the comment of an earlier run of the recipe."""


@dataclass(frozen=True, kw_only=True)
class Finished:
    """What is known of a run at the end of a job."""

    status: RunStatus
    """The run's."""
    gate: Gate | None
    """What was required of it; None: it has not ended."""
    outputs: Mapping[str, str]
    """By the name of the action's output."""
    summary: str
    """In Markdown."""

    @property
    def exit_code(self) -> int:
        """The job's: 0 if all that is required holds; else the run's, or 1 if it succeeded."""
        if self.gate is None:
            return exit_code(self.status)
        return 0 if self.gate.passed else exit_code(self.status) or FAILED


def finish_job(
    store: Store,
    status: RunStatus,
    folder: Path,
    *,
    requirements: Sequence[str],
    baseline: str | None,
    say: Callable[[str], None],
) -> Finished:
    """Hold a run against requirements, and write what a job keeps to a folder.

    That is ``summary.md``, ``comment.md``, ``report.html`` and ``outputs.env``, and of a run that has ended also
    ``gate.xml`` (JUnit) and ``gate.json``.

    Args:
        store: where the run lives.
        status: the run's.
        folder: where the files go.
        requirements: as `runner gate` takes them; none: that it succeeded.
        baseline: what it is compared with.
        say: receives a sentence on records that cannot be read.

    Raises:
        UserError: a requirement or the baseline is wrong.
    """
    expressions = read_requirements(requirements or [SUCCEEDED], with_baseline=baseline is not None)
    gate = check(store, status, expressions, baseline) if status.terminal else None
    report = folder / "report.html"

    def on_damaged(run_id: str, error: Damaged) -> None:
        say(f"{run_id} is damaged in the store: {error}")

    write_run_report(store, status.run_id, report, on_damaged=on_damaged)
    summary = summarize(store, status, gate)
    outputs = run_outputs(status) | {"passed": "" if gate is None else str(gate.passed).lower(), "report": str(report)}
    texts = {"summary.md": summary, "comment.md": f"{MARKER.format(recipe=status.recipe)}\n{summary}"}
    texts["outputs.env"] = "".join(f"{name}={value}\n" for name, value in outputs.items())
    if gate is not None:
        texts["gate.json"] = json.dumps(gate.to_document(status.run_id), indent=2) + "\n"
        texts["gate.xml"] = gate.to_junit(status.run_id).decode()
    for name, text in texts.items():
        with atomic_write(folder / name) as part:
            part.write_text(text, encoding="utf-8")
    return Finished(status=status, gate=gate, outputs=outputs, summary=summary)


def run_outputs(status: RunStatus) -> dict[str, str]:
    """What later steps of a job are told of a run; empty: it is not known."""
    return {
        "run_id": status.run_id,
        "state": status.state,
        "eval_loss": "" if status.eval_loss is None else repr(status.eval_loss),
        "cost": "" if status.cost is None else repr(status.cost),
    }


def give_outputs(outputs: Mapping[str, str]) -> None:
    """Hand values to GitHub's later steps; nothing elsewhere."""
    _append("GITHUB_OUTPUT", "".join(f"{name}={' '.join(value.splitlines())}\n" for name, value in outputs.items()))


def give_summary(text: str) -> None:
    """Add Markdown to the summary that GitHub shows of the job; nothing elsewhere."""
    _append("GITHUB_STEP_SUMMARY", text)


def _append(variable: str, text: str) -> None:
    path = os.environ.get(variable)
    if path:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(text)
