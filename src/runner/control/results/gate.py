"""Hold a run's results against requirements, and against a baseline."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from runner.control.results.gating.baseline import baseline_values
from runner.control.results.gating.expressions import Expression, NoValueError, Value, parse
from runner.control.results.gating.values import run_values
from runner.errors import UserError
from runner.recipe.suggestions import closest
from runner.reports.junit import Case, junit_xml
from runner.runs.status import RunStatus
from runner.storage.store import Store

SUCCEEDED = "state == 'succeeded'"
"""What is required of every run, unless a requirement looks at `state` itself."""
BASELINE = "baseline."
"""What names of the baseline begin with."""


@dataclass(frozen=True, kw_only=True)
class Checked:
    """A requirement, and what became of it."""

    requirement: str
    """The expression, as it was written."""
    passed: bool
    """Whether it holds."""
    detail: str
    """The values on both sides of its comparisons, or why it has none."""

    @property
    def line(self) -> str:
        """The one line about it."""
        return f"{'pass' if self.passed else 'FAIL'}  {self.requirement}  ({self.detail})"


@dataclass(frozen=True, kw_only=True)
class Gate:
    """What a gate found."""

    checked: tuple[Checked, ...]
    """Each requirement."""
    values: Mapping[str, Value]
    """The run's values by name; what was not a number is NaN."""
    baseline: str | None = None
    """What the baseline is called."""
    baseline_values: Mapping[str, Value] = field(default_factory=dict)
    """The baseline's values by name."""

    @property
    def passed(self) -> bool:
        """Whether all requirements hold."""
        return all(each.passed for each in self.checked)

    def to_junit(self, run_id: str) -> bytes:
        """The requirements as tests in a JUnit file."""
        cases = [Case(name=each.requirement, failure=None if each.passed else each.detail) for each in self.checked]
        return junit_xml(run_id, cases)

    def to_document(self, run_id: str) -> dict[str, Any]:
        """What `gate --json` prints; it can be a baseline itself."""
        return {
            "run_id": run_id,
            "passed": self.passed,
            "baseline": self.baseline,
            "requirements": [
                {"requirement": each.requirement, "passed": each.passed, "detail": each.detail} for each in self.checked
            ],
            "values": {
                name: None if isinstance(value, float) and not math.isfinite(value) else value
                for name, value in sorted(self.values.items())
            },
        }


def read_requirements(texts: Sequence[str], *, with_baseline: bool) -> list[Expression]:
    """Read requirements; that the run succeeded is one more, unless they look at `state` themselves.

    Raises:
        UserError: one is none, or needs a baseline and there is none.
    """
    read = [parse(text) for text in texts]
    if not read:
        raise UserError("nothing is required", where="--require", remedy="write --require 'eval_loss <= 2'")
    for expression in read:
        needed = [name for name in expression.names() if name.startswith(BASELINE)]
        if needed and not with_baseline:
            remedy = "name it with --baseline: a run, a tag or branch, a JSON file, or REF:PATH"
            raise UserError(f"`{needed[0]}` needs a baseline", where=f"--require {expression.text}", remedy=remedy)
    if not any("state" in expression.names() for expression in read):
        read.insert(0, parse(SUCCEEDED))
    return read


def check(store: Store, status: RunStatus, requirements: Sequence[Expression], baseline: str | None) -> Gate:
    """Hold a run that has ended against requirements.

    Raises:
        UserError: the baseline is none, or a requirement compares text with a number.
        Damaged: records cannot be trusted.
    """
    own = run_values(store, status)
    called, others = baseline_values(store, baseline, beside=status) if baseline is not None else (None, {})
    values = own | {BASELINE + name: value for name, value in others.items()}
    return Gate(
        checked=tuple(_check(each, values) for each in requirements),
        values=own,
        baseline=called,
        baseline_values=others,
    )


def _check(expression: Expression, values: Mapping[str, Value]) -> Checked:
    wrong = [_wrong(name, values) for name in expression.names()]
    detail = "; ".join(filter(None, wrong))
    if detail:
        return Checked(requirement=expression.text, passed=False, detail=detail)
    try:
        verdict = expression.verdict(values)
    except NoValueError as error:
        return Checked(requirement=expression.text, passed=False, detail=str(error))
    return Checked(requirement=expression.text, passed=verdict.holds, detail="; ".join(verdict.comparisons))


def _wrong(name: str, values: Mapping[str, Value]) -> str | None:
    """Why a name has no value to compare; None if it has."""
    value = values.get(name)
    if value is None:
        of_baseline = name.startswith(BASELINE)
        known = sorted(other for other in values if other.startswith(BASELINE) == of_baseline)
        prefix = BASELINE if of_baseline else ""
        likely = closest(name.removeprefix(prefix), [other.removeprefix(prefix) for other in known])
        hint = f"; did you mean `{prefix}{likely}`?" if likely else "."
        return f"`{name}` is missing{hint} There are: {', '.join(known) or 'none'}"
    if isinstance(value, float) and not math.isfinite(value):
        return f"`{name}` is not a number" if math.isnan(value) else f"`{name}` is infinite"
    return None
