"""Local data files as a `Dataset`, each cell as it is written; and folders of them, by split."""

import glob
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow
import pyarrow.parquet
from datasets import Dataset, DatasetInfo, Features, ReadInstruction, Value, concatenate_datasets
from datasets.fingerprint import get_temporary_cache_files_directory

from runner.recipe.rows.read import read_columns
from runner.train.data.arrow_files import unify_arrow_files, write_arrow_files
from runner.train.data.json_cell import JsonCell, register_json_cell
from runner.train.data.parallel import write_in_parts

_BUILDERS = {".csv": "csv", ".tsv": "csv", ".txt": "text"}


def read_files(files: Sequence[Path], name: Callable[[Path], str]) -> Dataset:
    """Return the rows of files of one kind (`runner.recipe.rows.read.SUFFIXES`), one file after the other.

    They are kept in a temporary folder of this process (see `keep_temporary_files_in`), and mapped into memory.

    Args:
        files: the files, at least one.
        name: returns a file's name for errors.

    Raises:
        UserError: a row is broken, or a file cannot be read.
    """
    folder, written = temporary_folder(), []
    for file in files:
        in_parts = write_in_parts(file, folder)
        written += write_arrow_files(read_columns(file, where=name(file)), folder) if in_parts is None else in_parts
    paths, kinds = unify_arrow_files(written)
    register_json_cell()
    features = Features({column: JsonCell() if is_json else Value("string") for column, is_json in kinds.items()})
    info = DatasetInfo(features=features, builder_name=_BUILDERS.get(files[0].suffix.lower(), "json"))
    if not paths:
        return Dataset.from_dict({}, info=info)
    return concatenate_datasets([Dataset.from_file(str(path), info=info.copy()) for path in paths])


def read_parquet(file: Path) -> Dataset:
    """Return the rows of a Parquet file whatever its name is: `load_dataset` takes one with brackets for a pattern.

    Raises:
        OSError: it cannot be read.
        pyarrow.ArrowInvalid: it is not Parquet.
    """
    after = temporary_folder() / f"rows-{uuid.uuid4().hex}.arrow"
    with pyarrow.parquet.ParquetFile(file) as source:
        schema = source.schema_arrow
        with pyarrow.ipc.new_stream(str(after), schema) as writer:
            for batch in source.iter_batches():
                writer.write_batch(batch)
    return Dataset.from_file(str(after))


def select_split(split: str, splits: Mapping[str, Callable[[], Dataset]]) -> Dataset:
    """Return the rows of a split, a slice of one (``train[:10%]``), or several (``train+test``), as `datasets` has it.

    Args:
        split: as written in the recipe.
        splits: returns the rows of each split; only those that are named are asked for.

    Raises:
        ValueError: there is no such split, or the text is not one.
    """
    lengths = _Lengths(splits)
    instruction = ReadInstruction.from_spec("+".join(splits) if split == "all" else split)
    parts = []
    for part in instruction.to_absolute(lengths):
        rows = lengths.read(part.splitname)
        whole = (part.from_, part.to) == (0, len(rows))
        parts.append(rows if whole else rows.select(range(part.from_, part.to)))
    return parts[0] if len(parts) == 1 else concatenate_datasets(parts)


def with_plain_name(path: Path) -> Path:
    """Return a path that `datasets` and fsspec take for a name: a link, if they would take this one for a pattern."""
    if not is_pattern(path):
        return path
    link = Path(tempfile.mkdtemp(dir=temporary_folder())) / f"data{path.suffix.lower() if path.is_file() else ''}"
    link.symlink_to(path)
    return link


def is_pattern(path: Path) -> bool:
    """Whether `datasets` or fsspec take a path for a pattern, or for several paths."""
    return glob.has_magic(str(path)) or "::" in str(path)


def temporary_folder() -> Path:
    """Return the folder for the temporary files of `datasets` in this process."""
    folder = Path(get_temporary_cache_files_directory())
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class _Lengths(dict[str, int]):
    """The number of rows of each split, which is read when it is asked for."""

    def __init__(self, splits: Mapping[str, Callable[[], Dataset]]) -> None:
        super().__init__(dict.fromkeys(splits, -1))
        self._splits = splits
        self._rows: dict[str, Dataset] = {}

    def __getitem__(self, split: str) -> int:
        return len(self.read(split))

    def read(self, split: str) -> Dataset:
        if split not in self._rows:
            self._rows[split] = self._splits[split]()
        return self._rows[split]

    def __iter__(self) -> Iterator[str]:
        return iter(self._splits)
