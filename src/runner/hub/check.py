"""Check a recipe's models and datasets on the Hugging Face hub before a machine is paid for.

One ``HEAD`` request per model and dataset shows whether it exists and whether the run may read it. The hub's dataset
viewer returns the first row of a public dataset, which is then inspected like that of a local file. All requests run in
parallel, for a few seconds at most. If the hub does not answer, runner says so and goes on: the training will find out.

The statuses and ``X-Error-Code`` are the hub's own (``huggingface_hub.utils.hf_raise_for_status`` reads the same). The
viewer's address is built as `datasets` builds it.
"""

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
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
from runner.paths import hub_cache
from runner.recipe.inputs.datasets import inspect_source
from runner.recipe.inputs.references import is_local
from runner.recipe.problems import Problem, RecipeError, RecipePath, show
from runner.recipe.recipe import DataSource, Recipe


@dataclass(frozen=True)
class Verdict:
    """The result of the check."""

    problems: tuple[Problem, ...]
    """What does not exist, may not be read, or does not fit."""
    silence: str | None
    """What to tell the user if the hub did not answer in time; None if everything was checked."""


def check_hub_access(
    recipe: Recipe, token: str | None, *, where: str, locate: Callable[[RecipePath], str], say: Callable[[str], None]
) -> None:
    """Refuse a recipe whose models or datasets the run cannot use.

    Args:
        recipe: a checked recipe.
        token: the run's ``HF_TOKEN``.
        where: the recipe's file, or its run, for errors.
        locate: returns where a path of the recipe was set.
        say: called with a sentence if the hub did not answer.

    Raises:
        UserError: a model or dataset does not exist, may not be read, or does not fit.
    """
    verdict = ask_hub(recipe, token=token)
    if verdict.problems:
        raise RecipeError(verdict.problems, locate, where=where)
    if verdict.silence:
        say(verdict.silence)


def ask_hub(recipe: Recipe, *, token: str | None, environment: Mapping[str, str] = os.environ) -> Verdict:
    """Ask the hub for a recipe's models and datasets. Downloads no more than one row of each dataset.

    Args:
        recipe: a checked recipe.
        token: the run's ``HF_TOKEN``.
        environment: ``HF_ENDPOINT`` is the hub's address, ``HF_DATASETS_SERVER`` the viewer's. With ``HF_HUB_OFFLINE``
            no request is made.
    """
    if environment.get("HF_HUB_OFFLINE", "0").upper() in ("1", "ON", "YES", "TRUE"):
        return Verdict((), None)
    endpoint = environment.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    viewer = environment.get("HF_DATASETS_SERVER") or endpoint.replace("://", "://datasets-server.", 1)
    cache = HubCache(hub_cache(), endpoint, token)
    asked = [reference for reference in hub_references(recipe) if not cache.has(reference)]
    calls: list[Callable[[], Any]] = [partial(request_status, endpoint, reference, token) for reference in asked]
    public = [(at, source, part) for at, source, part in _datasets(recipe) if source.revision is None]
    calls += [partial(fetch_first_row, viewer, source, token) for _, source, _ in public]
    answers = call_in_parallel(calls, seconds=SECONDS)
    problems: list[Problem] = []
    silent: list[str] = []
    for reference, answer in zip(asked, answers, strict=False):
        if answer is None:
            silent.append(reference.repo)
        elif problem := _problem(reference, *answer, has_token=token is not None):
            problems.append(problem)
        else:
            cache.add(reference)
    missing = {problem.path[:-1] for problem in problems}
    for (at, source, part), viewed in zip(public, answers[len(asked) :], strict=True):
        if viewed is not None and at not in missing:
            problems += _misfits(part, at, source, viewed)
    cache.save()
    return Verdict(tuple(problems), _silence(silent))


