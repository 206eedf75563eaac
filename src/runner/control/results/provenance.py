"""What a run was made with, as far as its records say: libraries, machine, commits and fingerprints of what it read.

Attempts write ``attempts/<n>.machine.json`` and ``attempts/<n>.inputs-<stage>.json``; checkpoints hold digests of the
training rows and the tokenizer. Older runs have less.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict

from runner.runs.checkpoints.files import RUNNER_STATE
from runner.runs.checkpoints.lineage import checkpoints
from runner.runs.layout import attempt_key, checkpoint_prefix, run_key
from runner.runs.record_types.measured import LengthsRecord
from runner.runs.record_types.rules import Line
from runner.runs.records import find_hint, numbered_records
from runner.storage.manifest import Damaged
from runner.storage.store import NotFound, Store

FIRST = (
    *("torch", "transformers", "trl", "peft", "accelerate", "datasets", "tokenizers", "bitsandbytes", "deepspeed"),
    *("liger_kernel", "flash_attn", "kernels", "safetensors", "numpy", "triton"),
)
"""The libraries whose versions come first: those that a training's numbers depend on."""

_DATASET = re.compile(r"data\.(?P<section>train|eval)\.(?P<index>[0-9]{1,4})")


class _Machine(TypedDict):
    """What is read of ``attempts/<n>.machine.json``."""

    gpus: NotRequired[list[Mapping[str, Any]]]
    driver: NotRequired[Line | None]
    cuda: NotRequired[Line | None]
    python: NotRequired[Line]
    versions: NotRequired[Mapping[Line, Line]]
    cpus: NotRequired[int]


class _Inputs(TypedDict):
    """What is read of ``attempts/<n>.inputs-<stage>.json``."""

    model_commit: NotRequired[Line | None]
    tokenizer: NotRequired[Any]
    rows: NotRequired[Line]
    datasets: NotRequired[list[Mapping[str, Any]]]
    lengths: NotRequired[LengthsRecord | None]


class Provenance:
    """What one run was made with; each value is read when it is asked for.

    Args:
        store: where the run lives.
        run_id: the run.
    """

    def __init__(self, store: Store, run_id: str) -> None:
        self._store, self._run_id = store, run_id
        self._numbers = numbered_records(store, run_key(run_id, "attempts/"))

    def machines(self) -> list[_Machine]:
        """The machines of the attempts, oldest first."""
        keys = [attempt_key(self._run_id, number, "machine") for number in self._numbers_with("machine")]
        return [record for record in (find_hint(self._store, key, _Machine) for key in keys) if record is not None]

    def inputs(self) -> dict[str, _Inputs]:
        """What each stage read, as its first attempt found it."""
        found: dict[str, _Inputs] = {}
        for number, kinds in self._numbers.items():
            for kind in kinds:
                stage = kind.removeprefix("inputs-")
                if stage != kind and stage not in found:
                    record = find_hint(self._store, attempt_key(self._run_id, number, kind), _Inputs)
                    found |= {} if record is None else {stage: record}
        return found

    def libraries(self) -> dict[str, str]:
        """The versions of what was installed, the important ones first; several if attempts had others."""
        versions: dict[str, dict[str, None]] = {}
        for machine in self.machines():
            for name, version in (machine.get("versions") or {}).items():
                versions.setdefault(_normal(name), {})[version] = None
            if machine.get("python"):
                versions.setdefault("python", {})[machine["python"]] = None
        ordered = [*FIRST, "python", *sorted(versions)]
        return {name: ", ".join(versions[name]) for name in dict.fromkeys(ordered) if name in versions}

    def hardware(self) -> dict[str, str]:
        """GPU, driver and CUDA of the attempts' machines."""
        found: dict[str, dict[str, None]] = {}
        for machine in self.machines():
            gpus = [str(gpu.get("name")) for gpu in machine.get("gpus") or []]
            values = {"gpu": ", ".join(gpus) or None, "driver": machine.get("driver"), "cuda": machine.get("cuda")}
            for name, value in values.items():
                if value is not None:
                    found.setdefault(name, {})[value] = None
        return {name: "; ".join(values) for name, values in found.items()}

    def data(self) -> dict[str, str]:
        """Commits and fingerprints of the model, the tokenizer and the data, by stage if there are several."""
        found: dict[str, str] = {}
        inputs = self.inputs()
        for stage, record in inputs.items():
            at = f"{stage}: " if len(inputs) > 1 else ""
            if record.get("model_commit"):
                found[f"{at}model commit"] = str(record["model_commit"])
            if record.get("tokenizer"):
                found[f"{at}tokenizer"] = _shown(record["tokenizer"])
            if record.get("rows"):
                found[f"{at}rows fingerprint"] = str(record["rows"])
            for entry in record.get("datasets") or []:
                for name in ("commit", "rows", "fingerprint"):
                    if entry.get(name) is not None:
                        found[f"{at}{entry.get('entry')}{'.' if name == 'rows' else ' '}{name}"] = _shown(entry[name])
        return found or self.fingerprints()

    def fingerprints(self) -> dict[str, str]:
        """The digests of training rows and tokenizer in the newest checkpoint; empty if it has none."""
        try:
            newest = next(iter(checkpoints(self._store, self._run_id)), None)
            if newest is None:
                return {}
            state = json.loads(self._store.get(checkpoint_prefix(self._run_id, newest) + RUNNER_STATE))
            made_from = state.get("made_from", {})
            return {f"{name} fingerprint": str(made_from[name]) for name in ("rows", "vocabulary") if name in made_from}
        except (NotFound, Damaged, ValueError, AttributeError, TypeError):
            return {}

    def pins(self) -> list[tuple[str, tuple[str, ...], int | None, str]]:
        """The commits that names on the hub were resolved to.

        Returns:
            Stage, section of the recipe, index of the entry there (None: the model), and commit.
        """
        found: list[tuple[str, tuple[str, ...], int | None, str]] = []
        for stage, record in self.inputs().items():
            if record.get("model_commit"):
                found.append((stage, ("model",), None, str(record["model_commit"])))
            for entry in record.get("datasets") or []:
                match = _DATASET.search(str(entry.get("entry")))
                if match is not None and entry.get("commit"):
                    found.append((stage, ("data", match["section"]), int(match["index"]), str(entry["commit"])))
        return found

    def _numbers_with(self, kind: str) -> Sequence[int]:
        return [number for number, kinds in self._numbers.items() if kind in kinds]


def _normal(name: str) -> str:
    """A distribution's name as Python imports it."""
    return name.lower().replace("-", "_").replace(".", "_")


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
