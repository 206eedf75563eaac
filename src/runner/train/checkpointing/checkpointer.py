"""Saving during training: copy in memory, write to the local disk, upload and commit, prune.

Three threads, each with one job. The training thread hands over a `TrainingState` and goes on. The staging thread waits
for the snapshot and writes files. The upload thread commits them to the store in order, tries again while the store
does not answer, and prunes. So a store that does not answer costs disk space, not training time: at most `MOST_WAITING`
checkpoints wait on disk, and the oldest are dropped first, the best never. If the store answers but is slower than the
saves, training waits instead, and nothing is dropped.
"""

import os
import queue
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner.errors import UserError
from runner.runs.attempts import Claim, fence
from runner.runs.checkpoints.lineage import checkpoints
from runner.runs.checkpoints.prune import prune, sweep
from runner.runs.layout import CheckpointName, checkpoint_prefix
from runner.storage.commit import commit
from runner.storage.parts import PartLeftOut, commit_part, wait_for_parts
from runner.storage.retry import retry_store_call
from runner.storage.store import Store, StoreUnavailable
from runner.train.agent.hangs.watchdog import in_words
from runner.train.agent.preemption import NotDurable
from runner.train.agent.restore import write_kept
from runner.train.checkpointing.snapshot import Snapshot
from runner.train.checkpointing.state import TrainingState

MOST_WAITING = 4
"""Checkpoints on the local disk that may wait for a store that does not answer."""


@dataclass(kw_only=True)
class _Job:
    """One checkpoint on its way to the store."""

    name: CheckpointName
    state: TrainingState | None
    """Set to None once it is on disk: it holds the live tensors."""
    best_step: int | None
    metadata: dict[str, Any]
    files: Mapping[str, Path] = field(default_factory=dict)
    staged: bool = False
    """Whether its files are on disk."""
    left_out: bool = False
    """Dropped, since the store did not answer for too long; the main process is told by a part without files."""


