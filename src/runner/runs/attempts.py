"""Attempts in the store: claiming a number, saying what was restored, finding out that a newer one has begun.

An attempt claims first, then chooses what to restore, then says so. Whatever an older attempt that is still alive
commits after the claim, the chooser either sees it or leaves it off the lineage for good
(`runner.runs.checkpoints.lineage`).
"""

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from runner.runs.layout import CheckpointName, attempt_key, attempt_token, new_nonce, run_key, token_number
from runner.runs.record_types.attempt import (
    AttemptEnded,
    ClaimRecord,
    FitRecord,
    HardwareRecord,
    Heartbeat,
    RestoredRecord,
)
from runner.runs.records import DamagedRecord, encoded, find_hint, find_record, numbered_records, read_record
from runner.storage.manifest import canonical_json
from runner.storage.store import NotFound, Store, create_ours

T = TypeVar("T")

_READS_AT_ONCE = 8


class Superseded(Exception):
    """A newer attempt has begun: this one may neither commit nor delete anything from now on."""


@dataclass(frozen=True)
class Claim:
    """The right to be one attempt of a run, until a newer one claims."""

    run_id: str
    number: int
    token: str
    """Unique among all attempts of the run, in the keys of all that the attempt writes."""


@dataclass(frozen=True)
class Attempt:
    """One attempt as the store knows it."""

    number: int
    token: str
    claim: ClaimRecord
    """Who claimed it: host, process, time."""
    began: bool
    """Whether it has said what it continues from. Before that it owns nothing."""
    restored: CheckpointName | None
    """The checkpoint that it continues from; None if it began afresh, or has not begun."""
    ended: AttemptEnded | None
    """How it ended; None if it is alive or was killed."""
    stages: tuple[str, ...] = ()
    """The names of the run's stages in the recipe's order; empty for a run without stages."""


def claim_attempt(store: Store, run_id: str, record: Mapping[str, Any]) -> Claim:
    """Take the next free number.

    Where conditional writes are ignored, two attempts may both believe for a moment that a number is theirs; the one
    whose token is not in the record in the end finds out in `fence`.

    Args:
        store: where the run lives.
        run_id: the run.
        record: who claims: the fields of `ClaimRecord` except ``token`` and ``number``, which are added.
    """
    number = newest_number(store, run_id) + 1
    while True:
        token = attempt_token(number, new_nonce(4))
        key = attempt_key(run_id, number)
        if create_ours(store, key, _json({**record, "token": token, "number": number})):
            try:
                if read_record(store, key, ClaimRecord)["token"] == token:
                    return Claim(run_id, number, token)
            except NotFound:
                pass
        number += 1


def write_restored(
    store: Store, claim: Claim, checkpoint: CheckpointName | None, *, stages: Sequence[str] = ()
) -> None:
    """Say what the attempt continues from; with this it begins.

    Args:
        store: where the run lives.
        claim: the attempt.
        checkpoint: what it restored, None if it begins afresh.
        stages: the names of the run's stages in order, by which readers tell the later of two checkpoints.

    Raises:
        Superseded: a newer attempt has begun.
    """
    _check_claim(store, claim)
    record = RestoredRecord(token=claim.token, checkpoint=None if checkpoint is None else str(checkpoint))
    if stages:
        record["stages"] = list(stages)
    if not create_ours(store, attempt_key(claim.run_id, claim.number, "restored"), _json(record)):
        raise Superseded(f"another attempt has begun as number {claim.number}")


def write_ended(store: Store, claim: Claim, record: Mapping[str, Any]) -> bool:
    """Write how the attempt ended: the fields of `AttemptEnded`, ``token`` is added. False if that was said before."""
    data = _json({**record, "token": claim.token})
    return create_ours(store, attempt_key(claim.run_id, claim.number, "ended"), data)


def write_heartbeat(store: Store, claim: Claim, record: Mapping[str, Any]) -> None:
    """Say that the attempt is alive, with the fields of `Heartbeat`; a hint, overwritten each time."""
    store.put(attempt_key(claim.run_id, claim.number, "heartbeat"), _json({**record, "token": claim.token}))


def read_heartbeat(store: Store, run_id: str, number: int) -> Heartbeat | None:
    """The newest sign of life of an attempt; None if there is none that can be read."""
    return find_hint(store, attempt_key(run_id, number, "heartbeat"), Heartbeat)


def read_claim(store: Store, run_id: str, number: int) -> ClaimRecord:
    """Who claimed a number.

    Raises:
        NotFound: nobody.
        DamagedRecord: it cannot be trusted, or its token is that of another number.
    """
    key = attempt_key(run_id, number)
    claim = read_record(store, key, ClaimRecord)
    if token_number(claim["token"]) != number:
        raise DamagedRecord(key, f"its token is {claim['token']}, of another attempt")
    return claim


def read_ended(store: Store, run_id: str, number: int) -> AttemptEnded | None:
    """How an attempt ended; None if it has not said.

    Raises:
        DamagedRecord: the record cannot be trusted.
    """
    return find_record(store, attempt_key(run_id, number, "ended"), AttemptEnded)


def attempts(store: Store, run_id: str) -> list[Attempt]:
    """All attempts of a run, oldest first.

    Raises:
        DamagedRecord: a record cannot be trusted.
    """
    numbers = numbered_records(store, run_key(run_id, "attempts/"))
    with ThreadPoolExecutor(_READS_AT_ONCE, thread_name_prefix="attempts") as pool:
        return list(pool.map(lambda number: _attempt(store, run_id, number, numbers[number].keys()), numbers))


