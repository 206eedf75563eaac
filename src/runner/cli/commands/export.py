"""``runner export``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from runner.cli.options import checkpoint_option, json_option, run_argument, store_option
from runner.cli.output import print_json, say, show
from runner.cli.placement import environment_options

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
@click.option("--space", metavar="OWNER/NAME", help="Upload a chat with it as a Gradio Space, private by default.")
@click.option(
    "--out", type=click.Path(), metavar="DIR", help="With --space: write its files here, offline, and upload nothing."
)
@click.option("--private/--public", default=None, help="Whether a new repository or Space is private.")
@click.option("--base", metavar="MODEL", help="What to merge into, where the run's model came quantized (…-bnb-4bit).")
@checkpoint_option
@click.option("--yes", "-y", is_flag=True, help="Do not ask before a Space is uploaded.")
@environment_options
@json_option
@store_option
def export(
    store: "Store",
    run: str,
    merge: bool,
    gguf: tuple[str, ...],
    hub_model_id: str | None,
    space: str | None,
    out: str | None,
    private: bool | None,
    base: str | None,
    checkpoint: str | None,
    yes: bool,
    env_files: tuple[str, ...],
    secrets: tuple[str, ...],
    as_json: bool,
) -> None:
    """Make more of a run's model: merged, GGUF files, on the hub, a Gradio Space.

    Works here, on a run that has ended, with the packages of the extras `train` and `gguf`. What the run has made
    already is not made again; `runner pull` fetches both.

    \b
    Example:
      runner export last --gguf q4_k_m --gguf q8_0
      runner export last --checkpoint best
      runner export last --space me/my-chat --secret HF_TOKEN
    """
    from runner.cli.confirm import ask_to_go_on
    from runner.control.export import ExportFailed, ExportOptions
    from runner.control.export import export as make
    from runner.exit_codes import FAILED, INTERRUPTED
    from runner.runs.listing import find_run

    options = ExportOptions(
        merge=merge,
        gguf=gguf,
        hub_model_id=hub_model_id,
        space=space,
        out=None if out is None else Path(out),
        private=private,
        base=base,
        checkpoint=checkpoint,
        env_files=[Path(file) for file in env_files],
        secrets=secrets,
    )
    run_id = find_run(store, run)
    try:
        artifacts = make(store, run_id, options, say=say, confirm=ask_to_go_on(yes=yes))
    except ExportFailed as error:
        say(f"Error: {error}")
        raise click.exceptions.Exit(error.code if error.code in (FAILED, INTERRUPTED) else FAILED) from error
    if as_json:
        print_json({"run_id": run_id, "artifacts": artifacts})
        return
    slash = "" if store.url.endswith("/") else "/"
    for name, key in artifacts.items():
        show(f"{name}  {store.url}{slash}runs/{run_id}/{key}")
    if artifacts:
        say(f"`runner pull {run_id}` fetches it")
