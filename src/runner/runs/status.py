"""What a run is doing, read from the store alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from runner.exit_codes import FAILED, INTERRUPTED, MISTAKE, SUCCEEDED
from runner.runs.attempts import read_ended
from runner.runs.launches import Launch, cached_job_status, newest_launch, with_current_placement
from runner.runs.liveness import newest_attempt
from runner.runs.record_types.attempt import Heartbeat
from runner.runs.record_types.result import Result
from runner.runs.record_types.run import LaunchEnded, RunDocument
from runner.runs.records import result_and_reopenings, run_document, run_result
from runner.runs.reopened import newest_reopening
from runner.storage.store import Store
from runner.terminal import printable

State: TypeAlias = Literal["pending", "running", "interrupted", "succeeded", "failed", "cancelled"]

TERMINAL: frozenset[State] = frozenset({"succeeded", "failed", "cancelled"})
"""States that never change."""

STALLED_SECONDS = 300.0
"""How long there may be no progress before people are told, where the attempt itself ends nothing."""

LATE_SECONDS = 15.0
"""A heartbeat that is older than this is late: they come every 2 s, and clocks differ a little."""


@dataclass(frozen=True, kw_only=True)
class RunStatus:
    """One look at a run."""

    run_id: str
    """The run's id."""
    recipe: str
    """The name of its recipe."""
    state: State
    """What became of it so far."""
    reason: str | None = None
    """Why it ended or was interrupted, as far as that is known."""
    infra: str
    """Where it was launched to last."""
    accelerators: Mapping[str, Any] | None = None
    """What it was launched on."""
    step: int | None = None
    """Optimizer steps taken."""
    max_steps: int | None = None
    """Optimizer steps in all."""
    stage: str | None = None
    """The stage that `step` and `max_steps` count in; None for a run without stages."""
    stage_number: int | None = None
    """Its place among them, counted from 1."""
    stage_count: int | None = None
    """How many stages there are; None: the run has none."""
    attempts: int = 0
    """The number of its newest attempt."""
    created_at: str
    """When it was submitted: ISO 8601, UTC."""
    ended_at: str | None = None
    """When it ended, for a run that has."""
    phase: str | None = None
    """What the newest attempt is doing."""
    loss: float | None = None
    """The last training loss, of a run that is running."""
    eval_loss: float | None = None
    """The evaluation loss of the trained model, of a run that has ended."""
    device: str | None = None
    """What it was computed on, as its result says."""
    tokens_per_second: float | None = None
    """Training speed."""
    eta_seconds: float | None = None
    """Time left, as the attempt estimates it."""
    checkpoint_step: int | None = None
    """The step of the last durable checkpoint that the newest attempt knows of."""
    tokens: int | None = None
    """Tokens trained on so far, in the stage."""
    cost: float | None = None
    """What all attempts have cost so far, in US dollars; None: no machine had a price, or none has said."""
    cost_per_hour: float | None = None
    """What an hour of the machines of a running attempt costs, in US dollars; None: they have no price."""
    idle_seconds: float | None = None
    """For how long there has been no progress: no step, no batch, no bytes. None: the attempt does not say."""
    hang_seconds: float | None = None
    """After how long without progress the attempt is ended and tried again; None: never."""
    message: str | None = None
    """The attempt's message to people, such as that the store does not answer."""
    last_sign_seconds: float | None = None
    """Age of the newest attempt's last sign of life."""
    here: bool = False
    """Whether the newest attempt's process lives on this machine."""
    capped: bool = False
    """Whether it is interrupted because it was about to cost more than its owner's ``--max-cost``."""
    retry: bool = True
    """Whether starting the run again may help without anything being fixed."""
    paused: bool = False
    """Whether it is interrupted because its sweep had it pause at a step: nothing is wrong or to be done."""
    exit_code: int | None = None
    """The newest attempt's exit code, if it ended in order."""
    reopened: int = 0
    """How often its owner has gone on with it after it had failed."""

    @property
    def stalled(self) -> str | None:
        """That nothing has happened for long: ``no step for 12 min``; None if all is well, or nothing is known.

        Long is half of the time after which the attempt is ended, or 5 minutes where nothing ends it.
        """
        if self.state != "running" or self.idle_seconds is None:
            return None
        if self.idle_seconds < (STALLED_SECONDS if self.hang_seconds is None else self.hang_seconds / 2):
            return None
        what = "step" if self.phase == "training" else "progress"
        return f"no {what} for {_minutes(self.idle_seconds)}"

    @property
    def shown_state(self) -> str:
        """The state as people read it: ``paused`` for a trial that its sweep has paused."""
        return "paused" if self.paused else self.state

    @property
    def terminal(self) -> bool:
        """Whether the run has ended for good."""
        return self.state in TERMINAL


