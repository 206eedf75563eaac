"""``runner chat``."""

from typing import TYPE_CHECKING

import click

from runner.cli.options import checkpoint_option, run_argument, store_option

if TYPE_CHECKING:
    from runner.storage.store import Store


@click.command()
@run_argument
@click.option("--cli", is_flag=True, help="Talk in the terminal: a line in, an answer out.")
@click.option(
    "--port", type=int, default=7860, show_default=True, help="The page's port on 127.0.0.1; 0 for any free one."
)
@click.option(
    "--temperature", type=click.FloatRange(0, 2), default=0.7, show_default=True, help="0: the likeliest answer."
)
@click.option(
    "--max-new-tokens",
    type=click.IntRange(1, 4096),
    default=256,
    show_default=True,
    help="The longest answer, in tokens.",
)
@click.option("--without-base", is_flag=True, help="The fine-tuned model alone.")
@checkpoint_option
@store_option
def chat(
    store: "Store",
    run: str,
    cli: bool,
    port: int,
    temperature: float,
    max_new_tokens: int,
    without_base: bool,
    checkpoint: str | None,
) -> None:
    """Talk to a run's model, beside the one that it was made from.

    Opens a page on 127.0.0.1 (and on no other address) until Ctrl-C. The models are loaded on this machine.

    \b
    Example:
      runner chat last
      runner chat last --cli
      runner chat last --checkpoint last
    """
    from runner.control.chat import chat as talk
    from runner.runs.listing import find_run

    talk(
        store,
        find_run(store, run),
        cli=cli,
        port=port,
        temperature=temperature,
        max_new_tokens=max_new_tokens,
        with_base=not without_base,
        checkpoint=checkpoint,
    )
