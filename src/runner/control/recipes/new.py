"""Draft a recipe from a model, data and a method: look at the data, and propose format, template and split."""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from runner.errors import UserError
from runner.recipe.formats.detection import COLUMNS, describe_formats, detect_format
from runner.recipe.inputs.datasets import local_rows
from runner.recipe.inputs.references import is_local, resolve
from runner.recipe.loading.load import load_recipe
from runner.recipe.recipe import DataSource, Method
from runner.recipe.rows.folders import split_files

METHODS: tuple[Method, ...] = ("sft", "cpt", "dpo", "grpo")
"""In the order in which they are offered."""

_QUESTIONS = ("prompt", "instruction", "question", "query", "problem", "user", "human", "input", "request", "source")
_ANSWERS = (
    *("completion", "response", "answer", "output", "assistant", "solution", "target", "reply", "label", "summary"),
    "generation",
)
_CONTEXTS = ("context", "passage", "document", "article", "input", "background")
_SYSTEMS = ("system", "system_prompt")
_CHOSEN = ("chosen", "preferred", "chosen_response", "better", "accepted", "win", "response_chosen", "positive")
_REJECTED = ("rejected", "dispreferred", "rejected_response", "worse", "lose", "response_rejected", "negative")
_TEXTS = ("text", "content", "document", "body", "article", "markdown", "code", "raw_content", "page")
_HELD_OUT_SPLITS = ("validation", "valid", "val", "dev", "test", "eval")

_TRAINING: Mapping[Method, Mapping[str, Any]] = {
    "sft": {"learning_rate": 2e-4, "max_length": 2048},
    "cpt": {"learning_rate": 1e-4, "max_length": 2048},
    "dpo": {"learning_rate": 5e-6, "beta": 0.1, "max_length": 1024},
    "grpo": {
        "reward_funcs": ["builtin:exact-answer"],
        "num_generations": 8,
        "max_completion_length": 256,
        "learning_rate": 1e-5,
    },
}
_BATCH: Mapping[Method, int] = {"sft": 16, "cpt": 16, "dpo": 16, "grpo": 32}
_MOST_HELD_OUT = 500
_FEW = 20
"""With fewer rows than that, none are held out."""


@dataclass(frozen=True, kw_only=True)
class DataFacts:
    """What was found in the data."""

    path: str
    """As it was named."""
    columns: tuple[str, ...]
    """Of its first rows; none if it is not on this machine."""
    row: Mapping[str, Any]
    """The first row."""
    rows: int | None
    """How many there are; None: more than were looked at, or nobody knows."""
    splits: tuple[str, ...]
    """Of a folder, as far as its files say."""

    @property
    def method(self) -> Method:
        """The method that the data look made for."""
        names = {column.lower() for column in self.columns}
        if names & set(_CHOSEN) and names & set(_REJECTED):
            return "dpo"
        if self.columns and self._one(_QUESTIONS) is None and detect_format(self.row, "sft") in ("text", None):
            return "cpt" if self._one(_TEXTS) else "sft"
        return "sft"

    def _one(self, names: tuple[str, ...], *others: str | None) -> str | None:
        by_name = {column.lower(): column for column in self.columns}
        return next((by_name[name] for name in names if name in by_name and by_name[name] not in others), None)

    def templates(self, method: Method) -> Iterator[dict[str, Any]]:
        """Yield templates that make the method's columns of these, the likeliest first."""
        question = self._one(_QUESTIONS)
        if method == "cpt":
            text = self._one(_TEXTS)
            title = self._one(("title", "heading"))
            if text:
                yield {"text": f"{{{title}}}\n\n{{{text}}}" if title else f"{{{text}}}"}
            return
        if question is None:
            return
        context = self._one(_CONTEXTS, question)
        system = self._one(_SYSTEMS)
        asked = f"{{{context}}}\n\n{{{question}}}" if context and context.lower() != "input" else f"{{{question}}}"
        turns = [{"role": "system", "content": f"{{{system}}}"}] if system else []
        turns.append({"role": "user", "content": asked})
        if method == "grpo":
            yield {"prompt": turns}
            yield {"prompt": asked}
        elif method == "dpo":
            chosen, rejected = self._one(_CHOSEN), self._one(_REJECTED)
            if chosen and rejected:
                yield {
                    "prompt": turns,
                    "chosen": [{"role": "assistant", "content": f"{{{chosen}}}"}],
                    "rejected": [{"role": "assistant", "content": f"{{{rejected}}}"}],
                }
                yield {"prompt": asked, "chosen": f"{{{chosen}}}", "rejected": f"{{{rejected}}}"}
        else:
            answer = self._one(_ANSWERS, question, context)
            if answer:
                yield {"messages": [*turns, {"role": "assistant", "content": f"{{{answer}}}"}]}
                yield {"prompt": asked, "completion": f" {{{answer}}}"}


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A recipe that was drafted, and checked as far as this machine can."""

    recipe: Mapping[str, Any]
    """As its file holds it."""
    notes: tuple[str, ...]
    """What was found and proposed, in sentences."""

    def as_yaml(self) -> str:
        """Return the recipe's file."""
        notes = "".join(f"# {note}\n" for note in self.notes)
        body = yaml.safe_dump(dict(self.recipe), sort_keys=False, allow_unicode=True, width=110)
        body = re.sub(r"(?<=\n)(?=[a-z]+:)", "\n", body).replace("\n\nmethod:", "\nmethod:", 1)
        head = f"# {self.recipe['name']}, drafted by `runner init`; docs/recipe.md explains the settings."
        return f"{head}\n{notes}\n{body}"


