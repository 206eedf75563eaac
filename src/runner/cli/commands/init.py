"""``runner init``."""

import sys
from pathlib import Path
from typing import Any

import click

from runner.cli.output import say, show
from runner.errors import UserError
from runner.paths import working_directory


@click.command()
@click.argument("file", metavar="[FILE]", required=False, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--model", metavar="MODEL", help="What is fine-tuned: a hub id, a folder, or builtin:tiny-llama.")
@click.option("--data", metavar="DATA", help="What it learns from: a file, a folder, or a hub id.")
@click.option(
    "--method",
    type=click.Choice(["sft", "cpt", "dpo", "grpo"]),
    help="How. Default: what the data look made for; on a terminal it is asked.",
)
@click.option("--name", metavar="NAME", help="The recipe's name. Default: made of model and data.")
@click.option("--print", "to_stdout", is_flag=True, help="Print it, and write nothing.")
def init(
    file: Path | None, model: str | None, data: str | None, method: Any, name: str | None, to_stdout: bool
) -> None:
    """Write a recipe: from three questions, or from a model, data and a method.

    It looks at the data, and proposes the format or a template, the rows to evaluate on, and settings to begin with.
    FILE is NAME.yaml here, if it is left out.

    \b
    Example:
      runner init
      runner init --model HuggingFaceTB/SmolLM2-135M-Instruct --data my.jsonl
      runner init prefs.yaml --model my-model/ --data pairs.csv --method dpo
    """
    from runner.control.recipes.new import METHODS, draft_recipe, look_at_data, proposed_name
    from runner.files import write_new_file

    cwd = working_directory()
    asks = sys.stdin.isatty()
    model = model or _answer(
        asks, "--model", "Which model (a hub id, or a folder)?", "HuggingFaceTB/SmolLM2-135M-Instruct"
    )
    data = data or _answer(asks, "--data", "Which data (a file, a folder, or a hub id)?", None)
    facts = look_at_data(data, cwd)
    if method is None and asks:
        methods = click.Choice(METHODS)
        method = click.prompt("Which method?", type=methods, default=facts.method, err=True)
    target = file or Path(f"{name or proposed_name(model, data)}.yaml")
    draft = draft_recipe(facts, model=model, method=method or facts.method, name=name, file=cwd / target, cwd=cwd)
    if to_stdout:
        show(draft.as_yaml(), nl=False)
        return
    write_new_file(target, draft.as_yaml())
    show(str(target))
    for note in draft.notes:
        say(note)
    say(f"Next: look at it, then `runner plan {target}` and `runner launch {target}`.")


def _answer(asks: bool, option: str, question: str, default: str | None) -> str:
    if not asks:
        raise UserError("is missing", where=option, remedy="write `runner init --model MODEL --data DATA`")
    answer: str = click.prompt(question, default=default, err=True)
    return answer
