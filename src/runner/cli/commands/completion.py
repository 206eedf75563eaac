"""``runner completion``."""

import sys

import click

from runner.cli.output import say, show

_SHELLS = {
    "bash": ("~/.bashrc", 'eval "$(runner completion bash)"'),
    "zsh": ("~/.zshrc", 'eval "$(runner completion zsh)"'),
    "fish": ("~/.config/fish/config.fish", "runner completion fish | source"),
}


@click.command()
@click.argument("shell", type=click.Choice(list(_SHELLS)))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script that completes commands in your shell.

    \b
    Example:
      echo 'eval "$(runner completion bash)"' >> ~/.bashrc
    """
    from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

    classes: dict[str, type[ShellComplete]] = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}
    show(classes[shell](ctx.find_root().command, {}, "runner", "_RUNNER_COMPLETE").source())
    file, line = _SHELLS[shell]
    if sys.stdout.isatty():
        say(f"Add this line to {file}:  {line}")
