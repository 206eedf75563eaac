"""Attempts in the store: claiming a number, saying what was restored, finding out that a newer one has begun.

An attempt claims first, then chooses what to restore, then says so. Whatever an older attempt that is still alive
commits after the claim, the chooser either sees it or leaves it off the lineage for good (`runner.runs.lineage`).
"""

import json
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from runner.runs.layout import CheckpointName, attempt_key, attempt_token, new_nonce, run_key
from runner.storage.manifest import Damaged, canonical_json
from runner.storage.store import NotFound, Store, create_ours

_RECORD = re.compile(r"(?P<number>\d{4,})(?:\.(?P<kind>[a-z]+))?\.json")
_READS_AT_ONCE = 8


class Superseded(Exception):
    """A newer attempt has begun: this one may commit and delete nothing any more."""


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
    claim: Mapping[str, Any]
    """Who claimed it: host, process, time."""
    began: bool
    """Whether it has said what it continues from. Before that it owns nothing."""
    restored: CheckpointName | None
    """The checkpoint that it continues from; None if it began afresh, or has not begun."""
    ended: Mapping[str, Any] | None
    """How it ended; None if it is alive or was killed."""
    stages: tuple[str, ...] = ()
    """The names of the run's stages in the recipe's order; empty for a run without stages."""


def claim_attempt(store: Store, run_id: str, record: Mapping[str, Any]) -> Claim:
    """Take the next free number.

    Where conditional writes are ignored, two attempts may both believe for a moment that a number is theirs; the one
    whose token does not stand there in the end finds out in `fence`.

    Args:
        store: where to.
        run_id: the run.
        record: who claims (host, process, time); ``token`` and ``number`` are added.
    """
    number = max(_numbers(store, run_id), default=0) + 1
    while True:
        token = attempt_token(number, new_nonce(4))
        key = attempt_key(run_id, number)
        if create_ours(store, key, _json({**record, "token": token, "number": number})):
            try:
                if _read(store, key).get("token") == token:
                    return Claim(run_id, number, token)
            except NotFound:
                pass
        number += 1


def write_restored(
    store: Store, claim: Claim, checkpoint: CheckpointName | None, *, stages: Sequence[str] = ()
) -> None:
    """Say what the attempt continues from; with this it begins.

    Args:
        store: where to.
        claim: the attempt.
        checkpoint: what it restored, None if it begins afresh.
        stages: the names of the run's stages in order, by which readers tell the later of two checkpoints.

    Raises:
        Superseded: a newer attempt has begun.
    """
    _check_claim(store, claim)
    record: dict[str, Any] = {"token": claim.token, "checkpoint": None if checkpoint is None else str(checkpoint)}
    if stages:
        record["stages"] = list(stages)
    if not create_ours(store, attempt_key(claim.run_id, claim.number, "restored"), _json(record)):
        raise Superseded(f"another attempt has begun as number {claim.number}")


def write_ended(store: Store, claim: Claim, record: Mapping[str, Any]) -> bool:
    """Say how the attempt ended; False if that was said before."""
    data = _json({**record, "token": claim.token})
    return create_ours(store, attempt_key(claim.run_id, claim.number, "ended"), data)


def write_heartbeat(store: Store, claim: Claim, record: Mapping[str, Any]) -> None:
    """Say that the attempt is alive; a hint, overwritten each time."""
    store.put(attempt_key(claim.run_id, claim.number, "heartbeat"), _json({**record, "token": claim.token}))


def read_heartbeat(store: Store, run_id: str, number: int) -> Mapping[str, Any] | None:
    """The newest sign of life of an attempt; None if there is none that can be read."""
    try:
        return _read(store, attempt_key(run_id, number, "heartbeat"))
    except (NotFound, Damaged):
        return None


def attempts(store: Store, run_id: str) -> list[Attempt]:
    """All attempts of a run, oldest first.

    Raises:
        Damaged: a record is no JSON.
    """
    found = _records(store, run_id)
    keys = [
        attempt_key(run_id, number, kind)
        for number, kinds in sorted(found.items())
        for kind in ("", "restored", "ended")
        if kind in kinds
    ]
    with ThreadPoolExecutor(_READS_AT_ONCE, thread_name_prefix="attempts") as pool:
        records = dict(zip(keys, pool.map(lambda key: _read(store, key), keys), strict=True))
    return [_attempt(run_id, number, records) for number, kinds in sorted(found.items()) if "" in kinds]