def look_at_data(path: str, cwd: Path) -> DataFacts:
    """Read the first rows of data; of what is not on this machine, nothing is known.

    Raises:
        UserError: there is no such file, or it cannot be read.
    """
    resolved = resolve(path, cwd, "data")
    splits: tuple[str, ...] = ()
    split = "train"
    if is_local(resolved) and Path(resolved).is_dir():
        splits = tuple(split_files(Path(resolved)) or ())
        split = "train" if "train" in splits or not splits else splits[0]
    files, rows, whole = local_rows(DataSource(path=resolved, split=split))
    columns = dict.fromkeys(column for row in rows for column in row.row)
    count = len(rows) if whole and files is not None else None
    first = rows[0].row if rows else {}
    return DataFacts(path=path, columns=tuple(columns), row=first, rows=count, splits=splits)


def draft_recipe(
    facts: DataFacts, *, model: str, method: Method, name: str | None = None, file: Path, cwd: Path
) -> Draft:
    """Draft a recipe, and check it.

    Args:
        facts: the data.
        model: a hub id, a folder or a built-in model.
        method: how it is trained.
        name: the recipe's; None for one of model and data.
        file: where it is to be written: relative paths in it begin in that folder.
        cwd: where relative paths begin as they were typed.

    Raises:
        UserError: the data have no columns that the method could be trained on, or something else is wrong.
    """
    notes: list[str] = []
    entry: dict[str, Any] = {"path": _from(file.parent, facts.path, cwd, "data")}
    candidates: list[dict[str, Any]] = [{}]
    found = detect_format(facts.row, method) if facts.columns else None
    if found is not None:
        entry["format"] = found
        notes.append(f"The data have the columns of format {found}: {', '.join(COLUMNS[found])}.")
    elif facts.columns:
        candidates = [{"template": template} for template in facts.templates(method)]
        if not candidates:
            others = [other for other in METHODS if detect_format(facts.row, other) or list(facts.templates(other))]
            also = f"; they look made for --method {others[0]}" if others else ""
            raise UserError(
                f"has the columns {', '.join(facts.columns)}, of which none is known to hold what {method} needs{also}",
                where=facts.path,
                remedy=f"rename them ({describe_formats(method)}), or write a `template:` (docs/recipe.md)",
            )
        notes.append(
            f"The data have the columns {', '.join(facts.columns)}; the template makes of them what {method} takes."
        )
    else:
        notes.append("The data are not on this machine: format and columns are looked at when it is launched.")
    data: dict[str, Any] = {"train": [entry]}
    held_out = next((split for split in _HELD_OUT_SPLITS if split in facts.splits and len(facts.splits) > 1), None)
    if held_out:
        data["eval"] = [{**entry, "split": held_out}]
        notes.append(f"It is evaluated on the split {held_out}.")
    elif facts.rows is None or facts.rows >= _FEW:
        data["eval"] = {"from_train": 0.1 if facts.rows is not None and facts.rows < 10 * _MOST_HELD_OUT else 0.02}
        notes.append("Rows are held out of the training data for evaluation: data.eval.from_train.")
    else:
        notes.append(f"There are only {facts.rows} rows, so that none are held out for evaluation.")
    error: UserError | None = None
    for candidate in candidates:
        recipe = _recipe(name, model, method, facts, entry | candidate, data, file, cwd)
        try:
            loaded = load_recipe(_as_seen_from(recipe, file.parent, cwd), cwd=cwd)
        except UserError as problem:
            error = error or problem
            continue
        notes += [note.replace("\n", " ") for note in (*loaded.notes, *loaded.warning_sentences)]
        return Draft(recipe=recipe, notes=tuple(notes))
    assert error is not None
    raise error


