"""What the config.json of a model on the hub shows to be missing in a recipe, before a machine is paid for."""

from collections.abc import Callable

from runner.errors import UserError
from runner.hub.model_config import model_config
from runner.recipe.inputs.model_folder import is_encoder, needs_remote_code
from runner.recipe.problems import Problem, RecipeError, RecipePath
from runner.recipe.recipe import Recipe


def require_usable_model(recipe: Recipe, *, where: str, locate: Callable[[RecipePath], str]) -> None:
    """Refuse a model that writes no text, or one with Python code of its own unless the recipe says that it may be run.

    Args:
        recipe: what is to run, whole.
        where: the recipe's file, for messages.
        locate: gives the place where a path of the recipe was written.

    Raises:
        UserError: the model is an encoder, or its code would be needed and a stage may not run it.
    """
    try:
        config = dict(model_config(recipe))
    except UserError:
        return  # nothing is known about it; the training side says what is wrong
    at: RecipePath = ("model", "model_name_or_path")
    if is_encoder(config):
        what = "the model fills in masked words (`architectures` in config.json): its tokens see those after them"
        remedy = "write a model that generates text, such as a Llama"
        raise RecipeError([Problem(at, what, remedy)], locate, where=where)
    trusted = all(stage.training.get("trust_remote_code") for stage in recipe.in_order)
    if not trusted and needs_remote_code(config):
        what = "the model comes with Python code of its own, which is not run unless the recipe says so"
        remedy = "read it, and write `training: {trust_remote_code: true}`"
        raise RecipeError([Problem(at, what, remedy)], locate, where=where)
