"""What a recipe names on the Hugging Face hub: looked for before a machine is paid for, within a moment or not at all.

One ``HEAD`` request for each model and dataset says whether it is there and whether the run may read it; the hub's
dataset viewer gives the first row of a public dataset, which then is looked at like that of a local file. All requests
are made at once. A hub that does not answer is no mistake of anybody's: it is said, and the training will see.

The statuses and ``X-Error-Code`` are the hub's own (``huggingface_hub.utils.hf_raise_for_status`` reads the same); the
viewer's address is made as `datasets` makes it.
"""

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.hub.client import (
    SECONDS,
    HubCache,
    HubReference,
    call_in_parallel,
    configuration,
    fetch_first_row,
    request_status,
)
from runner.paths import hub_cache, huggingface_home
from runner.recipe.inputs.datasets import inspect_source
from runner.recipe.inputs.references import is_local
from runner.recipe.problems import Problem, RecipeError, RecipePath, show
from runner.recipe.recipe import DataSource, Recipe


@dataclass(frozen=True)
class Verdict:
    """What the hub says of a recipe."""

    problems: tuple[Problem, ...]
    """What is not there, may not be read, or does not fit."""
    silence: str | None
    """What is to be said where no answer came in time; None: everything was looked for."""


def check_hub_access(
    recipe: Recipe, token: str | None, *, where: str, locate: Callable[[RecipePath], str], say: Callable[[str], None]
) -> None:
    """Refuse a recipe by what the hub says.

    Args:
        recipe: a checked one.
        token: what the run will have for ``HF_TOKEN``.
        where: the recipe's file, or its run.
        locate: gives the place where a path of the recipe was written.
        say: told where the hub did not answer.

    Raises:
        UserError: what it names is not there, may not be read, or does not fit.
    """
    verdict = ask_hub(recipe, token=token)
    if verdict.problems:
        raise RecipeError(verdict.problems, locate, where=where)
    if verdict.silence:
        say(verdict.silence)


def ask_hub(recipe: Recipe, *, token: str | None, environment: Mapping[str, str] = os.environ) -> Verdict:
    """Ask the hub for what a recipe names there. Nothing is downloaded but a row of each dataset.

    Args:
        recipe: a checked one.
        token: what the run will have for ``HF_TOKEN``.
        environment: ``HF_ENDPOINT`` is the hub's address, ``HF_DATASETS_SERVER`` the viewer's; with ``HF_HUB_OFFLINE``
            nothing is asked.
    """
    if environment.get("HF_HUB_OFFLINE", "0").upper() in ("1", "ON", "YES", "TRUE"):
        return Verdict((), None)
    endpoint = environment.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    viewer = environment.get("HF_DATASETS_SERVER") or endpoint.replace("://", "://datasets-server.", 1)
    named = hub_references(recipe)
    known = HubCache(hub_cache(), endpoint, token)
    asked = [one for one in named if not known.has(one)]
    calls: list[Callable[[], Any]] = [lambda one=one: request_status(endpoint, one, token) for one in asked]  # type: ignore[misc]
    public = [(at, source, part) for at, source, part in _datasets(recipe) if source.revision is None]
    calls += [lambda source=source: fetch_first_row(viewer, source, token) for _, source, _ in public]  # type: ignore[misc]
    answers = call_in_parallel(calls, seconds=SECONDS)
    problems: list[Problem] = []
    silent: list[str] = []
    for one, answer in zip(asked, answers, strict=False):
        if answer is None:
            silent.append(one.repo)
        elif problem := _problem(one, *answer, has_token=token is not None):
            problems.append(problem)
        else:
            known.add(one)
    missing = {problem.path[:-1] for problem in problems}
    for (at, source, part), looked in zip(public, answers[len(asked) :], strict=True):
        if looked is not None and at not in missing:
            problems += _misfits(part, at, source, looked)
    known.save()
    return Verdict(tuple(problems), _silence(silent))


def hub_references(recipe: Recipe) -> list[HubReference]:
    """The models and datasets of a recipe that are neither files nor built in."""
    model = recipe.model["model_name_or_path"]
    found = []
    if _is_on_hub(model):
        revision = str(recipe.model.get("model_revision") or "main")
        found.append(HubReference(("model", "model_name_or_path"), "model", model, revision))
    if recipe.export.base is not None and _is_on_hub(recipe.export.base):
        found.append(HubReference(("export", "base"), "model", recipe.export.base, "main"))
    for at, source, _ in _datasets(recipe):
        found.append(HubReference((*at, "path"), "dataset", source.path, source.revision or "main"))
    return found


