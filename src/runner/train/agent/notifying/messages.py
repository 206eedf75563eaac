"""What webhooks are told: an event of a run or a sweep, in facts and in words."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from runner.runs.measured.spending import in_dollars
from runner.runs.records import utc_now
from runner.train.agent.hangs.watchdog import in_words

Event = Literal["ended", "interrupted", "stalled", "resumed"]

_HAPPENED = {
    "succeeded": "has succeeded",
    "failed": "has failed",
    "cancelled": "was cancelled",
    "stopped": "was stopped",
    "interrupted": "was interrupted",
    "stalled": "makes no progress",
    "resumed": "goes on",
}
_ADVICE = {
    "succeeded": ("runner report {id}", "runner pull {id}"),
    "failed": ("runner logs {id}", "runner resume {id}"),
    "cancelled": ("runner logs {id}",),
    "interrupted": ("runner logs {id}", "runner resume {id}"),
    "stalled": ("runner logs {id}", "runner cancel {id}"),
    "resumed": ("runner logs -f {id}",),
}
_SWEEP_ADVICE = {
    "succeeded": ("runner sweep best {id}", "runner report {id}"),
    "failed": ("runner sweep status {id}", "runner sweep retry {id}"),
    "stopped": ("runner sweep status {id}", "runner sweep resume {id}"),
}


@dataclass(frozen=True, kw_only=True)
class Message:
    """One event."""

    event: Event
    """What has happened."""
    state: str
    """The same where it is an end: ``succeeded``, ``failed``, ``cancelled``, ``stopped``; else the event."""
    run_id: str
    """Of which run; of a sweep, its id."""
    recipe: str
    """The recipe's name."""
    reason: str | None = None
    """Why, in a sentence."""
    is_sweep: bool = False
    """Whether it is about a sweep."""
    attempt: int | None = None
    """The attempt's number."""
    stage: str | None = None
    """The stage, of a run that has several."""
    step: int | None = None
    """Optimizer steps taken (in the stage)."""
    max_steps: int | None = None
    """Those in all (in the stage)."""
    loss: float | None = None
    """The last training loss."""
    eval_loss: float | None = None
    """The evaluation loss of the trained model, if it was measured."""
    trials: int | None = None
    """How many trials a sweep has."""
    duration_seconds: float | None = None
    """How long it took so far."""
    cost: float | None = None
    """What it has cost so far, in US dollars."""

    @property
    def headline(self) -> str:
        """What has happened, in a few words."""
        return f"{self.run_id} {_HAPPENED[self.state]}"

    @property
    def facts(self) -> list[tuple[str, str]]:
        """What is known, as names and values for people."""
        step = None if self.step is None else f"{self.step}" + (f" of {self.max_steps}" if self.max_steps else "")
        facts = {
            "Recipe": self.recipe,
            "Stage": self.stage,
            "Step": step,
            "Loss": None if self.loss is None else f"{self.loss:.4g}",
            "Evaluation loss": None if self.eval_loss is None else f"{self.eval_loss:.4g}",
            "Trials": None if self.trials is None else str(self.trials),
            "Attempt": None if self.attempt is None else str(self.attempt),
            "Duration": None if self.duration_seconds is None else in_words(self.duration_seconds),
            "Cost": None if self.cost is None else in_dollars(self.cost),
        }
        return [(name, value) for name, value in facts.items() if value]

    @property
    def commands(self) -> list[str]:
        """What one may want to do now."""
        advice = _SWEEP_ADVICE if self.is_sweep else _ADVICE
        return [command.format(id=self.run_id) for command in advice[self.state]]

    def to_json(self) -> dict[str, Any]:
        """The message for programs."""
        return {
            "event": self.event,
            "state": self.state,
            "sweep_id" if self.is_sweep else "run_id": self.run_id,
            "recipe": self.recipe,
            "reason": self.reason,
            "attempt": self.attempt,
            "stage": self.stage,
            "step": self.step,
            "max_steps": self.max_steps,
            "loss": self.loss,
            "eval_loss": self.eval_loss,
            "trials": self.trials,
            "duration_seconds": self.duration_seconds,
            "cost": self.cost,
            "commands": self.commands,
            "at": utc_now(),
            "text": self.headline + (f": {self.reason}" if self.reason else ""),
        }

    def redacted(self, redact: Callable[[str], str]) -> "Message":
        """The message without the values of secrets."""
        return replace(self, reason=None if self.reason is None else redact(self.reason), recipe=redact(self.recipe))

    def is_for(self, events: tuple[str, ...]) -> bool:
        """Whether a webhook for these events receives it."""
        return self.event in events or (self.state in events and not self.is_sweep)


def measurements(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a message takes from a heartbeat's progress, or from a result.

    Args:
        fields: either of them, of any version; what is no number is left out.
    """
    taken: dict[str, Any] = {}
    for name in ("step", "max_steps"):
        if type(fields.get(name)) is int:
            taken[name] = fields[name]
    for name in ("loss", "cost", "duration_seconds"):
        if isinstance(fields.get(name), int | float):
            taken[name] = float(fields[name])
    after = fields.get("after")
    if isinstance(after, Mapping) and isinstance(after.get("eval_loss"), int | float):
        taken["eval_loss"] = float(after["eval_loss"])
    if isinstance(fields.get("stage"), str):
        taken["stage"] = fields["stage"]
    return taken