def fence(store: Store, claim: Claim) -> None:
    """Go on only if the attempt is still the newest. To be called right before each manifest and each deletion.

    Raises:
        Superseded: it is not.
    """
    _check_claim(store, claim)
    try:
        restored = _read(store, attempt_key(claim.run_id, claim.number, "restored"))
    except NotFound:
        return
    if restored.get("token") != claim.token:
        raise Superseded(f"another attempt has begun as number {claim.number}")


def is_superseded(store: Store, claim: Claim) -> bool:
    """Whether a newer attempt has begun."""
    try:
        fence(store, claim)
    except Superseded:
        return True
    return False


def _check_claim(store: Store, claim: Claim) -> None:
    newest = max(_numbers(store, claim.run_id), default=0)
    if newest > claim.number:
        raise Superseded(f"attempt {newest} has begun")
    try:
        token = _read(store, attempt_key(claim.run_id, claim.number)).get("token")
    except NotFound:
        raise Superseded("the attempt's claim is gone from the store") from None
    if token != claim.token:
        raise Superseded(f"another attempt has claimed number {claim.number}")


def _records(store: Store, run_id: str) -> dict[int, set[str]]:
    prefix = run_key(run_id, "attempts/")
    found: dict[int, set[str]] = {}
    for info in store.objects(prefix):
        match = _RECORD.fullmatch(info.key.removeprefix(prefix))
        if match is not None:
            found.setdefault(int(match["number"]), set()).add(match["kind"] or "")
    return found


def _numbers(store: Store, run_id: str) -> list[int]:
    return [number for number, kinds in _records(store, run_id).items() if "" in kinds]


def _attempt(run_id: str, number: int, records: Mapping[str, Mapping[str, Any]]) -> Attempt:
    claim = records[attempt_key(run_id, number)]
    token = claim.get("token")
    if not isinstance(token, str):
        raise Damaged(attempt_key(run_id, number), "holds no token")

    def ours(kind: str) -> Mapping[str, Any] | None:
        record = records.get(attempt_key(run_id, number, kind))
        return record if record is not None and record.get("token") == token else None

    restored = ours("restored")
    name = None if restored is None else restored.get("checkpoint")
    checkpoint = None if name is None else CheckpointName.parse(str(name))
    if name is not None and checkpoint is None:
        raise Damaged(attempt_key(run_id, number, "restored"), f"{name!r} is no checkpoint")
    stages = tuple(map(str, (restored or {}).get("stages", ())))
    return Attempt(number, token, claim, restored is not None, checkpoint, ours("ended"), stages)


def _json(record: Mapping[str, Any]) -> bytes:
    return canonical_json(dict(record)) + b"\n"


def _read(store: Store, key: str) -> dict[str, Any]:
    try:
        record = json.loads(store.get(key))
    except ValueError as error:
        raise Damaged(key, "no JSON") from error
    if not isinstance(record, dict):
        raise Damaged(key, "no JSON object")
    return record


_FIT_RECORD = re.compile(r"(?P<number>\d{4,})\.fit-(?P<stage>\w+)\.json")


def write_fit(store: Store, claim: Claim, stage: str, record: Mapping[str, Any]) -> None:
    """Say how an attempt's stage was fitted; the first record stands.

    Args:
        store: where to.
        claim: the attempt.
        stage: which stage of the run.
        record: ``accelerators`` and ``settings`` at least; ``token`` is added.
    """
    data = canonical_json({**record, "token": claim.token}) + b"\n"
    create_ours(store, attempt_key(claim.run_id, claim.number, f"fit-{stage}"), data)


def fits_so_far(store: Store, claim: Claim, stage: str) -> list[Mapping[str, Any]]:
    """The records of the attempts before this one at the same stage, oldest first; one that is damaged is left out."""
    prefix = run_key(claim.run_id, "attempts/")
    found: list[tuple[int, Mapping[str, Any]]] = []
    for info in store.objects(prefix):
        match = _FIT_RECORD.fullmatch(info.key.removeprefix(prefix))
        if match is None or match["stage"] != stage or int(match["number"]) >= claim.number:
            continue
        try:
            record = json.loads(store.get(info.key))
        except (NotFound, ValueError):
            continue
        if isinstance(record, dict):
            found.append((int(match["number"]), record))
    return [record for _, record in sorted(found, key=lambda each: each[0])]
