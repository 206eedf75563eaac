"""What a run is doing, read from the store alone."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeAlias

from runner.backends.skypilot.resources import is_remote
from runner.runs.launches import Launch, last_news, newest_launch, placed
from runner.runs.layout import RESULT, RUN, attempt_key, run_key
from runner.storage.store import NotFound, Store

State: TypeAlias = Literal["pending", "running", "interrupted", "succeeded", "failed", "cancelled"]

TERMINAL: frozenset[State] = frozenset({"succeeded", "failed", "cancelled"})
"""States that never change."""

FRESH_SECONDS = 60.0
"""An attempt whose last sign of life is older than this is taken for dead."""

_LIVE = ("phase", "loss", "tokens_per_second", "eta_seconds", "message")
_ATTEMPT_RECORD = re.compile(r"(?P<number>\d{4,})(?:\.(?P<kind>[a-z]+))?\.json")


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


@dataclass(frozen=True, kw_only=True)
class AttemptView:
    """The records of a run's newest attempt."""

    run_id: str
    """Whose it is."""
    number: int
    """Its number; attempts are counted from 1."""
    claim: Mapping[str, Any]
    """``attempts/<n>.json``."""
    heartbeat: Mapping[str, Any] | None
    """``attempts/<n>.heartbeat.json``."""
    ended: Mapping[str, Any] | None
    """``attempts/<n>.ended.json``."""
    last_sign_seconds: float
    """Age of the claim or the heartbeat, whichever is newer, by the store's clock against ours."""

    def process_here(self) -> bool | None:
        """Whether its process lives on this machine; None: it was started elsewhere (or in another container)."""
        if self.claim.get("boot_id") != boot_id() or self.claim.get("host") != os.uname().nodename:
            return None
        if self.claim.get("pid_namespace") not in (None, pid_namespace()):
            return None
        return process_runs(int(self.claim["pid"]), self.run_id)

    def alive(self) -> bool:
        """Whether the attempt still runs, as far as can be known from here."""
        if self.ended is not None:
            return False
        here = self.process_here()
        return self.last_sign_seconds < FRESH_SECONDS if here is None else here


def run_document(store: Store, run_id: str) -> dict[str, Any]:
    """A run's ``run.json``.

    Raises:
        NotFound: there is no such run.
    """
    document: dict[str, Any] = json.loads(store.get(run_key(run_id, RUN)))
    return document


def whereabouts(store: Store, run_id: str) -> dict[str, Any]:
    """A run's ``run.json``, with the machines of its newest launch.

    Raises:
        NotFound: there is no such run.
    """
    return placed(run_document(store, run_id), newest_launch(store, run_id))


def run_result(store: Store, run_id: str) -> dict[str, Any] | None:
    """A run's ``result.json``; None if it has not ended."""
    return _record(store, run_key(run_id, RESULT))


def newest_attempt(store: Store, run_id: str) -> AttemptView | None:
    """The attempt with the highest number; None if there has been none."""
    kinds: dict[int, dict[str, datetime]] = {}
    for entry in store.objects(run_key(run_id, "attempts/")):
        match = _ATTEMPT_RECORD.fullmatch(entry.key.rpartition("/")[2])
        if match is not None:
            kinds.setdefault(int(match["number"]), {})[match["kind"] or "claim"] = entry.last_modified
    if not kinds:
        return None
    number = max(kinds)
    times = kinds[number]
    last_sign = max(times.get("heartbeat", times.get("claim", datetime.min.replace(tzinfo=UTC))), min(times.values()))

    def record(kind: str) -> dict[str, Any] | None:
        if (kind or "claim") not in times:
            return None
        return _record(store, attempt_key(run_id, number, kind))

    return AttemptView(
        run_id=run_id,
        number=number,
        claim=record("") or {},
        heartbeat=record("heartbeat"),
        ended=record("ended"),
        last_sign_seconds=max(0.0, (datetime.now(UTC) - last_sign).total_seconds()),
    )


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
    document = placed(document, launch)
    known |= {"infra": document["infra"], "accelerators": document["accelerators"]}
    if result is not None:
        return _ended(store, run_id, known, result)
    attempt = newest_attempt(store, run_id)
    if attempt is None:
        said, over = _engine_says(store, run_id, launch) if is_remote(document["infra"]) else (None, False)
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
    if is_remote(document["infra"]):
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
    if launch is None:
        return None, False
    if launch.ended is not None:
        return f"SkyPilot: {_sentence(launch.ended)}", True
    news = last_news(store.url, run_id)
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


def _record(store: Store, key: str) -> dict[str, Any] | None:
    """One JSON object; None if it is not there."""
    try:
        record: dict[str, Any] = json.loads(store.get(key))
    except NotFound:
        return None
    return record


def _max_steps(document: Mapping[str, Any]) -> int | None:
    steps = document["recipe"].get("training", {}).get("max_steps")
    return steps if isinstance(steps, int) and steps > 0 else None


def boot_id() -> str | None:
    """Names this machine's present life; None where the system does not say."""
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.exists() else None


def pid_namespace() -> str | None:
    """Names what process ids mean here: a container counts its own, even under its host's name."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return None


def process_runs(pid: int, word: str) -> bool:
    """Whether the process lives and has `word` in its command line (a number may have gone to another program)."""
    command = Path(f"/proc/{pid}/cmdline")
    if command.parent.parent.joinpath("self").exists():
        try:
            return word.encode() in command.read_bytes().split(b"\0")
        except OSError:
            return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
