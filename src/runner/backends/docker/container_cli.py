"""The container program of this machine: docker or podman, whichever is there, through its command line."""

import shutil
import subprocess
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast, get_args

from runner.errors import UserError

Program: TypeAlias = Literal["docker", "podman"]

_INSTALL = "install docker (https://docs.docker.com/engine/install) or podman (https://podman.io)"
_TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class Containers:
    """A container program that answers."""

    program: Program
    """Its name, which is its command."""

    def command(self, *arguments: str) -> list[str]:
        """A command line of the program's."""
        return [self.program, *arguments]

    def ask(self, *arguments: str, timeout_seconds: float = _TIMEOUT_SECONDS) -> "subprocess.CompletedProcess[str]":
        """Run a short command, and return its exit code and what it printed.

        Raises:
            UserError: it does not answer in time.
        """
        try:
            return subprocess.run(
                self.command(*arguments),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout_seconds,
            )
        except subprocess.TimeoutExpired as error:
            raise UserError(
                f"`{self.program} {arguments[0]}` does not answer",
                remedy=f"`{self.program} info` shows whether it works; restart it",
            ) from error


def find_containers(wanted: str | None = None) -> Containers:
    """Find the program that answers: docker, or else podman.

    Args:
        wanted: ``docker`` or ``podman``; None for either.

    Raises:
        UserError: neither is installed and works.
    """
    trouble: list[str] = []
    for name in [wanted] if wanted else get_args(Program):
        if shutil.which(name) is None:
            continue
        found = Containers(program=cast("Program", name))
        # docker's command is there without its daemon, which may be off, or not for this user.
        answer = found.ask("info", "--format", "{{json .Host}}" if name == "podman" else "{{json .ServerVersion}}")
        if answer.returncode == 0:
            return found
        trouble.append(f"{name} does not work: {first_line(answer.stderr)}")
    if trouble:
        remedy = "start its service, or use an account that may use it"
        raise UserError("; ".join(trouble), remedy=remedy if wanted else f"{remedy}; or {_INSTALL}")
    if wanted:
        raise UserError(f"{wanted} is not on this machine's PATH", where="--engine", remedy=_INSTALL)
    raise UserError("neither docker nor podman is on this machine's PATH", remedy=_INSTALL)


def first_line(text: str) -> str:
    """Return the line of an error message that says what is wrong: the first one that is not a warning."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "warn" not in line.lower()[:20]]
    return (errors or lines or ["it says nothing"])[0]
