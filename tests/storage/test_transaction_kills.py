"""Several attempts at one run, killed, cut off and interleaved between any two requests: nothing that counts is lost.

Each attempt is a thread that may carry out one request at a time, when the test says so. The test's own view of the
store, which the attempts do not know, is what the invariants are checked with.
"""

import json
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.runs import attempts as attempts_module
from runner.runs import chunks as chunks_module
from runner.runs.attempts import Claim, Superseded, attempts, claim_attempt, fence, write_ended, write_restored
from runner.runs.checkpoints.lineage import checkpoints, read_lineage
from runner.runs.checkpoints.prune import prune, sweep
from runner.runs.chunks import ChunkWriter
from runner.runs.layout import CheckpointName, checkpoint_prefix
from runner.runs.metrics import read_metrics
from runner.storage import commit as commit_module
from runner.storage.commit import commit, fetch, verify
from runner.storage.manifest import MANIFEST, Damaged
from runner.storage.retry import retrying
from runner.storage.store import NotFound, Store, StoreUnavailable
from support.fakes.memory_store import MemoryStore
from support.thorough import cases

STEPS = 5
BEST = 2
patiently = partial(retrying, until=lambda: False, first_seconds=0.0)


class Killed(BaseException):
    """SIGKILL."""


class _Inline(Executor):
    """Carries out work at once, so that an attempt makes one request after the other."""

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001 (as an executor does)
            future.set_exception(error)
        return future


@pytest.fixture(autouse=True, scope="module")
def _one_request_at_a_time() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for module in (attempts_module, chunks_module, commit_module):
            patch.setattr(module, "ThreadPoolExecutor", _Inline)
        yield


def live(store: Store, folder: Path, limit: int, claimed: Callable[[Claim], None], chose: Callable[..., None]) -> None:
    """One attempt from claim to end, as the training side does it."""
    claim = patiently(lambda: claim_attempt(store, "r", {}))
    claimed(claim)
    restored = None
    for name in patiently(lambda: checkpoints(store, "r")):
        try:
            fetch(store, checkpoint_prefix("r", name), folder / str(name), call=patiently)
        except (Damaged, NotFound):
            continue
        assert (folder / str(name) / "weights").read_text() == f"weights after {name.step} steps"
        restored = name
        break
    chose(claim, restored)
    patiently(lambda: write_restored(store, claim, restored))
    metrics = ChunkWriter(store, "r", "metrics", claim.token)

    def last_word() -> None:
        patiently(metrics.flush)
        patiently(lambda: fence(store, claim))

    for step in range(restored.step + 1 if restored else 1, STEPS + 1):
        metrics.append(json.dumps({"kind": "train", "stage": "sft", "step": step, "loss": 1 / step}) + "\n")
        name = CheckpointName("sft", step, claim.token)
        files = {"weights": folder / f"weights-{step}", "optimizer": folder / f"optimizer-{step}"}
        for file, path in files.items():
            path.write_text(f"{file} after {step} steps")
        commit(store, checkpoint_prefix("r", name), files, {}, before_manifest=last_word, call=patiently)
        best = next((name for name in patiently(lambda: checkpoints(store, "r")) if name.step == BEST), None)
        patiently(lambda best=best: prune(store, claim, save_total_limit=limit, best=best))
        patiently(lambda: sweep(store, claim))
    patiently(lambda: write_ended(store, claim, {}))


class Attempt:
    """An attempt's thread, and the hand that lets it go on or kills it."""

    def __init__(self, body: Callable[[MemoryStore], None], store: MemoryStore) -> None:
        self._turn = threading.Semaphore(0)
        self._back = threading.Semaphore(0)
        self._order: Exception | type[Killed] | tuple[Exception] | None = None
        self.alive = True
        self.waits_for = ""
        """The request that it carries out next."""
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(body, store.seen_by(self._step)), daemon=True)
        self._thread.start()
        self._back.acquire()

    def _run(self, body: Callable[[MemoryStore], None], store: MemoryStore) -> None:
        try:
            body(store)
        except (Killed, Superseded):
            pass
        except BaseException as error:  # noqa: BLE001 (raised in the test's thread)
            self.failure = error
        self.alive = False
        self._back.release()

    def _step(self, request: str) -> Exception | None:
        self.waits_for = request
        self._back.release()
        self._turn.acquire()
        if self._order is Killed:
            raise Killed
        if isinstance(self._order, Exception):
            raise self._order
        return self._order[0] if isinstance(self._order, tuple) else None

    def order(self, order: Exception | type[Killed] | tuple[Exception] | None) -> None:
        """Let it carry out its next request; or refuse the request, lose its answer, or kill."""
        if not self.alive:
            return
        self._order = order
        self._turn.release()
        self._back.acquire()
        if self.failure is not None:
            raise self.failure


