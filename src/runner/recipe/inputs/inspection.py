"""Resolve the model, data and other files that a recipe names, and inspect them as far as that is cheap."""

import pathlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from runner.errors import UserError
from runner.recipe.chat_templates import template_file
from runner.recipe.formats.reading import Reading
from runner.recipe.inputs.chat_template import has_template, local_template
from runner.recipe.inputs.content import read_json, require_content
from runner.recipe.inputs.conversion import ConvertedRows, answer_column, convert_rows
from runner.recipe.inputs.datasets import SourceFacts, inspect_source
from runner.recipe.inputs.model_folder import is_encoder, is_known_type, needs_remote_code
from runner.recipe.inputs.references import absolute, is_local, resolve
from runner.recipe.inputs.reward_refs import resolve_reward, split_reward
from runner.recipe.problems import Problem, RecipePath, show
from runner.recipe.recipe import Json
from runner.recipe.strategy import read_deepspeed_file, without_automatic_batch

_FILES_UNDER_TRAINING = ("chat_template_path", "accelerator_config")


@dataclass(frozen=True)
class Inspection:
    """The result of `inspect_inputs`."""

    data: dict[str, Json]
    """The recipe's mapping; local paths are absolute."""
    sources: tuple[SourceFacts, ...]
    """The entries under `data.train`, then those under `data.eval`."""
    local_files: tuple[pathlib.Path, ...]
    """The local files and folders that the recipe names."""
    problems: tuple[Problem, ...]
    """What is missing, empty, or in an unknown format."""
    notes: tuple[str, ...] = ()
    """Sentences on the first rows: those that will be dropped and why, columns that are not read."""


def inspect_inputs(data: Mapping[str, Json], base: Callable[[RecipePath], pathlib.Path]) -> Inspection:
    """Resolve every path in a recipe's mapping, and convert the first rows of each local dataset.

    Args:
        data: a mapping that the schema accepts; not modified.
        base: returns the folder for relative paths, given the path of the setting in the recipe.
    """
    problems: list[Problem] = []
    model = dict(data["model"])
    name = ("model", "model_name_or_path")
    written = model["model_name_or_path"]
    model["model_name_or_path"] = _resolve(written, base(name), "model", name, problems) or written
    sections: dict[str, Json] = {}
    facts: list[SourceFacts] = []
    text_field = data.get("training", {}).get("dataset_text_field", "text")
    before = len(problems)
    reading = Reading(
        chat_template=lambda: has_template(
            model["model_name_or_path"], data.get("training", {}).get("chat_template_path")
        )
    )
    for section in ("train", "eval"):
        entries = data["data"].get(section, ())
        if isinstance(entries, dict):
            continue
        sections[section] = []
        for index, entry in enumerate(entries):
            at: RecipePath = ("data", section, index)
            path = _resolve(entry["path"], base((*at, "path")), "data", (*at, "path"), problems)
            sections[section].append({**entry, "path": path or entry["path"]})
            facts.append(
                inspect_source(at, sections[section][-1], data["method"], text_field, problems, reading=reading)
                if path
                else SourceFacts(at, None, None)
            )
    converted = ConvertedRows()
    if len(problems) == before:
        answer = answer_column((data.get("evaluate") or {}).get("exact_match"))
        converted = convert_rows(facts, data.get("training", {}), answer, problems)
    training = {**data.get("training", {}), **dict(_files_under_training(data, base, problems))}
    if isinstance(training.get("deepspeed"), str):
        training["deepspeed"] = _deepspeed(training["deepspeed"], base, problems)
    if isinstance(training.get("deepspeed"), dict):
        training["deepspeed"] = without_automatic_batch(training["deepspeed"])
    problems += _model_problems(model["model_name_or_path"], training)
    if "reward_funcs" in training:
        training["reward_funcs"] = _resolve_rewards(training["reward_funcs"], base, problems)
    resolved = {**data, "model": model, "data": {**data["data"], **sections}}
    if base_written := (data.get("export") or {}).get("base"):
        at = ("export", "base")
        merged_into = _resolve(base_written, base(at), "model", at, problems) or base_written
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
    return Inspection(resolved, tuple(facts), tuple(local), tuple(problems), converted.notes)


