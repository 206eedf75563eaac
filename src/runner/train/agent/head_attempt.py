"""One attempt, on the head: restore, start the workers, watch over them and the other nodes, record how it ended."""

import logging
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

from runner.exit_codes import FAILED, INTERRUPTED, MISTAKE, SUCCEEDED
from runner.notices import NoticeWriter
from runner.runs.attempts import Attempt as AttemptRecord
from runner.runs.attempts import (
    Claim,
    Superseded,
    attempts,
    is_superseded,
    write_ended,
    write_restored,
)
from runner.runs.chunks import ChunkWriter
from runner.runs.layout import CheckpointName
from runner.runs.measured.duration import seconds_of_attempts
from runner.runs.record_types.node import NodeAssignment
from runner.runs.records import is_cancel_requested, write_result
from runner.storage.retry import STORE_ERRORS, after, retry_store_call, retrying
from runner.storage.store import StoreUnavailable
from runner.train.agent.hangs.hang_watch import HangWatch
from runner.train.agent.log import NOTICE, AttemptLog, CallingHandler, PeopleFormatter, logged_to
from runner.train.agent.machine.record import MachineWriter
from runner.train.agent.machine.sampler import sampled
from runner.train.agent.money.attempt_money import AttemptMoney
from runner.train.agent.nodes.node_monitor import NodeMonitor
from runner.train.agent.nodes.topology import free_port
from runner.train.agent.notifying.attempt_news import AttemptNews
from runner.train.agent.outcome import Outcome, attempt_outcome
from runner.train.agent.pausing import checkpoint_to_pause_at, paused
from runner.train.agent.preemption import FINISH_SIGNAL, is_eviction
from runner.train.agent.records.ending import (
    EXIT_CODES,
    ended_record,
    exit_code_of,
    interrupted,
    oom_kills,
    result_record,
)
from runner.train.agent.records.heartbeat import Heartbeat
from runner.train.agent.restart_policy import attempts_without_progress, last_oom_split, retry_smaller
from runner.train.agent.restore import restore_extended, restore_newest
from runner.train.agent.setup import AgentSetup
from runner.train.agent.worker_group import WorkerGroup

_log = logging.getLogger(__name__)

_LOG_BYTES = 64 << 20
"""How much of the log is kept in memory while the store does not take it."""

_RECORD_SECONDS = 3.0
"""How long the end of an attempt waits for the record of its machine, which is written beside it."""

R = TypeVar("R")


class AttemptEnd(NamedTuple):
    """What is left to do after an attempt."""

    exit_code: int
    """The attempt's exit code."""
    again: bool
    """Whether the same agent makes another attempt, with smaller micro-batches."""