class World:
    """A run, its attempts, and what must hold at each moment."""

    def __init__(self, folder: Path, *, limit: int, conditional: bool) -> None:
        self.store = MemoryStore(conditional=conditional)
        self.attempts: list[Attempt] = []
        self._folder = folder
        self._limit = limit
        self._promised: dict[str, CheckpointName | None] = {}
        self._in_its_reign: set[CheckpointName] = set()
        self._manifests: set[str] = set()
        self._newest_good: CheckpointName | None = None

    def start(self) -> None:
        """One more attempt; the others may still be alive."""
        folder = self._folder / str(len(self.attempts))
        folder.mkdir()
        body = partial(live, folder=folder, limit=self._limit, claimed=self._claimed, chose=self._chose)
        self.attempts.append(Attempt(body, self.store))

    def order(self, number: int, order: Exception | type[Killed] | tuple[Exception] | None) -> None:
        """See `Attempt.order`; afterwards all that must hold is checked."""
        self.attempts[number % len(self.attempts)].order(order)
        self._check()

    def damage(self, name: str) -> None:
        """Bytes rot in the newest checkpoint, while nobody is at work."""
        newest = next(iter(checkpoints(self.store, "r")), None)
        if newest is not None and not any(attempt.alive for attempt in self.attempts):
            key = checkpoint_prefix("r", newest) + name
            self.store.data[key] = self.store.data[key][:-3]
            self._newest_good = self._find_newest_good()

    def finish(self) -> tuple[list[int], int]:
        """The last attempt goes through: the steps that have a record, and the newest checkpoint's, which is good."""
        for attempt in self.attempts:
            attempt.order(Killed)
        self.start()
        while self.attempts[-1].alive:
            self.order(-1, None)
        newest = checkpoints(self.store, "r")[0]
        verify(self.store, checkpoint_prefix("r", newest))
        return [record["step"] for record in read_metrics(self.store, "r")], newest.step

    def _claimed(self, claim: Claim) -> None:
        """From now on, nothing less than this may be restored."""
        good = [name for name in self._good() if name in self._in_its_reign]
        self._promised[claim.token] = max(good, default=None)

    def _chose(self, claim: Claim, restored: CheckpointName | None) -> None:
        promised = self._promised[claim.token]
        if self.store.conditional and promised is not None:
            assert restored is not None
            assert restored.step >= promised.step

    def _check(self) -> None:
        manifests = {key for key in self.store.data if key.endswith(MANIFEST)}
        if manifests != self._manifests:
            for key in manifests - self._manifests:
                name = CheckpointName.parse(key.split("/")[3])
                assert name is not None
                if name.token == attempts(self.store, "r")[-1].token:
                    self._in_its_reign.add(name)
            for key in self._manifests - manifests:
                assert self._newest_good is not None
                assert key != checkpoint_prefix("r", self._newest_good) + MANIFEST, "the newest good one was deleted"
            self._manifests = manifests
        self._newest_good = self._find_newest_good()
        steps = [record["step"] for record in read_metrics(self.store, "r")]
        assert steps == list(range(1, len(steps) + 1)), "a step without a record, or with two"

    def _good(self) -> list[CheckpointName]:
        found = []
        for name in checkpoints(self.store, "r", read_lineage(self.store, "r")):
            try:
                verify(self.store, checkpoint_prefix("r", name), contents=False)
            except (Damaged, NotFound):
                continue
            found.append(name)
        return found

    def _find_newest_good(self) -> CheckpointName | None:
        return next(iter(self._good()), None)


Event = tuple[str, int, Any]
"""What happens, to which attempt, and how much of it or where."""