def _recipe(
    name: str | None,
    model: str,
    method: Method,
    facts: DataFacts,
    entry: Mapping[str, Any],
    data: Mapping[str, Any],
    file: Path,
    cwd: Path,
) -> dict[str, Any]:
    evaluated = "eval" in data
    if isinstance(data.get("eval"), list):
        data = {**data, "eval": [{**entry, "split": data["eval"][0]["split"]}]}
    recipe: dict[str, Any] = {
        "name": name or proposed_name(model, facts.path),
        "method": method,
        "model": {"model_name_or_path": _from(file.parent, model, cwd, "model")},
        "adapter": {"r": 16, "lora_alpha": 32, "target_modules": "all-linear"},
        "data": {**data, "train": [dict(entry)]},
        "training": {
            **_TRAINING[method],
            "effective_batch_size": _BATCH[method],
            "num_train_epochs": 1,
            "lr_scheduler_type": "cosine",
            "warmup_steps": 0.05,
            **({"eval_strategy": "steps", "eval_steps": 0.1} if evaluated else {}),
            "seed": 42,
        },
        "checkpoint": {"save_total_limit": 2},
        "evaluate": {"before_and_after": evaluated},
    }
    return recipe


def proposed_name(model: str, data: str) -> str:
    """Return a name for a recipe: of the model's and the data's."""
    parts = [re.sub(r"[^a-z0-9.]+", "-", Path(part.partition(":")[2] or part).name.lower()) for part in (model, data)]
    parts[1] = parts[1].rsplit(".", 1)[0]
    return "-".join(part.strip("-.") for part in parts if part.strip("-."))[:80] or "my-recipe"


def _from(folder: Path, written: str, cwd: Path, kind: Any) -> str:
    """Return a path as it is written in a file of `folder`: relative if it was typed so. Other names stay."""
    resolved = resolve(written, cwd, kind)
    if not is_local(resolved) or Path(written).expanduser().is_absolute():
        return resolved
    relative = os.path.relpath(resolved, folder.absolute())
    return relative if relative.startswith("..") or "/" in relative or "." in relative else f"./{relative}"


def _as_seen_from(recipe: Mapping[str, Any], folder: Path, cwd: Path) -> dict[str, Any]:
    """Return the recipe with the paths of a file in `folder` as absolute ones."""

    def located(written: str, kind: Any) -> str:
        return resolve(written, folder.absolute(), kind)

    model = {"model_name_or_path": located(recipe["model"]["model_name_or_path"], "model")}
    data = {
        part: [{**entry, "path": located(entry["path"], "data")} for entry in entries]
        if isinstance(entries, list)
        else entries
        for part, entries in recipe["data"].items()
    }
    return {**recipe, "model": model, "data": data}
