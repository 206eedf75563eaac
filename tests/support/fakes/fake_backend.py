"""A fourth backend, as another project would write it: a machine elsewhere that a list in this process stands for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runner.backends.base import JobStatus, Placement, Reporter, Request, ResourceOptions, Say, Started
from runner.backends.lock import RunLock
from runner.errors import UserError
from runner.recipe.recipe import Recipe
from runner.runs.launches import Launch, launch_record, newest_launch, note_ended, note_job, note_launch
from runner.runs.liveness import write_cancelled
from runner.storage.store import Store

SENT: list[tuple[Mapping[str, Any], dict[str, str]]] = []
"""What was sent, and the variables beside it."""
REFRESHED: list[str] = []
"""Runs that were asked about."""


@dataclass(frozen=True, kw_only=True)
class Letter:
    document: Mapping[str, Any]
    letter: Mapping[str, Any]

    def as_json(self) -> dict[str, Any]:
        return {"letter": dict(self.letter)}

    def as_text(self) -> str:
        return f"{self.letter['run']} at {self.letter['store']}\n"


class FakeBackend:
    supervised_here = False
    shares_environment = False

    def check(self, options: ResourceOptions, *, cluster: str | None, image: str | None) -> None:
        if image is not None:
            raise UserError("no images here", where="--image")

    def resolve(
        self, recipe: Recipe, options: ResourceOptions, *, image: str | None, before: Mapping[str, Any] | None = None
    ) -> Placement:
        return Placement(infra=options.infra[0] if options.infra or before is None else before["infra"])

    def require(self, store: Store, placement: Placement) -> None: ...

    def request(
        self, store_url: str, document: Mapping[str, Any], *, environment: Sequence[str], cluster: str | None = None
    ) -> Letter:
        letter = {"run": document["run_id"], "store": store_url, "names": sorted(environment)}
        return Letter(document=document, letter=letter)

    def start(
        self,
        store: Store,
        request: Request,
        *,
        environment: Mapping[str, str],
        lock: RunLock | None,
        detach: bool,
        reporter: Reporter,
    ) -> Started:
        assert isinstance(request, Letter)
        assert lock is None
        record = launch_record(request.document, engine="mine", cluster=None, environment=list(environment))
        launch = note_launch(store, request.document["run_id"], record)
        SENT.append((request.letter, dict(environment)))
        note_job(store, launch, {"job_id": len(SENT)})
        reporter.say("sent")
        return Started(job={"job_id": len(SENT)})

    def status(self, store: Store, run_id: str) -> JobStatus | None:
        return None

    def refresh(self, store: Store, run_ids: Sequence[str]) -> None:
        REFRESHED.extend(run_ids)

    def refuse_if_busy(self, store: Store, launch: Launch) -> None:
        if launch.ended is None:
            raise UserError("my machine has it", where=launch.run_id)

    def note_vanished(self, store: Store, run_id: str) -> None: ...

    def cancel(self, store: Store, run_id: str, *, say: Say, timeout_seconds: float) -> None:
        launch = newest_launch(store, run_id)
        assert launch is not None
        note_ended(store, launch, status="CANCELLED", reason=None)
        write_cancelled(store, run_id)