numbers = st.integers(min_value=0, max_value=3)
places = ["list runs/r/attempts", "list runs/r/checkpoints", "restored.json", "upload", MANIFEST, "metrics", "delete"]
events = st.one_of(
    st.tuples(st.just("go"), numbers, st.integers(min_value=1, max_value=60)),
    st.tuples(st.just("go up to"), numbers, st.sampled_from(places)),
    st.tuples(st.just("go up to"), numbers, st.sampled_from(places)),
    st.tuples(st.sampled_from(["kill", "refuse", "lose", "start", "start after all died"]), numbers, st.none()),
    st.tuples(st.just("damage"), numbers, st.sampled_from([MANIFEST, "weights"])),
)
stories = st.lists(events, min_size=3, max_size=30)


@contextmanager
def a_world(*, limit: int, conditional: bool) -> Iterator[World]:
    folder = Path(tempfile.mkdtemp())
    try:
        yield World(folder, limit=limit, conditional=conditional)
    finally:
        shutil.rmtree(folder)


WHOLE = (list(range(1, STEPS + 1)), STEPS)
"""What a run comes to that was never interrupted."""


def play(world: World, story: list[Event]) -> tuple[list[int], int]:
    """Let the story happen, then let one attempt come to its end, and say what. The world checks each request."""
    world.start()
    for event, number, detail in story:
        if event == "go":
            for _ in range(detail):
                world.order(number, None)
        elif event == "go up to":
            attempt = world.attempts[number % len(world.attempts)]
            world.order(number, None)
            while attempt.alive and detail not in attempt.waits_for:
                world.order(number, None)
        elif event == "kill":
            world.order(number, Killed)
        elif event == "refuse":
            world.order(number, StoreUnavailable("refused"))
        elif event == "lose":
            world.order(number, (StoreUnavailable("the answer was lost"),))
        elif event == "damage":
            world.damage(detail)
        elif len(world.attempts) < 8:
            if event == "start after all died":
                for attempt in world.attempts:
                    attempt.order(Killed)
            world.start()
    return world.finish()


generously = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@settings(generously, max_examples=60)
@given(stories, st.integers(min_value=1, max_value=3))
def test_nothing_that_counts_is_lost(story: list[Event], limit: int) -> None:
    """Whatever happens between any two requests.

    - An attempt restores the newest good checkpoint that was committed on its lineage before it claimed, or a later
      one.
    - The newest good checkpoint is never deleted.
    - At every moment the metrics have one record for each step up to the last.
    - The attempt that is left alone ends as if nothing had ever happened.
    """
    with a_world(limit=limit, conditional=True) as world:
        assert play(world, story) == WHOLE


@settings(generously, max_examples=30)
@given(stories, st.integers(min_value=1, max_value=3))
def test_a_store_that_ignores_conditions_costs_no_truth(story: list[Event], limit: int) -> None:
    """Two that claim the same number at the same moment may cost one of them its work; all else holds as above."""
    with a_world(limit=limit, conditional=False) as world:
        assert play(world, story) == WHOLE


@pytest.mark.parametrize("killed_after", range(0, 140, 3))
def test_killed_at_each_request(killed_after: int) -> None:
    """Every third one of an attempt's life, so that no chance decides."""
    with a_world(limit=1, conditional=True) as world:
        assert play(world, [("go", 0, killed_after), ("kill", 0, None)]) == WHOLE


@pytest.mark.parametrize("met_after", cases(range(4, 140, 11), quick=lambda met_after: (met_after - 4) % 44 == 0))
def test_two_alive_at_once(met_after: int) -> None:
    """A newer attempt begins while an older one is anywhere, gets anywhere itself, and then the older one wakes up."""
    for woken_after in range(1, 48, 5):
        with a_world(limit=1, conditional=True) as world:
            both = [("go", 0, met_after), ("start", 0, None), ("go", 1, woken_after), ("go", 0, 140), ("go", 1, 140)]
            assert play(world, both) == WHOLE


@pytest.mark.parametrize("name", [MANIFEST, "weights"])
@pytest.mark.parametrize("killed_after", range(20, 140, 7))
def test_the_one_before_is_used_when_the_newest_is_damaged(killed_after: int, name: str) -> None:
    """With a limit of two there is one, and it is found."""
    with a_world(limit=2, conditional=True) as world:
        story = [("go", 0, killed_after), ("kill", 0, None), ("damage", 0, name), ("start", 0, None), ("go", 1, 60)]
        assert play(world, story) == WHOLE
