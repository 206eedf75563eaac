"""The records of a run in the store: read and checked, written, and listed in one place; and those of the run itself.

Whoever can write to a store can write anything into a record. What is read here has the fields and types that
`runner.runs.record_types` names, or raises `DamagedRecord`. Text may still hold anything: `printable` before it goes to
a terminal.
"""

import json
import re
from collections.abc import Hashable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar, cast

from runner.errors import UserError
from runner.runs.layout import CANCEL, FINISH, REOPENED, RESULT, RUN, life_key, run_key
from runner.runs.record_types.check import Mismatch, check_for
from runner.runs.record_types.result import Result
from runner.runs.record_types.run import CancelRequest, RunDocument
from runner.storage.manifest import Damaged
from runner.storage.store import NotFound, Store

if TYPE_CHECKING:
    from runner.recipe.recipe import Recipe

T = TypeVar("T")

_DECODER = json.JSONDecoder(parse_constant=lambda name: None)
_DEEPEST = 64
_MOST_BYTES = 16 << 20
"""What a record may take, so that a listing, which reads many at once, stays small in memory."""
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_LONE_SURROGATE = re.compile(r"\\u[dD][89abAB]")
_NUMBERED = re.compile(r"(?P<number>[0-9]{4,12})(?:\.(?P<kind>[a-z]+(?:-[a-z0-9_]+)?))?\.json")


class DamagedRecord(Damaged):
    """A record in the store cannot be trusted: no JSON, a field is missing, or a value is not what it must be."""


def read_record(store: Store, key: str, kind: type[T]) -> T:
    """Read a record of one of the types in `runner.runs.record_types`.

    Raises:
        NotFound: it is not there.
        DamagedRecord: it is not a record of this type.
    """
    return decoded(key, _read(store, key), kind)


def _read(store: Store, key: str) -> bytes:
    try:
        return store.get(key)
    except Damaged as error:
        raise DamagedRecord(key, error.reason) from error


def exists(store: Store, key: str) -> bool:
    """Whether there is something under a key, whatever it is."""
    try:
        store.get(key)
    except NotFound:
        return False
    except Damaged:
        return True
    return True


def find_record(store: Store, key: str, kind: type[T]) -> T | None:
    """The same; None if it is not there.

    Raises:
        DamagedRecord: it is not a record of this type.
    """
    try:
        return read_record(store, key, kind)
    except NotFound:
        return None


def find_hint(store: Store, key: str, kind: type[T]) -> T | None:
    """The same for a record that readers can do without; None if it is not there, or damaged."""
    try:
        return read_record(store, key, kind)
    except (NotFound, DamagedRecord):
        return None


def decoded(key: str, data: bytes, kind: type[T]) -> T:
    """The record in `data`, which was read under `key`.

    NaN and infinities, which older versions wrote in places, are read as null.

    Raises:
        DamagedRecord: it is not a record of this type.
    """
    try:
        if len(data) > _MOST_BYTES:
            raise Mismatch(f"it has {len(data):,} bytes")
        text = data.decode()
        value = _DECODER.decode(text)
        if _LONE_SURROGATE.search(text):
            value = _encodable(value)
        if not _is_shallow(data):
            _check_depth(value)
    except Mismatch as mismatch:
        raise DamagedRecord(key, str(mismatch)) from mismatch
    except (ValueError, RecursionError) as error:
        raise DamagedRecord(key, "not JSON") from error
    return checked(key, value, kind)


def checked(key: str, value: object, kind: type[T]) -> T:
    """`value` itself, which is to stand (or stands) under `key`.

    Raises:
        DamagedRecord: it is not a record of this type.
    """
    try:
        check_for(cast(Hashable, kind))(value, "")
    except Mismatch as mismatch:
        raise DamagedRecord(key, str(mismatch)) from mismatch
    return cast(T, value)


def encoded(document: Mapping[str, Any]) -> bytes:
    """A record as it is written to the store."""
    return json.dumps(document, indent=2).encode() + b"\n"


def _encodable(value: Any) -> Any:
    """The value with lone surrogates replaced: no output takes them."""
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, list):
        return [_encodable(item) for item in value]
    if isinstance(value, dict):
        return {_encodable(key): _encodable(inner) for key, inner in value.items()}
    return value


def _is_shallow(data: bytes) -> bool:
    """Whether JSON is certainly not nested too deeply. Quick, and False if brackets in its texts do not match."""
    brackets = data.translate(None, _NO_BRACKETS)
    for _ in range(_DEEPEST):
        if not brackets:
            return True
        brackets = brackets.replace(b"{}", b"").replace(b"[]", b"")
    return not brackets


def _check_depth(value: Any) -> None:
    """Refuse what is nested so deeply that writing it again would exhaust the stack."""
    layer = [value]
    for _ in range(_DEEPEST):
        layer = [
            inner
            for outer in layer
            for inner in (outer.values() if type(outer) is dict else outer if type(outer) is list else ())
            if type(inner) in (dict, list)
        ]
        if not layer:
            return
    raise Mismatch(f"it is nested more than {_DEEPEST} deep")


def numbered_records(store: Store, prefix: str) -> dict[int, dict[str, datetime]]:
    """The records ``<n>.json`` and ``<n>.<kind>.json`` right below `prefix`, with when each was last written.

    Returns:
        Times by kind, by number; the kind of ``<n>.json`` is "". A number without a ``<n>.json`` is left out: nobody
        has taken it.
    """
    known: dict[int, dict[str, datetime]] = {}
    for info in store.objects(prefix):
        match = _NUMBERED.fullmatch(info.key.removeprefix(prefix))
        if match is not None and f"{int(match['number']):04d}" == match["number"]:
            known.setdefault(int(match["number"]), {})[match["kind"] or ""] = info.last_modified
    return {number: kinds for number, kinds in sorted(known.items()) if "" in kinds}