def run_status(store: Store, run_id: str, *, document: RunDocument | None = None) -> RunStatus:
    """Look at a run. Text in the status is printable.

    Args:
        store: where the run lives.
        run_id: the run.
        document: its ``run.json``, if the caller has read it.

    Raises:
        NotFound: there is no such run.
        DamagedRecord: a record that its state follows from cannot be trusted.
    """
    if document is None:
        document = run_document(store, run_id)
    known = _launched(document)
    result, reopened = result_and_reopenings(store, run_id)
    known["reopened"] = reopened
    if result is not None and result.get("attempts") == 1:
        # It ended where it was begun: a store full of such runs is listed without a look at their launches.
        return _ended(store, run_id, known, result)
    launch = newest_launch(store, run_id)
    document = with_current_placement(document, launch)
    known = {**_launched(document), "reopened": reopened}
    if result is not None:
        return _ended(store, run_id, known, result)
    attempt = newest_attempt(store, run_id)
    if attempt is None:
        reason, over = _skypilots_part(store, run_id, launch)
        # No attempt has begun: the run waits, or SkyPilot has given up on it.
        return RunStatus(**known, state="interrupted" if over else "pending", reason=reason, retry=not over)
    heartbeat: Heartbeat = attempt.heartbeat or {}
    known |= {
        "attempts": attempt.number,
        "step": heartbeat.get("step"),
        "max_steps": heartbeat.get("max_steps") or known["max_steps"],
        "checkpoint_step": heartbeat.get("checkpoint_step"),
        "stage": heartbeat.get("stage"),
        "stage_number": heartbeat.get("stage_number"),
        "last_sign_seconds": attempt.last_sign_seconds,
        "cost": heartbeat.get("cost"),
    }
    if attempt.alive():
        return RunStatus(
            **known,
            state="running",
            phase=_line(heartbeat.get("phase")),
            loss=heartbeat.get("loss"),
            tokens_per_second=heartbeat.get("tokens_per_second"),
            eta_seconds=heartbeat.get("eta_seconds"),
            tokens=heartbeat.get("tokens"),
            idle_seconds=_idle_now(heartbeat, attempt.last_sign_seconds),
            hang_seconds=heartbeat.get("hang_seconds"),
            cost_per_hour=heartbeat.get("cost_per_hour"),
            message=_line(heartbeat.get("hang") or heartbeat.get("message")),
            here=bool(attempt.process_here()),
        )
    # A result that was written between our two looks explains the end better than the attempt's record does.
    result = run_result(store, run_id)
    if result is not None:
        return _ended(store, run_id, known, result)
    ended, paused, capped = attempt.ended, False, False
    reopening = newest_reopening(store, run_id, times=reopened)
    if reopening is not None and attempt.number <= reopening["attempts"]:
        reason, retry, code = "its owner goes on with it; no attempt has begun since", True, None
    elif ended is None:
        reason, retry, code = "the attempt vanished: killed, or its machine went away", True, None
    else:
        reason, retry, code = _line(ended.get("reason")), ended.get("retry", True), ended.get("exit_code")
        paused, capped = ended.get("paused", False), ended.get("capped", False)
    skypilots, over = _skypilots_part(store, run_id, launch)
    reason = "; ".join(filter(None, (reason, skypilots))) or None
    retry = retry and not over
    return RunStatus(
        **known, state="interrupted", reason=reason, retry=retry, paused=paused, capped=capped, exit_code=code
    )


def _launched(document: RunDocument) -> dict[str, Any]:
    """The fields of a status that follow from ``run.json`` and the placement."""
    recipe = document["recipe"]
    max_steps = recipe.get("training", {}).get("max_steps")
    return {
        "run_id": document["run_id"],
        "recipe": document["name"],
        "infra": document["infra"],
        "accelerators": document["accelerators"],
        "created_at": document["created_at"],
        "max_steps": max_steps if type(max_steps) is int and max_steps > 0 else None,
        "stage_count": len(recipe.get("stages") or ()) or None,
    }


def _idle_now(heartbeat: Heartbeat, age_seconds: float) -> float | None:
    """For how long there has been no progress. An attempt that is itself stopped makes none either."""
    idle = heartbeat.get("idle_seconds")
    if idle is None:
        return None
    return idle + (age_seconds if age_seconds > LATE_SECONDS else 0.0)


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _line(text: str | None) -> str | None:
    """Return a reason in one line: what is wrong, then the remedy of a `UserError`, as two sentences."""
    if text is None:
        return None
    what, indent, remedy = text.partition("\n  ")
    if indent and not what.endswith((".", ":", "!", "?")):
        what += "."
    return printable(what + indent + remedy)


def _skypilots_part(store: Store, run_id: str, launch: Launch | None) -> tuple[str | None, bool]:
    """SkyPilot's last word on the run, and whether it is done with it."""
    if launch is None or not launch.is_skypilots:
        return None, False
    if launch.ended is not None:
        return f"SkyPilot: {_sentence(launch.ended)}", True
    answer = cached_job_status(store.url, run_id)
    if answer is None or answer.get("launch") != launch.number or not (answer.get("status") or answer.get("reason")):
        return None, False
    return f"SkyPilot: {_sentence(answer)}", False


def _sentence(answer: Mapping[str, Any] | LaunchEnded) -> str:
    return printable(": ".join(str(answer.get(key)).strip() for key in ("status", "reason") if answer.get(key)))


def _ended(store: Store, run_id: str, known: Mapping[str, Any], result: Result) -> RunStatus:
    """The status of a run that has a result."""
    attempts = result.get("attempts", 0)
    ended = read_ended(store, run_id, attempts) if result["state"] == "failed" and attempts else None
    hardware = result.get("hardware")
    return RunStatus(
        **{
            **known,
            "state": result["state"],
            "reason": _line(result.get("reason")),
            "ended_at": result.get("ended_at"),
            "attempts": attempts,
            "step": result.get("step"),
            "max_steps": result.get("max_steps") or known["max_steps"],
            "stage": result.get("stage"),
            "stage_number": result.get("stage_number"),
            "cost": result.get("cost"),
            "eval_loss": (result.get("after") or {}).get("eval_loss"),
            "device": _line(hardware["device"]) if hardware else None,
            "exit_code": ended.get("exit_code") if ended else None,
            "retry": False,
        }
    )


def exit_code(status: RunStatus) -> int:
    """The exit code that a command returns for a run in this state."""
    if status.state == "succeeded":
        return SUCCEEDED
    if status.state == "failed" and status.exit_code == MISTAKE:
        return MISTAKE
    return FAILED if status.terminal else INTERRUPTED
