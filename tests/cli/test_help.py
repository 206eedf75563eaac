"""Help is quick, complete, and says the same everywhere."""

import re
import subprocess
import sys

import click
import pytest

from runner.cli.commands.sweep import COMMANDS as SWEEP_COMMANDS
from runner.cli.main import _COMMANDS, cli
from support.paths import ROOT

DOCS = ROOT / "docs" / "commands.md"
HEAVY = ["torch", "transformers", "trl", "peft", "datasets", "boto3", "obstore", "rich", "yaml", "blake3"]
HEAVY += ["jsonschema_rs"]


def command(name: str) -> click.Command:
    found = cli.get_command(click.Context(cli), name)
    assert found is not None
    return found


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["launch", "--help"],
        ["ps", "--help"],
        ["sweep", "--help"],
        ["sweep", "best", "--help"],
    ],
)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\n"
        "from runner.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.stderr == "[]\n"
    assert done.stdout


@pytest.mark.parametrize("name", _COMMANDS)
def test_a_command_says_what_the_list_of_commands_says(name: str) -> None:
    text = command(name).help or ""
    assert text.splitlines()[0] == _COMMANDS[name]


@pytest.mark.parametrize("name", _COMMANDS)
def test_a_command_has_an_example(name: str) -> None:
    text = command(name).help or ""
    assert "Example:" in text
    example = text.partition("Example:")[2]
    assert f"runner {name}" in example


@pytest.mark.parametrize("name", _COMMANDS)
def test_a_command_has_the_name_that_it_is_listed_by(name: str) -> None:
    assert command(name).name == name


@pytest.mark.parametrize("name", _COMMANDS)
def test_a_command_is_documented_with_an_example_and_every_option(name: str) -> None:
    match = re.search(rf"^## `runner {name}\b.*?(?=^## |\Z)", DOCS.read_text(), re.MULTILINE | re.DOTALL)
    assert match is not None, f"docs/commands.md has no section on `runner {name}`"
    section = match[0]
    assert re.search(rf"^(\S+=\S+ )*runner {name}\b", section, re.MULTILINE), "no example"
    for parameter in command(name).params:
        if isinstance(parameter, click.Option):
            assert f"`{max(parameter.opts, key=len)}" in section, f"{parameter.opts} is not documented"


def commands_of(name: str) -> list[tuple[str, str]]:
    """The commands of a group, each with the group's name."""
    group = command(name)
    assert isinstance(group, click.Group)
    return [(name, inner) for inner in group.list_commands(click.Context(group))]


@pytest.mark.parametrize(
    ("name", "inner"), [*commands_of("ci"), *commands_of("config"), *commands_of("image"), *commands_of("sweep")]
)
def test_a_command_of_a_group_is_documented_with_an_example_and_every_option(name: str, inner: str) -> None:
    group = command(name)
    assert isinstance(group, click.Group)
    found = group.get_command(click.Context(group), inner)
    assert found is not None
    assert f"runner {name} {inner}" in (found.help or "").partition("Example:")[2]
    section = DOCS.read_text().partition(f"## `runner {name}`")[2].partition("\n## ")[0]
    if name == "sweep":
        section = DOCS.with_name("sweeps-commands.md").read_text()
    assert f"`runner {name} {inner}" in section
    for parameter in found.params:
        if isinstance(parameter, click.Option) and parameter.name != "store":
            assert re.search(rf"`{max(parameter.opts, key=len)}\b", section), f"{parameter.opts} is not documented"


@pytest.mark.parametrize("name", SWEEP_COMMANDS)
def test_a_sweep_command_says_what_the_list_says_and_is_documented_with_every_option(name: str) -> None:
    group = command("sweep")
    assert isinstance(group, click.Group)
    found = group.get_command(click.Context(group), name)
    assert found is not None
    assert found.name == name
    help_text = found.help or ""
    assert help_text.splitlines()[0] == SWEEP_COMMANDS[name]
    assert f"runner sweep {name}" in help_text.partition("Example:")[2]
    text = (ROOT / "docs" / "sweeps-commands.md").read_text()
    assert f"`runner sweep {name}" in text
    for parameter in found.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            options = [*parameter.opts, *parameter.secondary_opts]
            assert re.search(rf"`{max(parameter.opts, key=len)}\b", text), f"{options} is not documented"


def test_the_documentation_knows_no_command_that_is_not_there() -> None:
    documented = re.findall(r"^## `runner (\S+?)[ `]", DOCS.read_text(), re.MULTILINE)
    assert documented == list(_COMMANDS)
