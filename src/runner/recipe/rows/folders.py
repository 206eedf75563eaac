"""Which files of a folder are which split, as `datasets` decides it by their names (`datasets.data_files`).

The rules, in this order: names such as ``data/train-00000-of-00004.parquet``; a word for a split in the name of a
folder below; such a word in the name of a file; else all files are ``train``. Here names are names: a bracket in one
is no pattern.
"""

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from runner.errors import UserError

DATA_SUFFIXES = (".parquet", ".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".txt")
"""Endings of data files; if a folder holds as many of two kinds, the first of them counts."""
MAX_ENTRIES = 100_000
"""The most entries of a folder that are looked at."""

_MOST_SHOWN = 5
_KINDS = {".jsonl": "json", ".ndjson": "json", ".json": "json"}
_SHARD = re.compile(r"data/(\w+(?:\.\w+)*)-\d{5}-of-\d{5}[^/]*\.[^/]*")
_WORDS: Mapping[str, tuple[str, ...]] = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "dev", "val"),
    "test": ("test", "testing", "eval", "evaluation"),
}
_BREAK = "[-._ 0-9]"
_NOT_DATA = ("config.json", "dataset_info.json", "dataset_infos.json", "dataset_dict.json")
_CARDS = ("README.md", ".huggingface.yaml")
"""Files that may say which files are which split."""


def split_files(folder: Path) -> Mapping[str, list[Path]] | None:
    """Return the data files of each split of a folder; None if a dataset card in it decides, which `datasets` reads.

    Raises:
        UserError: the folder cannot be read.
    """
    if _card_decides(folder):
        return None
    names = _names(folder)
    for splits in (_sharded(names), _by_word(names, in_folders=True), _by_word(names, in_folders=False)):
        if splits:
            break
    else:
        splits = {"train": names}
    files = {split: _of_one_kind([folder / name for name in found]) for split, found in splits.items()}
    return {split: found for split, found in files.items() if found}


def files_of_split(folder: Path, split: str) -> list[Path] | None:
    """Return the data files of one split, which may be a slice (``train[:10%]``) or several (``train+test``).

    Returns:
        None if only `datasets` can tell.

    Raises:
        UserError: the folder holds no data files, or no such split.
    """
    splits = split_files(folder)
    if splits is None:
        return None
    if not splits:
        endings = ", ".join(sorted(DATA_SUFFIXES))
        raise UserError("the folder holds no data files", remedy=f"put one there that ends in {endings}")
    files: list[Path] = []
    for part in split.split("+"):
        name = part.partition("[")[0].strip()
        if name != "all" and name not in splits:
            known = " and ".join(f"`{known}`" for known in splits)
            raise UserError(
                f"there is no split `{name}`: by the names of its files, the folder has {known}",
                remedy=f"write `split: {next(iter(splits))}`, or give the files other names, such as {name}.jsonl",
            )
        files += itertools.chain(*splits.values()) if name == "all" else splits[name]
    return list(dict.fromkeys(files))


def left_out_sentence(folder: Path, where: str) -> str | None:
    """Return the sentence that names data files of a folder which are not read, since others are of another kind.

    Plain text is not counted as data where it is not read: most of it is notes and licences.

    Args:
        folder: the folder.
        where: the entry's place in the recipe.
    """
    splits = split_files(folder)
    if not splits:
        return None
    read = {path for files in splits.values() for path in files}
    suffixes = {path.suffix.lower() for path in read}
    kinds = {_KINDS.get(suffix, suffix) for suffix in suffixes}
    names = [
        name
        for name in _names(folder)
        if (suffix := Path(name).suffix.lower()) in DATA_SUFFIXES
        and suffix != ".txt"
        and _KINDS.get(suffix, suffix) not in kinds
    ]
    if not names:
        return None
    more = f" and {len(names) - _MOST_SHOWN} more" if len(names) > _MOST_SHOWN else ""
    listed = ", ".join(names[:_MOST_SHOWN])
    return f"{where}: of this folder only {', '.join(sorted(suffixes))} is read, not {listed}{more}."


def _names(folder: Path) -> list[str]:
    """Return the files below a folder, sorted; hidden ones, and those in folders such as ``__pycache__``, are left."""
    names = []
    try:
        for path in itertools.islice(folder.rglob("*"), MAX_ENTRIES):
            name = path.relative_to(folder)
            hidden = any(part.startswith(".") for part in name.parts) or any(
                part.startswith("__") for part in name.parts[:-1]
            )
            if not hidden and path.name not in (*_NOT_DATA, *_CARDS) and path.is_file():
                names.append(name.as_posix())
    except OSError as error:
        raise UserError(f"the folder cannot be read: {error.strerror or error}", where=str(folder)) from error
    return sorted(names)


def _sharded(names: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in names:
        if shard := _SHARD.fullmatch(name):
            found.setdefault(shard[1], []).append(name)
    first = [split for split in _WORDS if split in found]
    return {split: found[split] for split in [*first, *sorted(set(found) - set(first))]}


def _by_word(names: Iterable[str], *, in_folders: bool) -> dict[str, list[str]]:
    names = list(names)
    found: dict[str, list[str]] = {}
    for split, words in _WORDS.items():
        ordered: dict[str, None] = {}
        for word in words:
            begins = re.compile(rf"{word}{_BREAK}.*" if not in_folders else rf"{word}({_BREAK}.*)?")
            within = re.compile(rf".*{_BREAK}{begins.pattern}")
            for pattern in (begins, within):
                for name in names:
                    *folders, file = name.split("/")
                    if any(pattern.fullmatch(part) for part in (folders if in_folders else [file])):
                        ordered[name] = None
        if ordered:
            found[split] = list(ordered)
    return found


def _of_one_kind(files: list[Path]) -> list[Path]:
    """Return the files of the kind that most of them have; a dataset has one."""
    endings = Counter(path.suffix.lower() for path in files if path.suffix.lower() in DATA_SUFFIXES)
    if not endings:
        return []
    most = max(endings, key=lambda ending: (endings[ending], -DATA_SUFFIXES.index(ending)))
    kind = _KINDS.get(most, most)
    return [path for path in files if _KINDS.get(path.suffix.lower(), path.suffix.lower()) == kind]


def _card_decides(folder: Path) -> bool:
    for name in _CARDS:
        try:
            with (folder / name).open(encoding="utf-8", errors="replace") as file:
                head = file.read(1 << 16)
        except OSError:
            continue
        header = head.partition("\n---")[0] if head.startswith("---") else ""
        if name.startswith(".") or re.search(r"^configs:", header, re.MULTILINE):
            return True
    return False
