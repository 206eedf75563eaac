"""The model, data and other files that a recipe names: resolved, and looked at as far as that is cheap."""

import pathlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from runner.spec import rows
from runner.spec.errors import UserError
from runner.spec.places import BUILTIN_DATA, SAVED_TO_DISK, absolute, first_data_file, is_local, resolve
from runner.spec.problems import Problem, shown
from runner.spec.recipe import Format, Json, Method
from runner.spec.rewards import resolve_reward, split_reward
from runner.spec.strategy import read_deepspeed_file
from runner.spec.template import fields, filled
from runner.spec.yaml_text import Path

_FILES_UNDER_TRAINING = ("chat_template_path", "accelerator_config")

_CONVERSATIONAL: Mapping[Format | None, bool] = {"messages": True, "sharegpt": True, "alpaca": False, "text": False}
"""Formats that say so; prompts and completions may be either."""


@dataclass(frozen=True)
class SourceFacts:
    """What is known of one entry of a mixture before anything is downloaded."""

    path: Path
    """Where it stands: ``("data", "train", 0)``."""
    format: Format | None
    """Declared, or recognized from the first row; None for what is not here yet."""
    conversational: bool | None
    """Whether its rows have turns with roles; None where only the rows could say."""


@dataclass(frozen=True)
class Inspection:
    """A recipe's mapping with its paths resolved."""

    data: dict[str, Json]
    """The mapping; local paths are absolute."""
    sources: tuple[SourceFacts, ...]
    """The entries under `data.train`, then those under `data.eval`."""
    local_files: tuple[pathlib.Path, ...]
    """The files and folders that it names."""
    problems: tuple[Problem, ...]
    """What is missing, empty, or in no known format."""


def inspect_inputs(data: Mapping[str, Json], base: Callable[[Path], pathlib.Path]) -> Inspection:
    """Resolve every path in a recipe's mapping that the schema accepts, and read the first row of each local dataset.

    Args:
        data: the mapping; it is not changed.
        base: the folder in which a relative path begins that stands at a path of the recipe.
    """
    problems: list[Problem] = []
    model = dict(data["model"])
    name = ("model", "model_name_or_path")
    written = model["model_name_or_path"]
    model["model_name_or_path"] = _resolved(written, base(name), "model", name, problems) or written
    sections: dict[str, Json] = {}
    facts: list[SourceFacts] = []
    text_field = data.get("training", {}).get("dataset_text_field", "text")
    for section in ("train", "eval"):
        entries = data["data"].get(section, ())
        if isinstance(entries, dict):
            continue
        sections[section] = []
        for index, entry in enumerate(entries):
            at: Path = ("data", section, index)
            path = _resolved(entry["path"], base((*at, "path")), "data", (*at, "path"), problems)
            sections[section].append({**entry, "path": path or entry["path"]})
            facts.append(
                _facts(at, sections[section][-1], data["method"], text_field, problems)
                if path
                else SourceFacts(at, None, None)
            )
    training = {**data.get("training", {}), **dict(_files_under_training(data, base, problems))}
    if isinstance(training.get("deepspeed"), str):
        training["deepspeed"] = _deepspeed(training["deepspeed"], base, problems)
    if "reward_funcs" in training:
        training["reward_funcs"] = _rewards(training["reward_funcs"], base, problems)
    resolved = {**data, "model": model, "data": {**data["data"], **sections}}
    if base_written := (data.get("export") or {}).get("base"):
        at = ("export", "base")
        merged_into = _resolved(base_written, base(at), "model", at, problems) or base_written
        resolved["export"] = {**data["export"], "base": merged_into}
    if training:
        resolved["training"] = training
    named = [
        model["model_name_or_path"],
        resolved.get("export", {}).get("base"),
        *(entry["path"] for entries in sections.values() for entry in entries),
        *(training.get(key) for key in _FILES_UNDER_TRAINING),
        *(split_reward(name)[0] for name in training.get("reward_funcs", ())),
    ]
    local = dict.fromkeys(pathlib.Path(text) for text in named if isinstance(text, str) and is_local(text))
    return Inspection(resolved, tuple(facts), tuple(local), tuple(problems))


def _resolved(written: str, base: pathlib.Path, kind: "str", at: Path, problems: list[Problem]) -> str | None:
    try:
        return resolve(written, base, "model" if kind == "model" else "data")
    except UserError as error:
        problems.append(Problem(at, error.what, error.remedy))
        return None


def _rewards(written: list[str], base: Callable[[Path], pathlib.Path], problems: list[Problem]) -> list[str]:
    resolved = []
    for index, name in enumerate(written):
        at: Path = ("training", "reward_funcs", index)
        try:
            resolved.append(resolve_reward(name, base(at)))
        except UserError as error:
            problems.append(Problem(at, error.what, error.remedy))
            resolved.append(name)
    return resolved


def _deepspeed(written: str, base: Callable[[Path], pathlib.Path], problems: list[Problem]) -> Json:
    """DeepSpeed's own configuration file, read into the recipe: the run carries it along."""
    at: Path = ("training", "deepspeed")
    try:
        return read_deepspeed_file(absolute(written, base(at)))
    except UserError as error:
        problems.append(Problem(at, f"{error.where}: {error.what}" if error.where else error.what, error.remedy))
        return written


