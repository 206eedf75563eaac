"""Rows that TRL has prepared, kept on disk for the next trials of a sweep's worker.

`SFTTrainer` tokenizes, labels, cuts and packs all rows when it is made; the trials of a sweep mostly differ in settings
that none of this reads. A key stands for everything that it does read: the rows themselves, the tokenizer, the settings
that TRL's code names, the day if the chat template writes it, and the libraries. What no key can stand for is not kept.
"""

import ast
import inspect
import json
import logging
import os
import platform
import re
import shutil
import tempfile
import textwrap
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pyarrow
from blake3 import blake3
from datasets import Dataset, load_from_disk

from runner.train.data.json_cell import register_json_cell

logger = logging.getLogger(__name__)

MAX_BYTES = 4 << 30
"""What all kept rows of a worker may take on its disk."""

MAX_ENTRIES = 16
"""How many of them are kept: evaluation rows are one, training rows another."""

_LIBRARIES = ("datasets", "jinja2", "pyarrow", "tokenizers", "transformers", "trl")
_TRAINER_READS = ("_tokenizer", "chat_template", "completion_only_loss")
"""What TRL's preparation reads of the trainer itself."""

_NOT_OF_A_TOKENIZER = ("_tokenizer", "deprecation_warnings", "files_loaded", "init_kwargs", "name_or_path", "verbose")
_PATHS = ("name_or_path", "tokenizer_file", "vocab_file")
_BATCH_ROWS = 1000


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """What TRL is asked to prepare, besides the rows."""

    trainer: Any
    """The trainer that is being made."""
    args: Any
    """Its settings."""
    tokenizer: Any
    """The model's."""
    packing: bool
    """Whether these rows are packed."""

    def key(self, rows: Dataset) -> str | None:
        """Return a digest of everything that the prepared rows depend on; None if something else may matter."""
        settings = settings_read(type(self.trainer)._prepare_dataset_of_trl)
        tokenizer = tokenizer_state(self.tokenizer)
        times = written_times(f"{self.tokenizer.chat_template} {getattr(self.trainer, 'chat_template', None)}")
        if settings is None or tokenizer is None or times is None or rows.format["type"] is not None:
            return None
        trainer = [getattr(self.trainer, name) for name in _TRAINER_READS if name != "_tokenizer"]
        if getattr(self.trainer, "_tokenizer", self.tokenizer) is not self.tokenizer:
            return None
        read = {name: getattr(self.args, name) for name in settings}
        what = [read, trainer, self.packing, tokenizer, times, _versions(), repr(rows.features)]
        return blake3(json.dumps(what, sort_keys=True, default=repr).encode() + _digest(rows)).hexdigest(length=20)


@dataclass(frozen=True)
class KeptRows:
    """A folder with prepared rows. Several processes may use it at once, and each may be killed at any time.

    Args:
        folder: on a local disk; made when it is needed.
    """

    folder: Path

    def get_or_make(self, preparation: Preparation, rows: Dataset, make: Callable[[], Dataset]) -> Dataset:
        """Return the prepared rows, memory-mapped if they are there; else what `make` returns, and keep that."""
        key = preparation.key(rows)
        if key is None:
            return make()
        entry = self.folder / key
        if (kept := self._load(entry)) is not None:
            logger.info(f"{len(kept)} prepared rows are there already, from an earlier trial")
            return kept
        made = make()
        self._keep(entry, made)
        return made

    def _load(self, entry: Path) -> Dataset | None:
        register_json_cell()
        try:
            os.utime(entry)  # used now: the last to be removed
            kept = load_from_disk(str(entry), keep_in_memory=False)
        except FileNotFoundError:
            return None
        except Exception as error:  # noqa: BLE001 (removed meanwhile, or damaged: they are made again)
            logger.info(f"prepared rows cannot be read and are made again: {error}")
            shutil.rmtree(entry, ignore_errors=True)
            return None
        return kept if isinstance(kept, Dataset) else None

    def _keep(self, entry: Path, made: Dataset) -> None:
        if made.data.nbytes > MAX_BYTES // 2:
            return
        unfinished: str | None = None
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            unfinished = tempfile.mkdtemp(prefix=".unfinished-", dir=self.folder)
            made.save_to_disk(unfinished)
            with suppress(OSError):  # another trial was faster, with the same rows
                Path(unfinished).rename(entry)
            self._remove_the_oldest()
        except Exception as error:  # noqa: BLE001 (a full disk, perhaps: the next trial takes longer)
            logger.info(f"the prepared rows are not kept: {error}")
        finally:
            if unfinished is not None:
                shutil.rmtree(unfinished, ignore_errors=True)

    def _remove_the_oldest(self) -> None:
        """Remove what was not used for longest, also what a killed process left, until the rest is small enough."""
        entries = []
        for entry in self.folder.iterdir():
            with suppress(FileNotFoundError):
                size = sum(file.stat().st_size for file in entry.iterdir())
                entries.append((entry.stat().st_mtime, size, entry))
        left = MAX_BYTES
        for place, (_, size, entry) in enumerate(sorted(entries, reverse=True)):
            left -= size
            if place and (left < 0 or place >= MAX_ENTRIES):
                shutil.rmtree(entry, ignore_errors=True)


def settings_read(prepare: Callable[..., Any]) -> tuple[str, ...] | None:
    """Return the settings that TRL's preparation reads, by its code; None if it reads what is not known here."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(prepare)))
    except OSError:  # installed without its source
        return None
    attributes: dict[str, set[str]] = {"args": set(), "self": set()}
    wholes = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id in attributes]
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in attributes:
            attributes[node.value.id].add(node.attr)
            wholes.remove(node.value.id)
    if wholes or not attributes["self"] <= set(_TRAINER_READS):
        return None
    return tuple(sorted(attributes["args"]))


def tokenizer_state(tokenizer: Any) -> Mapping[str, Any] | None:
    """Return what a tokenizer's results depend on; None for one whose code is not transformers' own."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or not type(tokenizer).__module__.startswith("transformers."):
        return None
    if backend.truncation is not None or backend.padding is not None:
        return None  # tokenizing turns these off, and the tokenizer is saved with the model
    state = {name: repr(value) for name, value in vars(tokenizer).items() if name not in _NOT_OF_A_TOKENIZER}
    given = {name: repr(value) for name, value in tokenizer.init_kwargs.items() if name not in _PATHS}
    return {"class": type(tokenizer).__qualname__, "backend": backend.to_str(), "state": state, "given": given}


def written_times(template: str) -> list[str] | None:
    """Return what a chat template writes of today's date (`strftime_now`); None if that cannot be told."""
    formats = re.findall(r"""strftime_now\(\s*["']([^"']*)["']\s*\)""", template)
    if len(formats) != template.count("strftime_now("):
        return None
    return [datetime.now().strftime(each) for each in formats]


def _versions() -> list[str | None]:
    return [platform.python_version(), *(_version(name) for name in _LIBRARIES)]


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _digest(rows: Dataset) -> bytes:
    """Return a digest of what the rows hold, in their order."""
    digest = blake3()
    for table in rows.with_format("arrow").iter(_BATCH_ROWS):
        written = pyarrow.BufferOutputStream()
        with pyarrow.ipc.new_stream(written, table.schema) as stream:
            stream.write_table(table)
        digest.update(written.getvalue())
    return digest.digest()
