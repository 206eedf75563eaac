"""What a recipe runs on the machines that train, and what goes there: said before it happens."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from runner.recipe.inputs.reward_refs import split_reward
from runner.recipe.loading.load import LoadedRecipe
from runner.recipe.problems import Problem, warning_about
from runner.recipe.recipe import Recipe
from runner.recipe.webhooks import is_webhook
from runner.reports.tables import size
from runner.runs.layout import SECRET_NAMES


def describe_code_and_files(recipe: Recipe, files: Iterable[Path], secrets: Sequence[str] = ()) -> list[str]:
    """Return up to two sentences: the code that a recipe brings, and the files and variables that go along.

    Args:
        recipe: the recipe, with absolute paths.
        files: the local files that are copied into the store.
        secrets: the names of variables that the run is given.
    """
    sentences = []
    if code := list(dict.fromkeys(_code(recipe))):
        sentences.append(f"runs code of its own: {', '.join(code)}")
    along = [f"{file.name} ({size(file.stat().st_size)})" for file in files if file.is_file()]
    along += [f"the variable {name}" for name in dict.fromkeys([*secrets, *(recipe.sky.get("secrets") or ())])]
    if along := [item for item in along if item != f"the variable {SECRET_NAMES}"]:
        sentences.append(f"takes along: {', '.join(along)}")
    return sentences


def webhook_places(loaded: LoadedRecipe) -> dict[str, str]:
    """Return the place in the recipe that names each variable."""
    return {
        entry.secret: loaded.locate(("notify", index, "secret"))
        for index, entry in reversed(list(enumerate(loaded.recipe.notify)))
    }


def missing_webhooks(loaded: LoadedRecipe, environ: Mapping[str, str]) -> list[str]:
    """Return a warning for each variable that is not set here, or that holds no URL: a launch would be refused.

    Args:
        loaded: the recipe.
        environ: the variables of this process.
    """
    warnings = []
    for index, entry in enumerate(loaded.recipe.notify):
        value = environ.get(entry.secret)
        if value is None or not is_webhook(value):
            path = ("notify", index, "secret")
            what = f"{entry.secret} is not set here" if value is None else f"the value of {entry.secret} is not a URL"
            remedy = f"export {entry.secret}=https://…, or pass `--env-file FILE` to `runner launch`"
            warnings.append(warning_about(Problem(path, what, remedy), loaded.locate(path)))
    return list(dict.fromkeys(warnings))


def _code(recipe: Recipe) -> Iterator[str]:
    for stage in recipe.in_order:
        for name in stage.training.get("reward_funcs") or ():
            source, _ = split_reward(name)
            if source is not None:
                yield f"{Path(source).name} (training.reward_funcs)"
        if stage.training.get("trust_remote_code"):
            yield "the model's (training.trust_remote_code)"
    if recipe.sky.get("setup"):
        yield "sky.setup"
    if recipe.sky.get("workdir"):
        yield f"sky.workdir ({recipe.sky['workdir']}), which goes along"
    if mounts := recipe.sky.get("file_mounts"):
        yield f"sky.file_mounts ({len(mounts)})"
