"""A group of commands that costs what Click costs: each is imported when it is asked for."""

import importlib
import keyword
import shlex
from collections.abc import Mapping
from typing import Any

import click

from runner.errors import UserError


class LazyGroup(click.Group):
    """A group of commands from a table.

    Args:
        table: each command's name, which is its module in `package`, and the first sentence of its help.
        package: where the modules are.
        program: how the group is called, for messages.
        meant: what people type who do not know the commands, and the words after `program` that they mean; what they
            typed behind it is repeated if these words end in ``…``.
    """

    table: Mapping[str, str]

    def __init__(
        self,
        *arguments: Any,
        table: Mapping[str, str],
        package: str,
        program: str,
        meant: Mapping[str, str] | None = None,
        **others: Any,
    ) -> None:
        super().__init__(*arguments, **others)
        self.table = table
        self._meant = meant or {}
        self._package = package
        self._program = program

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.table:
            return None
        name = f"{cmd_name}_" if keyword.iskeyword(cmd_name) else cmd_name  # a module cannot be called `import`
        module = importlib.import_module(f"{self._package}.{name}")
        return next(
            value for value in vars(module).values() if isinstance(value, click.Command) and value.name == cmd_name
        )

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.table and not args[0].startswith("-"):
            program = self._program
            hint = self._hint(args[0], args[1:])
            kind = program.removeprefix("runner").strip()
            raise UserError(f"no command {args[0]!r}", where=f"runner {kind}" if kind else None, remedy=hint)
        return super().resolve_command(ctx, args)

    def _hint(self, word: str, rest: list[str]) -> str:
        if word.lower() in self._meant:
            words = self._meant[word.lower()]
            typed = words.replace(" …", "".join(f" {shlex.quote(one)}" for one in rest))
            return f"write `{self._program} {typed}`"
        import difflib

        near = difflib.get_close_matches(word, self.table, n=1)
        return f"did you mean `{self._program} {near[0]}`?" if near else f"`{self._program} --help` lists the commands"

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(self.table.items()))
