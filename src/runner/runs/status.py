"""What a run is doing, read from the store alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from runner.exit_codes import FAILED, INTERRUPTED, MISTAKE, SUCCEEDED
from runner.runs.launches import Launch, cached_job_status, newest_launch, with_current_placement
from runner.runs.layout import attempt_key
from runner.runs.records import _record, newest_attempt, run_document, run_result
from runner.storage.store import Store

State: TypeAlias = Literal["pending", "running", "interrupted", "succeeded", "failed", "cancelled"]

TERMINAL: frozenset[State] = frozenset({"succeeded", "failed", "cancelled"})
"""States that never change."""


_LIVE = ("phase", "loss", "tokens_per_second", "eta_seconds", "message")


@dataclass(frozen=True, kw_only=True)
class RunStatus:
    """One look at a run."""

    run_id: str
    """Its id."""
    recipe: str
    """The name of its recipe."""
    state: State
    """Where it stands."""
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
    """Of a run with stages: the one that `step` and `max_steps` are of."""
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
    """The last training loss."""
    tokens_per_second: float | None = None
    """Training speed."""
    eta_seconds: float | None = None
    """Time left, as the attempt estimates it."""
    checkpoint_step: int | None = None
    """The step of the last durable checkpoint that the newest attempt knows of."""
    message: str | None = None
    """What the attempt wants to be known, such as that the store does not answer."""
    last_sign_seconds: float | None = None
    """How long ago the newest attempt was last heard of."""
    here: bool = False
    """Whether the newest attempt's process lives on this machine."""
    retry: bool = True
    """Whether starting the run again may help without anybody mending anything."""
    exit_code: int | None = None
    """What the newest attempt exited with, if it ended in order."""

    @property
    def terminal(self) -> bool:
        """Whether the run has ended for good."""
        return self.state in TERMINAL


def run_status(store: Store, run_id: str, *, document: Mapping[str, Any] | None = None) -> RunStatus:
    """Look at a run.

    Args:
        store: where it lives.
        run_id: which.
        document: its ``run.json``, by who has read it before.

    Raises:
        NotFound: there is no such run.
    """
    if document is None:
        document = run_document(store, run_id)
    known: dict[str, Any] = {
        "run_id": run_id,
        "recipe": document["name"],
        "infra": document["infra"],
        "accelerators": document["accelerators"],
        "created_at": document["created_at"],
        "max_steps": _max_steps(document),
        "stage_count": len(document["recipe"].get("stages") or ()) or None,
    }
    result = run_result(store, run_id)
    if result is not None and result.get("attempts") == 1:
        # It ended where it was begun: a store full of such runs is listed without a look at their launches.
        return _ended(store, run_id, known, result)
    launch = newest_launch(store, run_id)
    document = with_current_placement(document, launch)
    known |= {"infra": document["infra"], "accelerators": document["accelerators"]}
    if result is not None:
        return _ended(store, run_id, known, result)
    attempt = newest_attempt(store, run_id)
    if attempt is None:
        said, over = _engine_says(store, run_id, launch)
        # Nobody has begun it: it waits, or SkyPilot has given up on it.
        return RunStatus(**known, state="interrupted" if over else "pending", reason=said, retry=not over)
    heartbeat = attempt.heartbeat or {}
    known |= {
        "attempts": attempt.number,
        "step": heartbeat.get("step"),
        "max_steps": heartbeat.get("max_steps") or known["max_steps"],
        "checkpoint_step": heartbeat.get("checkpoint_step"),
        "stage": heartbeat.get("stage"),
        "stage_number": heartbeat.get("stage_number"),
        "last_sign_seconds": attempt.last_sign_seconds,
    }
    if attempt.alive():
        live: dict[str, Any] = {name: heartbeat.get(name) for name in _LIVE}
        return RunStatus(**known, **live, state="running", here=bool(attempt.process_here()))
    # A result that was written between our two looks explains the end better than the attempt's record does.
    result = run_result(store, run_id)
    if result is not None:
        return _ended(store, run_id, known, result)
    ended = attempt.ended
    reason = ended["reason"] if ended else "the attempt vanished: killed, or its machine went away"
    retry = ended["retry"] if ended else True
    said, over = _engine_says(store, run_id, launch)
    reason, retry = f"{reason}; {said}" if said else reason, retry and not over
    return RunStatus(
        **known,
        state="interrupted",
        reason=reason,
        retry=retry,
        exit_code=ended["exit_code"] if ended else None,
    )


def _engine_says(store: Store, run_id: str, launch: Launch | None) -> tuple[str | None, bool]:
    """What is known of SkyPilot's part, and whether it is done with the run."""
    if launch is None or not launch.is_skypilots:
        return None, False
    if launch.ended is not None:
        return f"SkyPilot: {_sentence(launch.ended)}", True
    news = cached_job_status(store.url, run_id)
    if news is None or news.get("launch") != launch.number or not (news.get("status") or news.get("reason")):
        return None, False
    return f"SkyPilot: {_sentence(news)}", False


def _sentence(said: Mapping[str, Any]) -> str:
    return ": ".join(str(said[key]).strip() for key in ("status", "reason") if said.get(key))


def _ended(store: Store, run_id: str, known: Mapping[str, Any], result: Mapping[str, Any]) -> RunStatus:
    """The status of a run that has a result."""
    attempts = int(result.get("attempts") or 0)
    failed = result["state"] == "failed" and attempts
    ended = _record(store, attempt_key(run_id, attempts, "ended")) if failed else None
    return RunStatus(
        **{
            **known,
            "state": result["state"],
            "reason": result.get("reason"),
            "ended_at": result.get("ended_at"),
            "attempts": attempts,
            "step": result.get("step"),
            "max_steps": result.get("max_steps") or known["max_steps"],
            "stage": result.get("stage"),
            "stage_number": result.get("stage_number"),
            "exit_code": ended["exit_code"] if ended else None,
            "retry": False,
        }
    )


def _max_steps(document: Mapping[str, Any]) -> int | None:
    steps = document["recipe"].get("training", {}).get("max_steps")
    return steps if isinstance(steps, int) and steps > 0 else None


def exit_code(status: RunStatus) -> int:
    """The exit code that says how a run stands."""
    if status.state == "succeeded":
        return SUCCEEDED
    if status.state == "failed" and status.exit_code == MISTAKE:
        return MISTAKE
    return FAILED if status.terminal else INTERRUPTED
