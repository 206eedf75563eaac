"""``runner import``."""

from pathlib import Path

import click

from runner.cli.options import json_option
from runner.cli.output import print_json, say, show
from runner.errors import UserError
from runner.paths import working_directory


@click.command(name="import")
@click.option(
    "--from",
    "peer",
    type=click.Choice(["axolotl", "llamafactory", "oumi", "torchtune", "trl"]),
    help="Whose config it is, if its keys do not show it.",
)
@click.option("-o", "--out", metavar="FILE", help="Write the recipe here; without it, it is printed.")
@click.option("--partial", is_flag=True, help="Write what can be said, even if something cannot.")
@json_option
@click.argument("config", metavar="FILE|COMMAND...", nargs=-1, required=True)
def import_(config: tuple[str, ...], peer: str | None, out: str | None, partial: bool, as_json: bool) -> None:
    """Write the recipe that another tool's config means.

    Configs of Axolotl, LLaMA-Factory (its dataset_info.json is looked for beside it), Oumi, torchtune, TRL,
    alignment-handbook and open-r1 are understood, and command lines of TRL's after `--`. What became of each key is
    said. If something cannot be said in a recipe, nothing is written and the exit code is 2.

    \b
    Example:
      runner import axolotl-qlora.yml -o my-recipe.yaml
      runner import -- trl sft --model_name_or_path Qwen/Qwen3-0.6B --dataset_name trl-lib/Capybara
    """
    from runner.control.recipes.import_config import import_config, report

    cwd = working_directory()
    beside = cwd if out is None else (cwd / out).parent
    imported = import_config(config, peer=peer, cwd=cwd, beside=beside)  # type: ignore[arg-type]  # Click has checked the choice
    if as_json:
        print_json(imported.as_json())
    else:
        report(imported, say)
    if imported.ok or partial:
        if out is not None:
            for name, content in imported.converted.draft.files.items():
                _write((cwd / out).parent / name, content, name)
            _write(cwd / out, imported.text, out)
            say(f"next: `runner check {out}` and `runner plan {out}`")
        elif not as_json:
            show(imported.text.rstrip("\n"))
    if not imported.ok:
        raise click.exceptions.Exit(2)


def _write(path: Path, text: str, shown_as: str) -> None:
    if path.exists():
        raise UserError("the file is there already", where=shown_as, remedy="name another one, or move it away")
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot be written: {error.strerror}", where=shown_as) from None
    say(f"wrote {shown_as}")