def _files_under_training(
    data: Mapping[str, Json], base: Callable[[Path], pathlib.Path], problems: list[Problem]
) -> Iterator[tuple[str, str]]:
    """Settings of the libraries that may name a file; a chat template may also be a tokenizer on the hub."""
    for key in _FILES_UNDER_TRAINING:
        written = data.get("training", {}).get(key)
        if not isinstance(written, str) or written.startswith("{"):
            continue
        try:
            path = absolute(written, base(("training", key)))
        except UserError as error:
            problems.append(Problem(("training", key), error.what, error.remedy))
            continue
        if path.exists():
            yield key, str(path)
        elif key != "chat_template_path" or written.startswith((".", "/", "~")) or path.suffix in (".jinja", ".json"):
            problems.append(Problem(("training", key), f"there is no file `{written}`", f"looked for {path}"))


def _facts(
    at: Path, entry: Mapping[str, Json], method: Method, text_field: str, problems: list[Problem]
) -> SourceFacts:
    """Look at one entry whose path is resolved."""
    path: str = entry["path"]
    declared: Format | None = entry.get("format")
    template: Mapping[str, Json] = entry.get("template") or {}
    if declared is not None and declared not in rows.FORMATS[method]:
        formats = ", ".join(rows.FORMATS[method])
        problems.append(Problem((*at, "format"), f"{shown(declared)} is no format for {method}", f"write {formats}"))
        return SourceFacts(at, None, None)
    think = entry.get("think")
    if think and (problem := _unfit_for_thinking(at, entry, method)):
        problems.append(problem)
        return SourceFacts(at, None, None)
    writer, texts = ("think", think) if isinstance(think, Mapping) else ("template", template)
    try:
        named = fields(texts)
    except UserError as error:
        problems.append(Problem((*at, writer), error.what, error.remedy))
        return SourceFacts(at, None, None)
    try:
        row = _first_row(path)
    except UserError as error:
        problems.append(Problem((*at, "path"), f"{error.where}: {error.what}", error.remedy))
        return SourceFacts(at, None, None)
    if row is not None:
        for setting, names in ((writer, named), ("filter", entry.get("filter") or ())):
            if missing := [name for name in names if name not in row]:
                what = f"{path} has no field {' and '.join(map(shown, missing))}"
                problems.append(Problem((*at, setting), what, f"its fields: {', '.join(map(str, row))}"))
                return SourceFacts(at, None, None)
    if texts is think:
        return SourceFacts(at, "prompt_completion", True)
    declared = declared or rows.recognized(template, method)
    if row is None:
        if len(rows.FORMATS[method]) == 1:
            declared = rows.FORMATS[method][0]
        decisive = template.get(rows.COLUMNS[declared][0]) if declared else None
        conversational = _CONVERSATIONAL.get(declared) if decisive is None else not isinstance(decisive, str)
        return SourceFacts(at, "prompt_completion", True) if think else SourceFacts(at, declared, conversational)
    try:
        found = rows.check_row({**row, **filled(template, row)}, declared, text_field, path, method)
    except UserError as error:
        problems.append(Problem((*at, "path"), f"{error.where}: {error.what}", error.remedy))
        return SourceFacts(at, None, None)
    if think and found[0] not in rows.OF_TURNS:
        remedy = 'write `think: {prompt: "{question}", reasoning: "{solution}"}`, with its fields'
        problems.append(Problem((*at, "think"), f"true, and {path} holds no conversations ({found[0]})", remedy))
    return SourceFacts(at, "prompt_completion", True) if think else SourceFacts(at, *found)


def _unfit_for_thinking(at: Path, entry: Mapping[str, Json], method: Method) -> Problem | None:
    """What `think` cannot stand beside."""
    if method != "sft":
        return Problem((*at, "think"), f"it writes answers, which {method} does not train on", "leave it out")
    if isinstance(entry["think"], Mapping):
        for key in ("template", "format"):
            if entry.get(key) is not None:
                return Problem((*at, key), "`think` says how rows are read", "keep one of the two")
    elif entry.get("format") not in (None, *rows.OF_TURNS):
        what = f"{shown(entry['format'])} holds no conversations, which `think: true` is about"
        return Problem((*at, "format"), what, 'write `think: {prompt: "{question}", reasoning: "{solution}"}`')
    return None


def _first_row(path: str) -> Mapping[str, Json] | None:
    """The first row of what is on this machine; None where only the training can tell.

    Raises:
        UserError: there are no rows, or they cannot be read.
    """
    if path.startswith("builtin:"):
        return dict.fromkeys(BUILTIN_DATA[path.removeprefix("builtin:")], "text")
    if not is_local(path):
        return None
    place = pathlib.Path(path)
    if place.is_dir():
        if any((place / name).is_file() for name in SAVED_TO_DISK):
            return None
        file = first_data_file(place)
        if file is None:
            raise UserError(
                "the folder holds no data files",
                where=path,
                remedy=f"put one there that ends in {', '.join(rows.SUFFIXES)}",
            )
        place = file
    return rows.first_row(place, str(place))