class HeadAttempt:
    """One attempt at a run. Use it once.

    Args:
        setup: the run, this machine, and how to start workers.
        claim: this agent's right to make the attempt.
        notices: takes what the launching user should see.
        stopping: whether the agent was told to stop.
        stages: the names of the run's stages; empty for a run without stages.
        give_up_after: attempts in a row without a newer checkpoint after which no more are made; None: the caller
            counts them.
    """

    def __init__(
        self,
        setup: AgentSetup,
        claim: Claim,
        *,
        notices: NoticeWriter,
        stopping: Callable[[], bool],
        stages: Sequence[str] = (),
        give_up_after: int | None = None,
    ) -> None:
        self._setup = setup
        self._timing = setup.timing
        self._store = setup.store
        self._claim = claim
        self._notices = notices
        self._stopping = stopping
        self._stages = stages
        self._give_up_after = give_up_after
        self._folder = setup.work_dir / f"attempt-{claim.token}"
        self._outcome: Outcome | None = None
        """How it ends, where the agent itself has decided that."""
        self._committed = False
        """Whether it has committed a checkpoint."""
        self._finish_sent = False
        """Whether the training process knows that its owner wants to end the training."""
        self._machine: MachineWriter | None = None
        """Records what it runs on."""
        self._hung = False
        """Whether it is ended because it hangs."""
        self._fence_at = time.monotonic() + self._timing.fence
        self._log_chunks = ChunkWriter(self._store, setup.run_id, "logs", claim.token, most_bytes=_LOG_BYTES)
        self._attempt_log = AttemptLog(self._log_chunks, redact=setup.redact)
        self._nodes = NodeMonitor(self._store, claim, setup.topology, silence_seconds=self._timing.silence)
        self._workers = WorkerGroup(
            setup.topology.processes_per_node,
            spawn=setup.spawn,
            on_output=self._pass_output_on,
            on_progress=self._note_progress,
            on_notice=notices.write,
            redact=setup.redact,
            timing=self._timing,
        )
        self._money = AttemptMoney(setup, claim)
        self._heartbeat = Heartbeat(
            self._store,
            claim,
            every_seconds=self._timing.beat,
            more=self._money.heartbeat_fields,
            after=self._log_chunks.flush,
        )
        self._progress = self._heartbeat.progress
        self._news = AttemptNews(setup, claim, progress=lambda: {**self._progress, "cost": self._money.cost()})
        self._hang_watch = HangWatch(
            setup.watchdog,
            lambda: self._workers.pids,
            activity_seconds=self._timing.activity,
            on_stall=self._news.stalled,
        )

    def run(self) -> AttemptEnd:
        """Make the attempt, from the workers' start to the record of its end."""
        to_chunks = CallingHandler(lambda level, text: self._attempt_log.write(text))
        to_chunks.setFormatter(PeopleFormatter())
        to_notices = CallingHandler(
            lambda level, text: self._notices.write(logging.getLevelName(level).lower(), self._setup.redact(text)),
            only_notices=True,
        )
        with ExitStack() as stack:
            for handler in (to_chunks, to_notices):
                stack.enter_context(logged_to(handler))
            stack.callback(self._finish_log)
            self._news.begin()
            oom_kills_before = oom_kills()
            try:
                self._outcome = self._money.begin()
                stack.enter_context(self._money.kept_below_limit(stop=self.stop, kill=lambda: self._workers.hurry(0)))
                if self._outcome is None and not self._is_at_its_pause():
                    self._workers.start(self._setup.arguments)
                    if self._stopping() or self._money.is_capped:  # they were not there yet when they were to be told
                        self.stop()
                    with self._measured():
                        if self._assign():
                            self._watch()
            except Superseded as error:
                self._outcome = Outcome(kind="superseded", reason=str(error), retry=False)
            except StoreUnavailable as error:
                self._outcome = interrupted(f"the store does not answer: {error}")
            except OSError as error:
                retry = self._stopping() or is_eviction(error, self._setup.work_dir)
                self._outcome = interrupted(f"restoring failed: {error}", retry=retry)
            cancelled = self._outcome is not None and self._outcome.kind == "cancelled"
            self._workers.end(terminate_first=cancelled, grace_seconds=self._timing.cancel_grace)
            self._await_nodes()
            return self._end(self._decide(out_of_main_memory=oom_kills() > oom_kills_before))

    def stop(self) -> None:
        """Tell the workers to save a checkpoint and end."""
        self._workers.send_signal(signal.SIGTERM)

    @contextmanager
    def _measured(self) -> Iterator[None]:
        """Within, the machine is sampled; what it is gets recorded."""
        self._machine = machine = MachineWriter(self._store, self._claim)
        store, run_id = self._store, self._setup.run_id
        with sampled(store, run_id, self._claim.token, node=0, folder=self._setup.work_dir):
            yield
        machine.join(_RECORD_SECONDS)

    # -- beginning -----------------------------------------------------------------------------------------------

    def _is_at_its_pause(self) -> bool:
        """Find out whether the run is where it is to pause already, and note that as the outcome."""
        until_step = self._setup.until_step
        if until_step is None:
            return False
        store, run_id = self._setup.store, self._setup.run_id
        found = self._patiently(lambda: checkpoint_to_pause_at(store, run_id, until_step, stages=self._stages))
        if found is None:
            return False
        name, max_steps = found
        self._progress.update(step=name.step, checkpoint_step=name.step, max_steps=max_steps)
        self._outcome = paused(name.step)
        return True

    def _assign(self) -> bool:
        """Fetch the checkpoint while the workers import torch, wait for the other nodes, and tell all what to do.

        Returns:
            Whether there is something to watch; False if the attempt ends before it begins.
        """
        self._progress["phase"] = "restoring" if self._claim.number > 1 else "starting"
        with (
            self._heartbeat.beating()
        ):  # a large checkpoint takes minutes, and whoever has no heartbeat is taken for dead
            restored = self._patiently(
                lambda: restore_newest(self._store, self._setup.run_id, self._folder / "restored", warn=_log.warning)
            )
            extended = None
            if restored is None:
                extended = self._patiently(
                    lambda: restore_extended(self._store, self._setup.run_id, self._folder / "restored")
                )
        name, folder = (None, None) if restored is None else restored
        if extended is not None:
            step, folder = extended
            self._progress.update(step=step)
            _log.info("attempt %d goes on from step %d of another run", self._claim.number, step, extra=NOTICE)
        known = self._patiently(lambda: attempts(self._store, self._setup.run_id))
        split = last_oom_split(known)
        self._patiently(lambda: write_restored(self._store, self._claim, name, stages=self._stages))
        earlier = [attempt for attempt in known if attempt.number < self._claim.number]
        self._hang_watch.begin(earlier, name)
        self._news.resumed(earlier, name)
        self._report_start(name, split)
        if self._gives_up(name, earlier) or not self._all_nodes_joined():
            return self._outcome is None  # else workers have ended early, and `_watch` finds that out
        topology = self._setup.topology
        assignment: NodeAssignment = {
            "number": self._claim.number,
            "token": self._claim.token,
            "split": split,
            "world_size": topology.world_size,
            "local_world_size": topology.processes_per_node,
            "addresses": list(topology.node_ips),
            "port": free_port("127.0.0.1" if topology.num_nodes == 1 else topology.node_ips[0]),
        }
        admission = {"assignment": assignment, "checkpoint": None if name is None else str(name)}
        self._patiently(lambda: self._nodes.begin(admission))
        self._workers.assign(assignment, checkpoint=None if folder is None else str(folder))
        return True

    def _report_start(self, restored: CheckpointName | None, split: Sequence[int] | None) -> None:
        number = self._claim.number
        if restored is not None:
            self._progress.update(step=restored.step, checkpoint_step=restored.step)
            stage = f" of stage {restored.stage}" if self._stages else ""
            _log.info("attempt %d continues from step %d%s", number, restored.step, stage, extra=NOTICE)
        if split is not None:
            micro_batch, accumulation = split
            message = f"micro-batches of {micro_batch}, {accumulation} in a step, since memory ran out"
            self._heartbeat.default_message = message
            _log.info("attempt %d trains in %s", number, message, extra=NOTICE)

    def _gives_up(self, restored: CheckpointName | None, earlier: Sequence[AttemptRecord]) -> bool:
        """Decide whether this attempt would be one too many; then it ends before it begins."""
        if self._give_up_after is None:
            return False
        count = attempts_without_progress(earlier, restored)
        if count < self._give_up_after:
            return False
        reason = f"gave up: {count} attempts in a row got no further than the last checkpoint"
        self._outcome = interrupted(reason, retry=False)
        return True

    def _all_nodes_joined(self) -> bool:
        """Wait for the other nodes; return False if there is a reason not to wait any longer."""
        until = time.monotonic() + self._timing.join
        beat_at = 0.0
        while missing := self._nodes.missing_nodes():
            names = ", ".join(map(str, missing))
            if time.monotonic() > until:
                minutes = self._timing.join / 60
                self._outcome = interrupted(f"machines {names} did not come within {minutes:.0f} minutes")
                return False
            if time.monotonic() > beat_at:
                beat_at = time.monotonic() + self._timing.beat
                self._progress["message"] = f"waiting for machines {names}"
                self._heartbeat.write()
                if self._must_stop():
                    return False
            if self._workers.wait(min(1.0, self._timing.beat)):
                return False
        self._progress.pop("message", None)
        return True

    # -- watching ------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Return when the workers have ended, are out of time, or must end because the attempt is over."""
        while True:
            self._heartbeat.write()
            if self._must_stop():
                return
            self._pass_finish_on()
            self._nodes.look()
            if self._nodes.any_failed:
                self._workers.hurry(self._timing.upload if self._nodes.only_stopped else self._timing.peer)
            elif self._hangs():
                return
            if self._workers.wait(self._timing.beat):
                return

    def _note_progress(self, progress: Mapping[str, Any]) -> None:
        """Take in what the first training process reports."""
        self._progress.update(progress)
        self._committed = self._committed or progress.get("checkpoint_step") is not None
        self._hang_watch.note(progress)
        if progress.get("step") is not None:
            self._money.note_step(progress["step"])

    def _hangs(self) -> bool:
        """Find out whether training hangs; warn early, and if it does, log all stacks and note it as the outcome."""
        hang = self._hang_watch.look(others_busy=self._nodes.any_busy())
        self._progress.update(self._hang_watch.heartbeat_fields())
        # Who was told to stop is killed soon by whoever told.
        if hang is None or self._stopping() or self._money.is_capped:
            self._hang_watch.warn()
            return False
        what = hang.describe()
        self._news.stalled(f"{what}; the attempt is ended")
        _log.warning("%s: the attempt is ended; the stacks of all its threads follow", what)
        self._progress["hang"] = what
        self._heartbeat.write()  # the other machines log their stacks when they see it
        self._workers.print_stacks()
        self._hung = True
        self._outcome = interrupted(f"training hung: {what}; the log has the stacks of all threads")
        return True

    def _must_stop(self) -> bool:
        """Find out whether a newer attempt has begun or the run was cancelled, and note that as the outcome."""
        if time.monotonic() > self._fence_at:
            self._fence_at = time.monotonic() + self._timing.fence
            if self._is_superseded():
                self._outcome = Outcome(kind="superseded", reason="a newer attempt has taken over", retry=False)
        if self._outcome is None and self._is_cancelled():
            self._outcome = Outcome(kind="cancelled", reason="cancelled by `runner cancel`", retry=False)
        return self._outcome is not None

    def _pass_finish_on(self) -> None:
        """Tell the first training process if the owner wants the training to end with the model that it has."""
        if self._finish_sent or self._progress.get("phase") in ("starting", "restoring"):
            return  # before it loads, its signal handlers may not be installed
        try:
            asked = is_cancel_requested(self._store, self._setup.run_id, reopened=self._setup.reopened, keep_model=True)
        except STORE_ERRORS:
            return
        if asked:
            self._finish_sent = True
            self._workers.send_signal_to_first(FINISH_SIGNAL)
            _log.info("training ends at the next step boundary, by `runner cancel --keep-model`", extra=NOTICE)

    def _is_superseded(self) -> bool:
        try:
            return is_superseded(self._store, self._claim)
        except STORE_ERRORS:
            return False

    def _is_cancelled(self) -> bool:
        try:
            return is_cancel_requested(self._store, self._setup.run_id, reopened=self._setup.reopened)
        except STORE_ERRORS:
            return False

    def _finish_log(self) -> None:
        """Wait until webhooks know of the end, and write what was logged since."""
        self._news.close()
        with suppress(*STORE_ERRORS):
            self._log_chunks.flush()

    def _pass_output_on(self, text: str) -> None:
        """Print what a worker has printed, and add it to the attempt's log."""
        self._attempt_log.write(text)
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except OSError:
            return  # the reader has gone; the store has the log

    # -- end -----------------------------------------------------------------------------------------------------

    def _await_nodes(self) -> None:
        """Wait until the other nodes have reported how they ended: the first cause may be theirs."""
        if self._outcome is not None and not self._hung:
            return
        until = after(2 * self._timing.peer)
        while not self._nodes.all_ended and not until():
            self._nodes.look()
            if not self._hung and self._workers.ends()[0].code == 0:
                return
            time.sleep(0.2)
        for rank, end in self._nodes.ended.items():
            if self._hung or end.exit_code not in (SUCCEEDED, INTERRUPTED):
                for line in end.last_lines:
                    self._pass_output_on(f"[machine {rank}, {end.host}] {line}")

    def _decide(self, *, out_of_main_memory: bool) -> Outcome:
        """Return how the attempt ended."""
        outcome = self._outcome or self._outcome_of_workers(out_of_main_memory=out_of_main_memory)
        if self._hung:
            return outcome
        return self._money.after_cap(outcome, any_killed=any(end.killed for end in self._workers.ends()))

    def _outcome_of_workers(self, *, out_of_main_memory: bool) -> Outcome:
        """Return the first cause of how the workers have ended."""
        ends = [*self._workers.ends(), *self._nodes.worker_ends()]
        if self._stopping() and not any(end.outcome for end in ends):
            return interrupted("stopped before training began")
        return attempt_outcome(ends, missing_nodes=self._nodes.lost, out_of_main_memory=out_of_main_memory)

    def _end(self, outcome: Outcome) -> AttemptEnd:
        """Record how the attempt ended, and the run's result if the run has ended with it."""
        ran_out_of_memory, again = outcome.kind == "out_of_memory", False
        if ran_out_of_memory:
            outcome = retry_smaller(outcome)
            again = outcome.split is not None and not self._stopping()
            _log.log(logging.ERROR if outcome.kind == "failed" else logging.WARNING, "%s", outcome.reason)
        elif self._hung:
            can_go_on = not self._stopping() and not self._workers.pids
            outcome, again = self._hang_watch.what_follows(outcome, committed=self._committed, can_go_on=can_go_on)
        if outcome.reason is not None:
            outcome = replace(outcome, reason=self._setup.redact(outcome.reason))
        state: str = outcome.kind
        mistake = any(end.code == MISTAKE for end in self._workers.ends())
        exit_code = exit_code_of(outcome, mistake=mistake, counts_attempts=self._give_up_after is not None)
        try:
            if outcome.kind in ("succeeded", "failed", "cancelled"):
                final_state = self._persistently(lambda: self._write_result(outcome))
                if final_state != state:
                    state, exit_code = final_state, EXIT_CODES.get(final_state, FAILED)
            self._progress["phase"] = "ending"
            self._heartbeat.write()
            record = ended_record(
                outcome,
                state=state,
                exit_code=exit_code,
                hung=self._hung,
                again=again if ran_out_of_memory or self._hung else None,
            )
            self._persistently(lambda: write_ended(self._store, self._claim, record))
        except StoreUnavailable as error:
            # It is not recorded, so it has not happened: the next attempt ends the run again from the last checkpoint.
            _log.error("the store does not answer: %s", error)
            if outcome.reason is not None:
                self._notices.write("warning", outcome.reason)  # nobody will read it in the store
            self._news.ended(outcome, "interrupted", again=again)
            return AttemptEnd(exit_code if outcome.kind == "interrupted" else INTERRUPTED, again)
        self._news.ended(outcome, state, again=again)
        shutil.rmtree(self._folder, ignore_errors=True)
        return AttemptEnd(exit_code, again)

    def _write_result(self, outcome: Outcome) -> str:
        """Write the run's result unless it has one; return the state in the result that it has then."""
        if is_superseded(self._store, self._claim):
            return "superseded"
        result = result_record(
            outcome,
            progress=self._progress,
            attempts=self._claim.number,
            cost=self._money.cost(),
            duration_seconds=seconds_of_attempts(self._store, self._claim),
            machine=self._machine.result_fields() if self._machine is not None else {},
        )
        reopened = self._setup.reopened
        return write_result(self._store, self._setup.run_id, result, reopened=reopened)["state"]

    def _patiently(self, call: Callable[[], R]) -> R:
        return retrying(call, until=after(self._timing.store))

    def _persistently(self, call: Callable[[], R]) -> R:
        """As `_patiently`, also while the store refuses us, as it does while credentials are renewed."""
        return retry_store_call(call, until=after(self._timing.store))