def newest_number(store: Store, run_id: str) -> int:
    """The number of the newest attempt; 0 if there is none."""
    return max(numbered_records(store, run_key(run_id, "attempts/")), default=0)


def fence(store: Store, claim: Claim) -> None:
    """Go on only if the attempt is still the newest. To be called right before each manifest and each deletion.

    Raises:
        Superseded: it is not.
    """
    _check_claim(store, claim)
    restored = _find_own(store, attempt_key(claim.run_id, claim.number, "restored"), RestoredRecord)
    if restored is not None and restored["token"] != claim.token:
        raise Superseded(f"another attempt has begun as number {claim.number}")


def is_superseded(store: Store, claim: Claim) -> bool:
    """Whether a newer attempt has begun."""
    try:
        fence(store, claim)
    except Superseded:
        return True
    return False


def _check_claim(store: Store, claim: Claim) -> None:
    newest = newest_number(store, claim.run_id)
    if newest > claim.number:
        raise Superseded(f"attempt {newest} has begun")
    record = _find_own(store, attempt_key(claim.run_id, claim.number), ClaimRecord)
    if record is None:
        raise Superseded("the attempt's claim is gone from the store")
    if record["token"] != claim.token:
        raise Superseded(f"another attempt has claimed number {claim.number}")


def _find_own(store: Store, key: str, kind: type[T]) -> T | None:
    """One of our own records; one that is damaged is no longer ours."""
    try:
        return find_record(store, key, kind)
    except DamagedRecord as error:
        raise Superseded(f"a record of the attempt is damaged in the store: {error}") from error


def _attempt(store: Store, run_id: str, number: int, kinds: Collection[str]) -> Attempt:
    claim = read_claim(store, run_id, number)
    token = claim["token"]
    restored = ended = None
    if "restored" in kinds:
        restored = read_record(store, attempt_key(run_id, number, "restored"), RestoredRecord)
    if "ended" in kinds:
        ended = read_record(store, attempt_key(run_id, number, "ended"), AttemptEnded)
    # Two attempts may have claimed one number: only records with the claim's token belong to this one.
    if restored is not None and restored["token"] != token:
        restored = None
    if ended is not None and ended.get("token") != token:
        ended = None
    checkpoint = None if restored is None or restored["checkpoint"] is None else restored["checkpoint"]
    return Attempt(
        number=number,
        token=token,
        claim=claim,
        began=restored is not None,
        restored=None if checkpoint is None else CheckpointName.parse(checkpoint),
        ended=ended,
        stages=() if restored is None else tuple(restored.get("stages", ())),
    )


# -- the stages of an attempt --------------------------------------------------------------------------------------


def write_fit(store: Store, claim: Claim, stage: str, record: Mapping[str, Any]) -> None:
    """Record how an attempt's stage was fitted: the fields of `FitRecord`, ``token`` is added. The first one stands."""
    create_ours(
        store,
        attempt_key(claim.run_id, claim.number, f"fit-{stage}"),
        _json({**record, "token": claim.token}),
    )


def fits_so_far(store: Store, claim: Claim, stage: str) -> list[FitRecord]:
    """The fits of the attempts before this one at the same stage, oldest first; one that is damaged is left out."""
    kind = f"fit-{stage}"
    numbers = numbered_records(store, run_key(claim.run_id, "attempts/"))
    keys = [
        attempt_key(claim.run_id, number, kind)
        for number, kinds in numbers.items()
        if number < claim.number and kind in kinds
    ]
    records = (find_hint(store, key, FitRecord) for key in keys)
    return [record for record in records if record is not None]


def write_hardware(store: Store, claim: Claim, stage: str, record: HardwareRecord) -> None:
    """Record what an attempt computes a stage with; ``token`` is added. The first record stands."""
    key = attempt_key(claim.run_id, claim.number, f"hardware-{stage}")
    store.create(key, encoded({**record, "token": claim.token}))


def newest_hardware(store: Store, run_id: str, stage: str) -> HardwareRecord | None:
    """Return what the newest attempt at a stage computed it with; None if none has recorded it."""
    kind = f"hardware-{stage}"
    numbers = numbered_records(store, run_key(run_id, "attempts/"))
    found = [number for number, kinds in numbers.items() if kind in kinds]
    return find_hint(store, attempt_key(run_id, max(found), kind), HardwareRecord) if found else None


def describe_hardware(record: HardwareRecord) -> str:
    """What a stage is computed with, in a line."""
    parts = [
        record["device"],
        record["precision"],
        f"weights {record['quantization'] or record['weights']}",
        f"attention {record['attn_implementation']}",
        f"optimizer {record['optim']}",
        *(["Liger kernels"] if record["use_liger_kernel"] else []),
        *([f"packing {record['packing']}"] if record["packing"] else []),
        *(["padding-free"] if record["padding_free"] else []),
        *([f"loss on {record['loss_on']}"] if record["loss_on"] else []),
        f"{record['per_device_train_batch_size']} x {record['gradient_accumulation_steps']} a step",
    ]
    return ", ".join(parts)


def _json(record: Mapping[str, Any]) -> bytes:
    return canonical_json(dict(record)) + b"\n"
