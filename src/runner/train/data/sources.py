"""Read one entry of a recipe's data: from the hub, a file, a folder, or a built-in dataset."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict
from datasets.exceptions import DatasetGenerationError, DatasetNotFoundError, DatasetsError
from datasets.load import load_dataset, load_from_disk
from huggingface_hub.errors import HfHubHTTPError

from runner.errors import UserError
from runner.recipe.inputs.references import SAVED_TO_DISK
from runner.recipe.recipe import DataSource
from runner.train.builtin.catalog import builtin_dataset, is_builtin

_INPUTS = "inputs/"
_BUILDERS = {".jsonl": "json", ".json": "json", ".csv": "csv", ".parquet": "parquet", ".txt": "text"}


def read_source(source: DataSource, *, where: str, inputs: Callable[[str], Path]) -> Dataset:
    """Return the rows of one entry, with their own columns. Never empty.

    Args:
        source: the entry.
        where: its place in the recipe (``data.train.0``), for errors.
        inputs: returns the local copy of a file that was uploaded with the recipe (``inputs/<digest>/<name>``).

    Raises:
        UserError: it does not exist, cannot be read, has no such split, or has no rows.
    """
    if is_builtin(source.path):
        dataset = _builtin(source, where)
    elif source.path.startswith(_INPUTS):
        dataset = _local(inputs(source.path), source, where)
    elif Path(source.path).is_absolute():
        dataset = _local(Path(source.path), source, where)
    else:
        dataset = _hub(source, where)
    if len(dataset) == 0:
        raise _empty(source, where)
    return dataset


def _builtin(source: DataSource, where: str) -> Dataset:
    rows = builtin_dataset(source.path, where=f"{where}.path")
    if source.split != "train":
        raise UserError(
            f"{source.path} has no split {source.split!r}",
            where=f"{where}.split",
            remedy="It has only train; draw a part of it with sample.",
        )
    return Dataset.from_list([dict(row) for row in rows])


def _local(path: Path, source: DataSource, where: str) -> Dataset:
    if path.is_dir():
        if any((path / name).is_file() for name in SAVED_TO_DISK):
            return _saved_to_disk(path, source, where)
        return _load(source, where, str(path), name=source.name)
    if not path.is_file():
        raise UserError(f"there is no file or folder {source.path}", where=f"{where}.path")
    builder = _BUILDERS.get(path.suffix.lower())
    if builder is None:
        raise UserError(
            f"cannot tell what kind of data {path.name} holds",
            where=f"{where}.path",
            remedy=f"Known by their endings: {', '.join(_BUILDERS)}.",
        )
    if path.stat().st_size == 0:
        raise _empty(source, where)
    return _load(source, where, builder, data_files=str(path))


def _saved_to_disk(path: Path, source: DataSource, where: str) -> Dataset:
    saved = load_from_disk(str(path))
    if isinstance(saved, DatasetDict):
        if source.split not in saved:
            raise _unknown_split(source, where, f"It has {', '.join(saved)}.")
        return saved[source.split]
    return saved


def _hub(source: DataSource, where: str) -> Dataset:
    return _load(source, where, source.path, name=source.name, revision=source.revision)


def _load(source: DataSource, where: str, path: str, **arguments: Any) -> Dataset:
    """Call `load_dataset`, and turn its many errors about a wrong recipe into `UserError`."""
    try:
        dataset = load_dataset(path, split=source.split, **arguments)
    except DatasetNotFoundError as error:
        raise UserError(
            str(error),
            where=f"{where}.path",
            remedy="Check the name; for a gated or private one, ask for access at "
            f"https://huggingface.co/datasets/{path} and set HF_TOKEN. "
            "A local path must be absolute or relative to the recipe's file.",
        ) from error
    except DatasetGenerationError as error:
        raise UserError(f"{source.path} cannot be read: {error.__cause__ or error}", where=f"{where}.path") from error
    except (ConnectionError, HfHubHTTPError) as error:
        raise UserError(
            f"cannot get {source.path} from the hub: {error}",
            where=f"{where}.path",
            remedy="Is this machine online, and HF_HUB_OFFLINE unset? Offline, name a local file.",
        ) from error
    except ValueError as error:
        # Both are plain ValueErrors whose text lists the existing names.
        if "split" in str(error).lower():
            raise _unknown_split(source, where, str(error)) from error
        raise UserError(f"{source.path} cannot be read: {error}", where=where) from error
    except (DatasetsError, OSError) as error:
        raise UserError(f"{source.path} cannot be read: {error}", where=f"{where}.path") from error
    if not isinstance(dataset, Dataset):
        raise UserError(f"{source.split!r} names more than one split", where=f"{where}.split")
    return dataset


def _unknown_split(source: DataSource, where: str, remedy: str) -> UserError:
    return UserError(f"{source.path} has no split {source.split!r}", where=f"{where}.split", remedy=remedy)


def _empty(source: DataSource, where: str) -> UserError:
    return UserError(f"{source.path} has no rows", where=f"{where}.path")
