"""Which checkpoints and metrics count: those on the chain of attempts that led to the newest one.

The lineage of an attempt is what it wrote itself, and what is on the lineage of the attempt that wrote the checkpoint
it restored, up to that checkpoint. Everything else was written by an attempt that had been superseded, or whose later
steps were lost with its machine; it is never read.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from runner.runs.attempts import Attempt, attempts
from runner.runs.layout import CheckpointName, run_key, token_number
from runner.storage.manifest import MANIFEST
from runner.storage.store import Store

Position = tuple[int, str, int]
"""The stage's place in the recipe, its name, and the step: positions sort as a run takes them."""


@dataclass(frozen=True)
class Segment:
    """What one attempt contributed to a lineage."""

    token: str
    last: Position | None
    """The last position that counts; None: all of them."""


@dataclass(frozen=True)
class Lineage:
    """The attempts that led to one attempt, that one first."""

    segments: tuple[Segment, ...] = ()
    stages: tuple[str, ...] = ()
    """The names of the run's stages, in the recipe's order; empty for a run without stages."""

    def position(self, stage: str, step: int) -> Position:
        """Where a step of a stage stands among all steps of the run."""
        return _position(self.stages, stage, step)

    def in_order(self, name: CheckpointName) -> tuple[Position, str]:
        """Sorts checkpoints: by stage as the recipe orders them, step, then attempt."""
        return self.position(name.stage, name.step), name.token

    def holds(self, token: str, stage: str, step: int) -> bool:
        """Whether what the attempt `token` wrote at this position counts."""
        position = self.position(stage, step)
        return any(
            segment.token == token and (segment.last is None or position <= segment.last) for segment in self.segments
        )

    def holds_checkpoint(self, name: CheckpointName) -> bool:
        """Whether the checkpoint counts, if it is committed."""
        return self.holds(name.token, name.stage, name.step)

    @property
    def tokens(self) -> tuple[str, ...]:
        """The attempts, oldest first."""
        return tuple(segment.token for segment in reversed(self.segments))


def lineage_of(known: Iterable[Attempt], token: str | None = None) -> Lineage:
    """The lineage of the attempt `token`, or of the newest one that has begun.

    Attempts that never began own nothing; a run without any that has begun has an empty lineage.
    """
    begun = {attempt.token: attempt for attempt in known if attempt.began}
    if token is None:
        newest = max(begun.values(), key=lambda attempt: attempt.number, default=None)
        if newest is None:
            return Lineage()
        token = newest.token
    segments = [Segment(token, None)]
    last: Position | None = None
    attempt = begun.get(token)
    stages = () if attempt is None else attempt.stages
    while attempt is not None and attempt.restored is not None:
        restored = attempt.restored
        if token_number(restored.token) >= attempt.number:
            break  # no attempt restores what came after it: a broken record must not make a circle
        position = _position(stages, restored.stage, restored.step)
        last = position if last is None else min(last, position)
        segments.append(Segment(restored.token, last))
        attempt = begun.get(restored.token)
    return Lineage(tuple(segments), stages)


def _position(stages: Sequence[str], stage: str, step: int) -> Position:
    return stages.index(stage) if stage in stages else len(stages), stage, step


def read_lineage(store: Store, run_id: str) -> Lineage:
    """The lineage of the newest attempt that has begun."""
    return lineage_of(attempts(store, run_id))


def checkpoints(store: Store, run_id: str, lineage: Lineage | None = None) -> list[CheckpointName]:
    """The committed checkpoints on the lineage, newest first, good and damaged alike.

    Args:
        store: where the run lives.
        run_id: the run.
        lineage: if the caller knows it; otherwise that of the newest attempt that has begun.
    """
    if lineage is None:
        lineage = read_lineage(store, run_id)
    names = [name for name, committed in checkpoint_folders(store, run_id).items() if committed]
    return sorted(filter(lineage.holds_checkpoint, names), key=lineage.in_order, reverse=True)


def checkpoint_folders(store: Store, run_id: str) -> dict[CheckpointName, bool]:
    """All checkpoint folders of a run, on the lineage or not, and whether each holds a manifest. One listing."""
    prefix = run_key(run_id, "checkpoints/")
    committed: dict[CheckpointName, bool] = {}
    for info in store.objects(prefix):
        folder, _, file = info.key.removeprefix(prefix).partition("/")
        name = CheckpointName.parse(folder)
        if name is not None and str(name) == folder:
            committed[name] = committed.get(name, False) or file == MANIFEST
    return committed
