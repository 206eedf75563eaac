"""Whether the place where a run will be has the packages that its recipe's settings need."""

from collections.abc import Callable

from runner.distribution import install_command
from runner.recipe.inputs.reward_refs import COMPARING_REWARDS
from runner.recipe.packages import is_installed, missing_packages
from runner.recipe.problems import Problem, RecipeError, RecipePath, show, warning_about
from runner.recipe.quantizations import GGUF_PACKAGES
from runner.recipe.recipe import Recipe
from runner.recipe.strategy import asks_for_zero

_TRACKERS = {"wandb": "wandb", "tensorboard": "tensorboard"}
"""The modules of the trackers that the extra `train` brings."""


def require_packages(
    recipe: Recipe, *, here: bool, own_image: bool, where: str, locate: Callable[[RecipePath], str]
) -> list[str]:
    """Refuse settings that need a package which is surely missing; return warnings about those that may lack one.

    Args:
        recipe: what is to run.
        here: whether it runs in this machine's Python.
        own_image: whether it runs in an image that the user has named, of which nothing is known.
        where: the recipe's file, for messages.
        locate: gives the place where a path of the recipe was written.

    Raises:
        UserError: a package is missing.
    """
    problems = missing_packages(recipe, is_installed if here else lambda module: False)
    unsure = own_image or bool(recipe.sky.get("setup"))
    refused = [problem for problem in problems if not unsure and not (here and _is_optional(problem))]
    if refused:
        raise RecipeError(refused, locate, where=where)
    return [warning_about(problem, locate(problem.path)) for problem in problems]


def require_extras(recipe: Recipe, *, where: str, locate: Callable[[RecipePath], str]) -> None:
    """Refuse a run on this machine that needs one of our extras which is not installed.

    Args:
        recipe: what is to run.
        where: the recipe's file, for messages.
        locate: gives the place where a path of the recipe was written.

    Raises:
        UserError: an extra is missing.
    """
    if problems := missing_extras(recipe):
        raise RecipeError(problems, where=where, locate=locate)


def missing_extras(recipe: Recipe, installed: Callable[[str], bool] = is_installed) -> list[Problem]:
    """Return a problem for each setting that needs one of our extras which is not installed here.

    The images have them all. A checkout's `.venv` has `train` and `gguf`.

    Args:
        recipe: a checked recipe, whole.
        installed: says whether a module is there.
    """
    problems = []
    for index, stage in enumerate(recipe.stages or (recipe,)):
        place: RecipePath = ("stages", index, "training") if recipe.stages else ("training",)
        if (stage.training.get("deepspeed") or asks_for_zero(stage)) and not installed("deepspeed"):
            key = "deepspeed" if stage.training.get("deepspeed") else "strategy"
            what = "DeepSpeed" if key == "deepspeed" else show(stage.training[key])
            problems.append(_lacks((*place, key), what, "deepspeed"))
        names = stage.training.get("report_to") or ()
        trackers = [names] if isinstance(names, str) else names
        lacking = [name for name in trackers if name in _TRACKERS and not installed(_TRACKERS[name])]
        if lacking:
            problems.append(_lacks((*place, "report_to"), show(lacking[0]), "train"))
        rewards = stage.training.get("reward_funcs") or ()
        if any(name in COMPARING_REWARDS for name in rewards) and not installed("math_verify"):
            problems.append(_lacks((*place, "reward_funcs"), "comparing answers", "train"))
    if recipe.export.gguf and not all(map(installed, GGUF_PACKAGES)):
        problems.append(_lacks(("export", "gguf"), "making GGUF files", "gguf"))
    return problems


def _lacks(at: RecipePath, what: str, extra: str) -> Problem:
    remedy = f"{install_command(extra)}; the image of `runner image build` has it"
    return Problem(at, f"{what} needs the extra `{extra}`, which is not installed on this machine", remedy)


def _is_optional(problem: Problem) -> bool:
    """Whether a run on this machine may do without: Liger's kernels are not used on a CPU."""
    return problem.path[-1] == "use_liger_kernel"