class Checkpointer:
    """Saves the checkpoints of one attempt.

    Args:
        store: takes the checkpoints.
        claim: our attempt's; checked before each manifest and each deletion.
        staging: a local folder that only this process uses.
        before_manifest: called before a checkpoint becomes visible (the metrics up to it must be in the store first).
        on_committed: called with the step of each checkpoint that is safe in the store.
        on_warning: called with a sentence when the store does not answer or a checkpoint is dropped.
        keep: a local folder that outlives the attempt, for the newest checkpoint when none reaches the store; None: it
            is lost then.
        unwritten: returns the metrics that are not in the store, by the number of their chunk; kept beside it.
        rank: this training process's rank. Rank 0 commits; the others only add their part.
    """

    def __init__(
        self,
        store: Store,
        claim: Claim,
        *,
        staging: Path,
        before_manifest: Callable[[], None],
        on_committed: Callable[[int], None],
        on_warning: Callable[[str], None],
        keep: Path | None = None,
        unwritten: Callable[[], Mapping[int, str]] = dict,
        rank: int = 0,
    ) -> None:
        self.snapshot = Snapshot()
        self._store = store
        self._claim = claim
        self._before_manifest = before_manifest
        self._on_committed = on_committed
        self._on_warning = on_warning
        self._keep = keep
        self._unwritten = unwritten
        self._rank = rank
        self._down_since: float | None = None
        self._down_because: Exception | None = None
        self._to_stage: queue.Queue[_Job] = queue.Queue()
        self._waiting: list[_Job] = []
        self._changed = threading.Condition()
        self._unfinished = 0
        self._deadline: float | None = None
        self._failure: BaseException | None = None
        self._store_is_down = False
        self._swept = False
        self.staging = staging
        """The folder in which files wait for their upload."""
        self.save_total_limit: int | None = None
        """How many of the newest to keep in the store; None for all. Each stage sets its own."""
        self.durable_seconds: float | None = None
        """How long checkpoints may wait for a store before training stops; None: for ever. Each stage sets its own."""
        self.writers = 1
        """How many training processes have files of their own in a checkpoint. Each stage sets its own."""
        self.last_saved: CheckpointName | None = None
        """The newest checkpoint that was passed to `save`."""
        self.last_committed: CheckpointName | None = None
        """The newest checkpoint that is safe in the store."""
        for loop in (self._stage_forever, self._upload_forever):
            threading.Thread(target=loop, name=loop.__name__.strip("_"), daemon=True).start()

    def save(
        self, state: TrainingState, name: CheckpointName, *, best_step: int | None, metadata: dict[str, Any]
    ) -> None:
        """Begin to save `state`; it is durable some time later. Called between two steps, by the training thread.

        Args:
            state: holds the live tensors, which must not change before `snapshot.wait_before_update` has returned.
            name: the checkpoint's name.
            best_step: the step of the best checkpoint so far (this one included), which pruning spares.
            metadata: further fields of the manifest.

        Raises:
            NotDurable: no checkpoint has reached the store for too long; this one is on the local disk.
            Exception: the error that made an earlier checkpoint fail (`OSError` for a full disk, `Superseded`).
        """
        self.check()
        with self._changed:
            self._unfinished += 1
        self.snapshot.begin(state.tensors)
        self.last_saved = name
        job = _Job(name=name, state=state, best_step=best_step, metadata=metadata)
        self._to_stage.put(job)
        if self.is_overdue:
            with self._changed:
                self._changed.wait_for(lambda: job.staged or self._failure is not None)
            self.check()
            if not self._store_is_down:
                return  # it has just come back
            refused = isinstance(getattr(self._down_because, "__cause__", None), UserError)
            raise self._left_here(job, self._down_because, retry=not refused)

    @property
    def is_overdue(self) -> bool:
        """Whether checkpoints have waited for the store for longer than they may."""
        since, limit = self._down_since, self.durable_seconds
        return since is not None and limit is not None and time.monotonic() - since >= limit

    def check(self) -> None:
        """Raise the error that made an earlier checkpoint fail, if one did."""
        if self._failure is not None:
            raise self._failure

    def finish(self, *, within_seconds: float) -> None:
        """Wait until every checkpoint that was passed to `save` is in the store.

        Raises:
            NotDurable: the store did not answer for `within_seconds`; the newest checkpoint is on the local disk.
            StoreUnavailable: the same, where there is no place for it.
            Exception: as `check`.
        """
        with self._changed:
            self._deadline = time.monotonic() + within_seconds
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._unfinished or self._failure is not None)
            self._deadline = None
        self.check()

    def _stage_forever(self) -> None:
        while True:
            job = self._to_stage.get()
            try:
                if self._failure is None and job.state is not None:
                    job.files = job.state.write(self.snapshot.tensors(), self.staging / str(job.name))
            except BaseException as error:  # noqa: BLE001 (raised again in the training thread)
                self._fail(error)
            job.state = None
            with self._changed:
                self._waiting.append(job)
                job.staged = True
                self._changed.notify_all()
                self._changed.wait_for(lambda: len(self._jobs_with_files()) <= MOST_WAITING or self._store_is_down)
                self._drop_surplus()
            self.snapshot.release()

    def _upload_forever(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                job = self._waiting[0]
            try:
                if self._failure is None:
                    self._upload(job)
            except StoreUnavailable as error:
                with self._changed:
                    newest = next((other for other in reversed(self._waiting) if other.staged), job)
                self._fail(error if self._keep is None else self._left_here(newest, error, retry=True))
            except BaseException as error:  # noqa: BLE001 (raised again in the training thread)
                self._fail(error)
            shutil.rmtree(self.staging / str(job.name), ignore_errors=True)
            with self._changed:
                self._waiting.remove(job)
                self._unfinished -= 1
                self._changed.notify_all()

    def _upload(self, job: _Job) -> None:
        prefix = checkpoint_prefix(self._claim.run_id, job.name)

        def once() -> None:
            if self._rank:
                commit_part(self._store, prefix, self._rank, None if job.left_out else job.files)
                return
            commit(
                self._store,
                prefix,
                job.files,
                self._metadata(job),
                before_manifest=self._before_visible,
                others=lambda: wait_for_parts(self._store, prefix, range(1, self.writers), until=self._gave_up),
            )

        try:
            retry_store_call(once, until=self._gave_up, on_retry=self._warn_that_the_store_is_down)
        except PartLeftOut as error:
            self._on_warning(f"checkpoint {job.name} was dropped: {error}")
            return
        self._store_is_down, self._down_since = False, None
        if self._rank:
            return
        self.last_committed = job.name
        self._on_committed(job.name.step)
        retry_store_call(lambda: self._prune(job), until=self._gave_up, on_retry=self._warn_that_the_store_is_down)

    def _metadata(self, job: _Job) -> dict[str, Any]:
        return {"stage": job.name.stage, "step": job.name.step, "token": job.name.token, **job.metadata}

    def _before_visible(self) -> None:
        self._before_manifest()
        fence(self._store, self._claim)

    def _prune(self, job: _Job) -> None:
        best = None
        if job.best_step is not None:
            stored = checkpoints(self._store, self._claim.run_id)
            best = next((name for name in stored if (name.stage, name.step) == (job.name.stage, job.best_step)), None)
        prune(self._store, self._claim, save_total_limit=self.save_total_limit, best=best)
        if not self._swept:
            sweep(self._store, self._claim)
            self._swept = True

    def _gave_up(self) -> bool:
        return self._deadline is not None and time.monotonic() > self._deadline

    def _warn_that_the_store_is_down(self, error: Exception, wait_seconds: float) -> None:
        with self._changed:
            self._store_is_down, self._down_because = True, error
            if self._down_since is None:
                self._down_since = time.monotonic()
            self._changed.notify_all()
        self._on_warning(f"the store does not answer, trying again in {wait_seconds:.0f} s; training goes on ({error})")

    def _left_here(self, job: _Job, because: Exception | None, *, retry: bool) -> Exception:
        """Put a checkpoint's files where they outlive the attempt; return the error that says so."""
        since = f" for {in_words(time.monotonic() - self._down_since)}" if self._down_since is not None else ""
        what = f"no checkpoint has reached the store{since} ({because})"
        if self._keep is None:
            return StoreUnavailable(what)
        folder = self._keep / str(job.name)
        try:
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(self.staging / str(job.name), folder, copy_function=_link)
            if self.writers == 1:  # of a sharded one, each process keeps its part, and they are not put together
                metadata = self._metadata(job)
                write_kept(folder, number=self._claim.number, metadata=metadata, metrics=self._unwritten())
        except OSError as error:
            return NotDurable(
                f"{what}, and step {job.name.step} could not be saved on this machine: {error}", retry=retry
            )
        saved = f"step {job.name.step} is saved on this machine only, in {folder}"
        remedy = (
            "" if retry else "; renew the credentials or mend the store, then `runner resume` there goes on from it"
        )
        return NotDurable(f"{what}; {saved}{remedy}", retry=retry)

    def _jobs_with_files(self) -> list[_Job]:
        """The waiting jobs whose files are on the disk."""
        return [job for job in self._waiting if not job.left_out]

    def _drop_surplus(self) -> None:
        """Drop waiting checkpoints until few enough are left, but not the one in upload, the newest, or the best.

        Called with the lock held, while the store does not answer.
        """
        while len(jobs := self._jobs_with_files()) > MOST_WAITING:
            best = jobs[-1].best_step
            droppable = [job for job in jobs[1:-1] if job.name.step != best]
            if not droppable:
                return
            job = droppable[0]
            if self._rank:
                job.left_out = True
            else:
                self._waiting.remove(job)
                self._unfinished -= 1
            shutil.rmtree(self.staging / str(job.name), ignore_errors=True)
            self._on_warning(f"checkpoint {job.name} was dropped: the store has been away for too long")

    def _fail(self, error: BaseException) -> None:
        with self._changed:
            if self._failure is None:
                self._failure = error
            self._changed.notify_all()


def _link(source: str, target: str) -> None:
    """Give a file a second name, or copy it where the file system has no such thing."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
