"""What people type who know other programs is answered with the command that they mean."""

import pytest
from click.testing import CliRunner

from runner.cli.commands import sweep
from runner.cli.main import _COMMANDS, _MEANT, cli
from runner.errors import UserError


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("run quickstart --gpu L4", "runner launch quickstart --gpu L4"),
        ("train my.yaml --set 'training.seed=1 2'", "runner launch my.yaml --set 'training.seed=1 2'"),
        ("stop last", "runner cancel last"),
        ("kill last", "runner cancel last"),
        ("status last", "runner ps"),
        ("ls", "runner ps"),
        ("LS", "runner ps"),
        ("download last out", "runner pull last out"),
        ("recipes", "runner jobs"),
        ("help", "runner --help"),
        ("sweep run x", "runner sweep launch x"),
        ("sweep kill x", "runner sweep stop x"),
    ],
)
def test_the_command_that_is_meant_is_named(typed: str, meant: str) -> None:
    import shlex

    done = CliRunner().invoke(cli, shlex.split(typed))
    assert done.exit_code == 2
    assert f"write `{meant}`" in done.stderr


def test_a_misspelt_command_is_still_told_from_an_unknown_one() -> None:
    assert "did you mean `runner launch`?" in CliRunner().invoke(cli, ["lanch"]).stderr
    assert "`runner --help` lists the commands" in CliRunner().invoke(cli, ["xyzzy"]).stderr


def test_words_that_are_answered_are_no_commands_and_name_ones_that_exist() -> None:
    tables = [(_MEANT, _COMMANDS), (sweep._MEANT, sweep.COMMANDS)]
    for meant, commands in tables:
        assert not meant.keys() & commands.keys()
        for words in meant.values():
            assert words.split()[0] in {*commands, "--help", "--version"}, words


def test_a_token_that_was_typed_is_not_repeated() -> None:
    with pytest.raises(UserError) as caught:
        cli.resolve_command(cli.make_context("runner", ["ps"]), ["run", "x", "hf_abcdefghijklmnopqrstuvwxyzABCDEFGH"])
    assert "hf_abc" not in str(caught.value)
