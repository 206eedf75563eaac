"""How each attempt's training was fitted to the GPU that it found, in the store beside the attempt's other records."""

import json
import re
from collections.abc import Mapping
from typing import Any

from runner.runs.attempts import Claim
from runner.runs.layout import attempt_key, run_key
from runner.storage.manifest import canonical_json
from runner.storage.store import NotFound, Store, create_ours

_RECORD = re.compile(r"(?P<number>\d{4,})\.fit-(?P<stage>\w+)\.json")


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
        match = _RECORD.fullmatch(info.key.removeprefix(prefix))
        if match is None or match["stage"] != stage or int(match["number"]) >= claim.number:
            continue
        try:
            record = json.loads(store.get(info.key))
        except (NotFound, ValueError):
            continue
        if isinstance(record, dict):
            found.append((int(match["number"]), record))
    return [record for _, record in sorted(found, key=lambda each: each[0])]