def hub_references(recipe: Recipe) -> list[HubReference]:
    """Return the models and datasets of a recipe that are neither files nor built in."""
    model = recipe.model["model_name_or_path"]
    references = []
    if _is_on_hub(model):
        revision = str(recipe.model.get("model_revision") or "main")
        references.append(HubReference(("model", "model_name_or_path"), "model", model, revision))
    if recipe.export.base is not None and _is_on_hub(recipe.export.base):
        references.append(HubReference(("export", "base"), "model", recipe.export.base, "main"))
    for at, source, _ in _datasets(recipe):
        references.append(HubReference((*at, "path"), "dataset", source.path, source.revision or "main"))
    return references


def run_token(given: Mapping[str, str], *, here: bool) -> str | None:
    """Return the value of ``HF_TOKEN`` that a run will have.

    Args:
        given: the environment variables passed to the run.
        here: whether it runs in processes on this machine, which inherit this environment and find the token that
            ``hf auth login`` stored.
    """
    if "HF_TOKEN" in given:
        return given["HF_TOKEN"] or None
    if not here:
        return None
    from huggingface_hub import get_token  # not above: most commands need no token

    return get_token()


def _datasets(recipe: Recipe) -> list[tuple[RecipePath, DataSource, Recipe]]:
    """Return the data entries on the hub, each with its path and the recipe or stage that contains it."""
    stages: list[tuple[RecipePath, Recipe]] = [(("stages", index), stage) for index, stage in enumerate(recipe.stages)]
    return [
        ((*place, "data", section, index), source, part)
        for place, part in stages or [((), recipe)]
        for section, sources in (("train", part.data.train), ("eval", part.data.eval))
        for index, source in enumerate(sources)
        if _is_on_hub(source.path)
    ]


def _is_on_hub(name: str) -> bool:
    return not (is_local(name) or name.startswith(("builtin:", "inputs/")))


def _problem(reference: HubReference, status: int, code: str, *, has_token: bool) -> Problem | None:
    page = f"https://huggingface.co/{'datasets/' if reference.kind == 'dataset' else ''}{reference.repo}"
    give = "set HF_TOKEN, and pass `--secret HF_TOKEN` to where it is not set"
    if code == "GatedRepo":
        what = f"{reference.repo} is gated, and " + ("the token has no access" if has_token else "there is no HF_TOKEN")
        return Problem(reference.at, what, f"accept its terms at {page}" + ("" if has_token else f"; then {give}"))
    if code == "RevisionNotFound":
        key = "model_revision" if reference.kind == "model" else "revision"
        return Problem(
            (*reference.at[:-1], key), f"{reference.repo} has no revision {show(reference.revision)}", f"see {page}"
        )
    if code == "RepoNotFound" or (status == 404 and not code):
        what = f"there is no {reference.kind} {reference.repo} on the hub, or it is private"
        return Problem(reference.at, what, f"check the name; for a private reference, {give}")
    if status == 401:
        return Problem(
            reference.at,
            f"the hub does not accept the HF_TOKEN for {reference.repo}",
            "make a new reference, or unset it",
        )
    return None  # it exists, or the hub has a problem


def _misfits(recipe: Recipe, at: RecipePath, source: DataSource, viewed: Mapping[str, Any]) -> list[Problem]:
    splits: Mapping[str, Sequence[str]] = viewed["splits"]
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
    if "rows" not in viewed:
        return []
    if not viewed["rows"]:
        return [Problem((*at, "path"), f"{source.path} has no rows")]
    problems: list[Problem] = []
    text_field = str(recipe.training.get("dataset_text_field", "text"))
    row = viewed["rows"][0]
    inspect_source(at, dataclasses.asdict(source), recipe.method, text_field, problems, first_row=lambda path: row)
    return problems


def _silence(repos: Sequence[str]) -> str | None:
    if not repos:
        return None
    return f"the hub did not answer within {SECONDS:g} s, so these were not checked: {', '.join(dict.fromkeys(repos))}"
