"""Read one entry of a recipe's data: from the hub, a file, a folder, or a built-in dataset."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict, concatenate_datasets
from datasets.exceptions import DatasetGenerationError, DatasetNotFoundError, DatasetsError
from datasets.load import load_dataset, load_from_disk
from huggingface_hub.errors import HfHubHTTPError
from pyarrow import ArrowInvalid

from runner.errors import UserError
from runner.recipe.inputs.references import SAVED_TO_DISK
from runner.recipe.recipe import DataSource
from runner.recipe.rows.folders import left_out_sentence, split_files
from runner.recipe.rows.read import SUFFIXES
from runner.train.builtin.catalog import builtin_dataset, is_builtin
from runner.train.data.local_files import is_pattern, read_files, read_parquet, select_split, with_plain_name
from runner.train.data.typed_columns import name_guesses, times_as_text

_INPUTS = "inputs/"
_PARQUET = ".parquet"


def read_source(source: DataSource, *, where: str, inputs: Callable[[str], Path], notes: list[str]) -> Dataset:
    """Return the rows of one entry, with their own columns. Never empty.

    Local files of JSON, CSV and plain text have each cell as it is written (`read_files`). Parquet files, what
    `datasets` saved to disk and the hub have the types that are declared there.

    Args:
        source: the entry.
        where: its place in the recipe (``data.train.0``), for errors.
        inputs: returns the local copy of a file that was uploaded with the recipe (``inputs/<digest>/<name>``).
        notes: gets sentences on columns whose text is not certain.

    Raises:
        UserError: it does not exist, cannot be read, has no such split, or has no rows.
    """
    if is_builtin(source.path):
        dataset = _builtin(source, where)
    elif source.path.startswith(_INPUTS):
        dataset = _local(inputs(source.path), source, where, notes)
    elif Path(source.path).is_absolute():
        dataset = _local(Path(source.path), source, where, notes)
    else:
        dataset = _hub(source, where)
        name_guesses(dataset, where, notes)
    if len(dataset) == 0:
        raise _empty(source, where)
    return times_as_text(dataset, where, notes)


def _builtin(source: DataSource, where: str) -> Dataset:
    rows = builtin_dataset(source.path, where=f"{where}.path")
    if source.split != "train":
        raise UserError(
            f"{source.path} has no split {source.split!r}",
            where=f"{where}.split",
            remedy="It has only train; draw a part of it with sample.",
        )
    return Dataset.from_list([dict(row) for row in rows])


def _local(path: Path, source: DataSource, where: str, notes: list[str]) -> Dataset:
    if path.is_dir():
        return _folder(path, source, where, notes)
    if not path.is_file():
        raise UserError(f"there is no file or folder {source.path}", where=f"{where}.path")
    suffix = path.suffix.lower()
    if suffix not in (*SUFFIXES, _PARQUET):
        raise UserError(
            f"cannot tell what kind of data {path.name} holds",
            where=f"{where}.path",
            remedy=f"Known by their endings: {', '.join((*SUFFIXES, _PARQUET))}.",
        )
    if path.stat().st_size == 0:
        raise _empty(source, where)
    if suffix == _PARQUET and not is_pattern(path):
        return _load(source, where, "parquet", data_files=str(path))
    name = path.name if source.path.startswith(_INPUTS) else source.path
    return _split(source, where, {"train": lambda: _files([path], where, lambda _: name)})


def _folder(path: Path, source: DataSource, where: str, notes: list[str]) -> Dataset:
    if any((path / name).is_file() for name in SAVED_TO_DISK):
        return _saved_to_disk(with_plain_name(path), source, where)
    splits = split_files(path)
    files = [file for found in (splits or {}).values() for file in found]
    ours = all(file.suffix.lower() in SUFFIXES for file in files) or any(map(is_pattern, files))
    if splits is not None and ours:
        if not splits:
            raise UserError(f"{source.path} holds no data files", where=f"{where}.path")
        if sentence := left_out_sentence(path, where):
            notes.append(sentence)

        def read(files: Sequence[Path]) -> Dataset:
            return _files(files, where, lambda file: str(Path(source.path) / file.relative_to(path)))

        return _split(source, where, {split: partial(read, files) for split, files in splits.items()})
    if is_pattern(path):
        raise UserError(
            f"a dataset card in {source.path} says which files are which split, and datasets, which reads such a card, "
            "takes the folder's name for a pattern",
            where=f"{where}.path",
            remedy="Rename the folder, or name a file.",
        )
    dataset = _load(source, where, str(path), name=source.name)
    name_guesses(dataset, where, notes)
    return dataset


def _files(files: Sequence[Path], where: str, name: Callable[[Path], str]) -> Dataset:
    try:
        if files[0].suffix.lower() == _PARQUET:
            return concatenate_datasets([read_parquet(file) for file in files])
        return read_files(files, name)
    except UserError as error:
        raise UserError(f"{error.where}: {error.what}", where=f"{where}.path", remedy=error.remedy) from error
    except (OSError, ArrowInvalid) as error:
        raise UserError(f"{name(files[0])} cannot be read: {error}", where=f"{where}.path") from error


def _split(source: DataSource, where: str, splits: Mapping[str, Callable[[], Dataset]]) -> Dataset:
    try:
        return select_split(source.split, splits)
    except ValueError as error:
        raise _unknown_split(source, where, str(error)) from error


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
