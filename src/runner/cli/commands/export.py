"""``runner export``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from runner.cli.options import environment_options, json_option, run_argument, store_option

if TYPE_CHECKING:
    from runner.storage.store import Store


@click.command()
@run_argument
@click.option("--merge", is_flag=True, help="The adapter merged into its base, unquantized.")
@click.option(
    "--gguf",
    metavar="QUANTIZATION",
    multiple=True,
    help="A GGUF file for llama.cpp, such as q4_k_m, q8_0 or f16. May be repeated.",
)
@click.option(
    "--push-to-hub",
    "hub_model_id",
    metavar="REPO",
    help="Upload it to this repository of the Hugging Face hub, with a model card.",
)
@click.option("--private/--public", default=None, help="Whether a new repository is private.")
@click.option("--base", metavar="MODEL", help="What to merge into, where the run's model came quantized (…-bnb-4bit).")
@environment_options
@json_option
@store_option
def export(
    store: "Store",
    run: str,
    merge: bool,
    gguf: tuple[str, ...],
    hub_model_id: str | None,
    private: bool | None,
    base: str | None,
    env_files: tuple[str, ...],
    secrets: tuple[str, ...],
    as_json: bool,
) -> None:
    """Make more of a run's model: merged, as GGUF files, on the hub.

    Works here, on a run that has ended, with what `pip install 'runner[train,gguf]'` installs. What the run has made
    already is not made again; `runner pull` fetches both.

    \b
    Example:
      runner export last --gguf q4_k_m --gguf q8_0
    """
    from runner.backends.environment import chosen_environment
    from runner.cli.output import print_json, say
    from runner.control.export import ExportFailed, quantization
    from runner.control.export import export as make
    from runner.errors import UserError
    from runner.exit_codes import FAILED, INTERRUPTED
    from runner.recipe.rules.export import is_repository
    from runner.runs.listing import find_run

    if not (merge or gguf or hub_model_id):
        raise UserError("nothing to export", remedy="say what: --merge, --gguf q4_k_m, --push-to-hub OWNER/NAME")
    if hub_model_id is not None and not is_repository(hub_model_id):
        raise UserError(
            f"{hub_model_id!r} cannot be a repository's name", where="--push-to-hub", remedy="write OWNER/NAME"
        )
    if private is not None and hub_model_id is None:
        raise UserError("there is no repository without --push-to-hub", where="--private")
    names = list(dict.fromkeys(quantization(name) for name in gguf))
    run_id = find_run(store, run)
    environment = chosen_environment([Path(file) for file in env_files], secrets)
    try:
        made = make(
            store,
            run_id,
            merge=merge,
            gguf=names,
            hub_model_id=hub_model_id,
            private=private,
            base=base,
            environment=environment,
            say=say,
        )
    except ExportFailed as error:
        click.echo(f"Error: {error}", err=True)
        raise click.exceptions.Exit(error.code if error.code in (FAILED, INTERRUPTED) else FAILED) from error
    if as_json:
        print_json({"run_id": run_id, "artifacts": made})
        return
    slash = "" if store.url.endswith("/") else "/"
    for name, key in made.items():
        click.echo(f"{name}  {store.url}{slash}runs/{run_id}/{key}")
    click.echo(f"`runner pull {run_id}` fetches it", err=True)
