"""Secrets travel by name: values reach the attempt, and no message, record or file."""

from pathlib import Path

import pytest

from runner.backends.environment import chosen_environment, read_env_file
from runner.errors import UserError
from runner.runs.layout import SECRET_NAMES


def file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "my.env"
    path.write_text(text)
    return path


def test_an_env_file_is_read_as_people_write_them(tmp_path: Path) -> None:
    text = """
# a comment
PLAIN=value
export EXPORTED=yes
SPACED = padded   # with a comment
HASH=a#b
SINGLE='as $it # is'
DOUBLE="two\\nlines \\"quoted\\" \\\\" # comment
EMPTY=
  INDENTED = 'yes'
DOLLAR=pa$$word-${HOME}
TAIL="#no comment" # a comment
LATER=1
LATER=2
KEY="-----BEGIN-----
line two
-----END-----"
URL=https://user:pw@host/?a=b
"""
    assert read_env_file(file(tmp_path, text)) == {
        "PLAIN": "value",
        "EXPORTED": "yes",
        "SPACED": "padded",
        "HASH": "a#b",
        "SINGLE": "as $it # is",
        "DOUBLE": 'two\nlines "quoted" \\',
        "EMPTY": "",
        "INDENTED": "yes",
        "DOLLAR": "pa$$word-${HOME}",
        "TAIL": "#no comment",
        "LATER": "2",
        "KEY": "-----BEGIN-----\nline two\n-----END-----",
        "URL": "https://user:pw@host/?a=b",
    }


@pytest.mark.parametrize(
    ("line", "number"),
    [
        ("hunter2", 2),
        ("1BAD=hunter2", 2),
        ('OPEN="hunter2', 2),
        ("TWO='hunter2' hunter2", 2),
        ("A.B=hunter2", 2),
        ("\n\nhunter2", 4),
    ],
)
def test_a_line_that_is_none_is_refused_by_its_number_alone(tmp_path: Path, line: str, number: int) -> None:
    with pytest.raises(UserError) as refused:
        read_env_file(file(tmp_path, f"GOOD=1\n{line}\n"))
    assert f"my.env:{number}" in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_a_byte_order_mark_and_windows_line_ends_are_not_part_of_a_value(tmp_path: Path) -> None:
    path = tmp_path / "my.env"
    path.write_bytes(b"\xef\xbb\xbfFIRST=1\r\nSECOND='two'\r\n")
    assert read_env_file(path) == {"FIRST": "1", "SECOND": "two"}


def test_a_file_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"missing\.env"):
        read_env_file(tmp_path / "missing.env")


def test_a_secret_comes_from_the_environment_or_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FROM_ENV", "a")
    chosen = chosen_environment([file(tmp_path, "FROM_FILE=b\n")], ["FROM_ENV", "FROM_FILE"])
    assert chosen == {"FROM_ENV": "a", "FROM_FILE": "b", SECRET_NAMES: "FROM_ENV,FROM_FILE"}


def test_a_secret_that_is_nowhere_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOWHERE", raising=False)
    with pytest.raises(UserError, match="NOWHERE is not set"):
        chosen_environment([], ["NOWHERE"])


def test_a_value_on_the_command_line_is_refused_without_repeating_it() -> None:
    with pytest.raises(UserError) as refused:
        chosen_environment([], ["TOKEN=hunter2"])
    assert "hunter2" not in str(refused.value)


def test_what_a_run_was_launched_with_it_needs_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOKEN", raising=False)
    with pytest.raises(UserError, match="TOKEN is not set"):
        chosen_environment([], [], needed=["TOKEN"])
    monkeypatch.setenv("TOKEN", "t")
    assert chosen_environment([], [], needed=["TOKEN"])["TOKEN"] == "t"


def test_a_dotenv_file_in_the_working_directory_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("SNEAKY=1\n")
    monkeypatch.chdir(tmp_path)
    assert chosen_environment([], []) == {}


@pytest.mark.parametrize("name", ["RUNNER_RUN", "RUNNER_SECRET_NAMES"])
def test_runner_s_own_variables_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=f"{name} is runner's own variable"):
        chosen_environment([file(tmp_path, f"{name}=x\n")], [])