def run_token(given: Mapping[str, str], *, here: bool, environment: Mapping[str, str] = os.environ) -> str | None:
    """What a run will have for ``HF_TOKEN``.

    Args:
        given: the variables that it is given.
        here: whether it runs in processes of this machine, which have this environment and find what
            ``hf auth login`` left in the user's folder.
        environment: this process's.
    """
    if "HF_TOKEN" in given:
        return given["HF_TOKEN"] or None
    if not here:
        return None
    if environment.get("HF_TOKEN"):
        return environment["HF_TOKEN"]
    try:
        return (
            Path(environment.get("HF_TOKEN_PATH") or huggingface_home(environment) / "token")
            .expanduser()
            .read_text()
            .strip()
            or None
        )
    except (OSError, UnicodeDecodeError):
        return None


def _datasets(recipe: Recipe) -> list[tuple[RecipePath, DataSource, Recipe]]:
    """The entries on the hub, with their places and the recipe, or stage, that they belong to."""
    of_stages: list[tuple[RecipePath, Recipe]] = [
        (("stages", index), stage) for index, stage in enumerate(recipe.stages)
    ]
    return [
        ((*place, "data", section, index), source, part)
        for place, part in of_stages or [((), recipe)]
        for section, sources in (("train", part.data.train), ("eval", part.data.eval))
        for index, source in enumerate(sources)
        if _is_on_hub(source.path)
    ]


def _is_on_hub(name: str) -> bool:
    return not (is_local(name) or name.startswith(("builtin:", "inputs/")))


def _problem(one: HubReference, status: int, code: str, *, has_token: bool) -> Problem | None:
    page = f"https://huggingface.co/{'datasets/' if one.kind == 'dataset' else ''}{one.repo}"
    give = "set HF_TOKEN, and pass `--secret HF_TOKEN` to where it is not set"
    if code == "GatedRepo":
        what = f"{one.repo} is gated, and " + ("the token has no access" if has_token else "there is no HF_TOKEN")
        return Problem(one.at, what, f"accept its terms at {page}" + ("" if has_token else f"; then {give}"))
    if code == "RevisionNotFound":
        key = "model_revision" if one.kind == "model" else "revision"
        return Problem((*one.at[:-1], key), f"{one.repo} has no revision {show(one.revision)}", f"see {page}")
    if code == "RepoNotFound" or (status == 404 and not code):
        what = f"there is no {one.kind} {one.repo} on the hub, or it is private"
        return Problem(one.at, what, f"check the name; for a private one, {give}")
    if status == 401:
        return Problem(one.at, f"the hub does not accept the HF_TOKEN for {one.repo}", "make a new one, or unset it")
    return None  # there, or the hub is in trouble


def _misfits(recipe: Recipe, at: RecipePath, source: DataSource, looked: Mapping[str, Any]) -> list[Problem]:
    splits: Mapping[str, Sequence[str]] = looked["splits"]
    config = configuration(source, splits)
    if config is None:
        missing = f"no configuration {show(source.name)}" if source.name else "several configurations"
        what = f"{source.path} has {missing}"
        return [Problem((*at, "name"), what, f"write one of: {', '.join(splits)}")]
    wanted = [part.partition("[")[0].strip() for part in source.split.split("+")]
    unknown = [split for split in wanted if split not in splits[config] and split != "all"]
    if unknown:
        what = f"{source.path} has no split {' and '.join(map(show, unknown))}"
        return [Problem((*at, "split"), what, f"there is: {', '.join(splits[config])}")]
    if "rows" not in looked:
        return []
    if not looked["rows"]:
        return [Problem((*at, "path"), f"{source.path} has no rows")]
    problems: list[Problem] = []
    text_field = str(recipe.training.get("dataset_text_field", "text"))
    row = looked["rows"][0]
    inspect_source(at, dataclasses.asdict(source), recipe.method, text_field, problems, first_row=lambda path: row)
    return problems


def _silence(repos: Sequence[str]) -> str | None:
    if not repos:
        return None
    return f"the hub did not answer within {SECONDS:g} s, so these were not checked: {', '.join(dict.fromkeys(repos))}"