def utc_now() -> str:
    """The time as records hold it: ISO 8601, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


# -- the records of the run itself ---------------------------------------------------------------------------------


def run_document(store: Store, run_id: str) -> RunDocument:
    """A run's ``run.json``.

    Raises:
        NotFound: there is no such run.
        DamagedRecord: it cannot be trusted, or is another run's.
    """
    return check_document(read_record(store, run_key(run_id, RUN), RunDocument), run_id)


_SETTINGS = b'\n  "settings": {\n'
_END_OF_SETTINGS = b"\n  },\n"


def listed_document(store: Store, run_id: str) -> RunDocument:
    """The same, without `settings`, which are most of it and no listing needs.

    Raises:
        NotFound: there is no such run.
        DamagedRecord: what is read of it cannot be trusted, or is another run's.
    """
    key = run_key(run_id, RUN)
    data = _read(store, key)
    begin = data.find(_SETTINGS)
    end = data.find(_END_OF_SETTINGS, begin + len(_SETTINGS)) if begin >= 0 else -1
    if end >= 0:
        # As `encoded` writes it, this is the whole map: JSON has no line breaks within its texts. Of a record that was
        # written otherwise too much or too little may be cut out: then the rest is no JSON, and all of it is read.
        with suppress(DamagedRecord):
            rest = b"".join((data[:begin], b'\n  "settings": {', data[end:]))
            return check_document(decoded(key, rest, RunDocument), run_id)
    return check_document(decoded(key, data, RunDocument), run_id)


def check_document(document: object, run_id: str) -> RunDocument:
    """`document` itself, if it can be the ``run.json`` of this run.

    Raises:
        DamagedRecord: it cannot.
    """
    key = run_key(run_id, RUN)
    known = checked(key, document, RunDocument)
    if known["run_id"] != run_id:
        raise DamagedRecord(key, f"it is the record of another run, {known['run_id']}")
    return known


def run_recipe(document: RunDocument) -> "Recipe":
    """The recipe in a run's ``run.json``.

    Raises:
        DamagedRecord: it is not one.
    """
    from runner.recipe.recipe import Recipe  # here: a listing does without

    try:
        return Recipe.from_mapping(document["recipe"])
    except (UserError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise DamagedRecord(run_key(document["run_id"], RUN), "`recipe` is not a resolved recipe") from error


def times_reopened(store: Store, run_id: str) -> int:
    """How often its owner has gone on with a run that had failed (`runner.runs.reopened`)."""
    return max(numbered_records(store, run_key(run_id, REOPENED)), default=0)


def run_result(store: Store, run_id: str) -> Result | None:
    """A run's result: ``result.json``, or that of its newest reopening. None if it has not ended.

    Raises:
        DamagedRecord: it cannot be trusted.
    """
    return result_and_reopenings(store, run_id)[0]


def result_and_reopenings(store: Store, run_id: str) -> tuple[Result | None, int]:
    """The same, with how often the run was reopened.

    Raises:
        DamagedRecord: the result cannot be trusted.
    """
    first = find_record(store, run_key(run_id, RESULT), Result)
    if first is None or first["state"] != "failed":
        return first, 0  # only what failed is reopened: most results are read with one request
    reopened = times_reopened(store, run_id)
    if not reopened:
        return first, 0
    return find_record(store, life_key(run_id, RESULT, reopened=reopened), Result), reopened


def write_result(store: Store, run_id: str, result: Result, *, reopened: int = 0) -> Result:
    """End a life of a run, unless it has ended; returns the result of that life that stands.

    Args:
        store: where the run lives.
        run_id: the run.
        result: how it ended.
        reopened: how often the run was reopened before that life.
    """
    key = life_key(run_id, RESULT, reopened=reopened)
    if store.create(key, encoded(result)):
        return result
    return read_record(store, key, Result)


def last_start(run_id: str, result: Result | None) -> dict[str, str | None]:
    """The keys of the artifacts that the last stage of a run with stages started from, as in `StartedFrom`.

    Raises:
        DamagedRecord: the result does not say.
    """
    stages = result.get("stages") if result is not None else None
    if not stages or "started_from" not in stages[-1]:
        raise DamagedRecord(run_key(run_id, RESULT), "it does not say what the last stage started from")
    start = stages[-1]["started_from"]
    return {"base": start["base"], "adapter": start["adapter"]}


def write_cancel_request(
    store: Store, run_id: str, request: CancelRequest, *, reopened: int = 0, keep_model: bool = False
) -> None:
    """Ask for a run to end; its attempt and its supervisor look for this record.

    Args:
        store: where the run lives.
        run_id: the run.
        request: who asks.
        reopened: how often the run was reopened.
        keep_model: only ask it to stop training, and to end when the model that it has by then is measured and stored.
    """
    store.create(life_key(run_id, FINISH if keep_model else CANCEL, reopened=reopened), encoded(request))


def is_cancel_requested(store: Store, run_id: str, *, reopened: int = 0, keep_model: bool = False) -> bool:
    """Whether somebody has asked for the run to end; arguments as for `write_cancel_request`."""
    return exists(store, life_key(run_id, FINISH if keep_model else CANCEL, reopened=reopened))