def _model_problems(model: str, training: Mapping[str, Json]) -> Iterator[Problem]:
    """Yield what a model's folder on this machine shows to be missing under `training:`."""
    if is_local(model) and not training.get("trust_remote_code"):
        at: RecipePath = ("model", "model_name_or_path")
        config = _config(model)
        if not needs_remote_code(config) and is_known_type(config) is False:
            what = f"transformers has no model of the type {show(config['model_type'])} (`model_type` in config.json)"
            yield Problem(at, what, "write another model; a newer one may need a newer transformers in the environment")
        elif needs_remote_code(config):
            what = "the model comes with Python code of its own, which is not run unless the recipe says so"
            yield Problem(at, what, "read it, and write `training: {trust_remote_code: true}`")
    if is_local(model) and is_encoder(_config(model)):
        what = "the model fills in masked words (`architectures` in config.json): its tokens see those after them"
        yield Problem(
            ("model", "model_name_or_path"), what, "write a model that generates text, such as a Llama or Qwen"
        )
    own = training.get("chat_template_path")
    if isinstance(own, str) and _is_folder(own) and local_template(model, own) is None:
        what = f"the folder `{own}` holds no chat template"
        yield Problem(("training", "chat_template_path"), what, "write a model that has one, or a .jinja file")


def _is_folder(name: str) -> bool:
    try:
        return is_local(name) and pathlib.Path(name).is_dir()
    except (OSError, ValueError):
        return False  # a name that no file can have


def _config(model: str) -> dict[str, Json]:
    try:
        return read_json(pathlib.Path(model) / "config.json")
    except UserError:
        return {}  # reported where the model is resolved


def _resolve(written: str, base: pathlib.Path, kind: "str", at: RecipePath, problems: list[Problem]) -> str | None:
    try:
        return resolve(written, base, "model" if kind == "model" else "data")
    except UserError as error:
        problems.append(Problem(at, error.what, error.remedy))
        return None


def _resolve_rewards(
    written: list[str], base: Callable[[RecipePath], pathlib.Path], problems: list[Problem]
) -> list[str]:
    resolved = []
    for index, name in enumerate(written):
        at: RecipePath = ("training", "reward_funcs", index)
        try:
            resolved.append(resolve_reward(name, base(at)))
        except UserError as error:
            problems.append(Problem(at, error.what, error.remedy))
            resolved.append(name)
    return resolved


def _deepspeed(written: str, base: Callable[[RecipePath], pathlib.Path], problems: list[Problem]) -> Json:
    """Read DeepSpeed's configuration file into the recipe, so that the run contains it."""
    at: RecipePath = ("training", "deepspeed")
    try:
        return read_deepspeed_file(absolute(written, base(at)))
    except UserError as error:
        problems.append(Problem(at, f"{error.where}: {error.what}" if error.where else error.what, error.remedy))
        return written


def _files_under_training(
    data: Mapping[str, Json], base: Callable[[RecipePath], pathlib.Path], problems: list[Problem]
) -> Iterator[tuple[str, str]]:
    """Yield the library settings that name a file, resolved.

    A chat template may also be one of ours by its name, or a tokenizer on the hub.
    """
    for key in _FILES_UNDER_TRAINING:
        written = data.get("training", {}).get(key)
        if not isinstance(written, str) or written.startswith("{"):
            continue
        try:
            path = absolute(written, base(("training", key)))
        except UserError as error:
            problems.append(Problem(("training", key), error.what, error.remedy))
            continue
        named = template_file(written) if key == "chat_template_path" else None
        if not path.exists() and named is not None:
            yield key, str(named)
        elif path.exists():
            try:
                if path.is_file():
                    require_content(path)
            except UserError as error:
                problems.append(Problem(("training", key), error.what, error.remedy))
            yield key, str(path)
        elif key != "chat_template_path" or written.startswith((".", "/", "~")) or path.suffix in (".jinja", ".json"):
            problems.append(Problem(("training", key), f"there is no file `{written}`", f"looked for {path}"))
