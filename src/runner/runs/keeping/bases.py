"""Which runs others were made from: these must stay as long as those do.

A run names another as where it comes from (``lineage`` in ``run.json``), as its model (``model: {run: …}``), or by a
path into the store, such as ``…/runs/<run_id>/artifacts/model/0001-ab12``, anywhere in its recipe.
"""

import json
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from runner.runs.layout import RUN, is_run_id, run_key
from runner.storage.manifest import Damaged
from runner.storage.store import NotFound, Store

_READERS = 32
_PATH = re.compile(rb"runs/([a-z0-9][a-z0-9._-]{0,99})/(?:artifacts|checkpoints|inputs)/")
_WORDS = (b'"lineage"', b'"run"', b"runs/")


def bases(store: Store, run_ids: Iterable[str]) -> dict[str, set[str]]:
    """The runs that some of these runs were made from, each with those that were made from it.

    Args:
        store: where the runs live.
        run_ids: whose ``run.json`` are read.
    """

    def read(run_id: str) -> set[str]:
        try:
            return named_runs(store.get(run_key(run_id, RUN))) - {run_id}
        except (NotFound, Damaged):
            return set()

    names = list(run_ids)
    needed: dict[str, set[str]] = {}
    with ThreadPoolExecutor(_READERS, thread_name_prefix="bases") as readers:
        for run_id, named in zip(names, readers.map(read, names), strict=True):
            for base in named:
                needed.setdefault(base, set()).add(run_id)
    return needed


def named_runs(document: bytes) -> set[str]:
    """The ids of the runs that a ``run.json`` names. Of one that is damaged, all that look like it."""
    if not any(word in document for word in _WORDS):
        return set()
    named = {match.decode() for match in _PATH.findall(document)}
    try:
        value = json.loads(document)
        named |= {name for name in _names(value) if is_run_id(name)}
    except (ValueError, RecursionError, AttributeError, TypeError):
        named |= {text.decode() for text in re.findall(rb'"([a-z0-9][a-z0-9._-]{0,99})"', document)}
    return named


def _names(document: dict[str, object]) -> list[str]:
    lineage, recipe = document.get("lineage"), document.get("recipe")
    found = [lineage.get("run_id")] if isinstance(lineage, dict) else []
    if isinstance(recipe, dict):
        stages = recipe.get("stages") or []
        for section in (recipe, *(stages if isinstance(stages, list) else [])):
            model = section.get("model") if isinstance(section, dict) else None
            found.append(model.get("run") if isinstance(model, dict) else None)
    return [name for name in found if isinstance(name, str)]
