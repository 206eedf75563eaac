"""Ask SkyPilot: find the Python that has it, and put one question to it in a process of its own.

SkyPilot asks for other versions of packages than the training side does, takes seconds to import, and prints as it
goes. In a process of its own none of that touches ours, and any installation will do: in our environment
(the extra `sky`), or apart (``uv tool install skypilot``, ``pipx``), as long as the program `sky` is on the PATH.
"""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from runner.backends.skypilot import sdk
from runner.errors import UserError

SUPPORTED = ((0, 14), (0, 15))
"""SkyPilot's versions that this was tested with: from the first on, before the second."""

INSTALL = "uv tool install --with pip 'skypilot[aws,gcp,kubernetes]>=0.14,<0.15'; `sky check` then says what is set up"
"""What to do where there is none."""

ANSWER_SECONDS = 600.0
"""How long SkyPilot may take to answer a question about a job. A launch, which waits for machines, has no limit."""

_PROGRAM = str(Path(sdk.__file__).parent)
_VERSION = "import importlib.metadata as m; print(m.version('skypilot'))"

_REMEDIES = (
    (r"NoCloudAccess|not enabled|No cloud is enabled|sky check", "`sky check` says what each cloud needs"),
    (r"quota|Quota|LimitExceeded", "ask the cloud for a higher quota, or name another GPU or region"),
    (r"[Ii]nvalid (region|zone)|(region|zone)\S* not found", "`sky gpus list --all NAME` shows the regions of a GPU"),
    (
        r"ResourcesUnavailable|ResourcesMismatch|No resource|satisfy|No candidate",
        "name other GPUs or infras (both may be repeated), or leave `--infra` out; `sky gpus list` shows what there is",
    ),
    (r"ApiServer", "`sky api info` shows the server; `sky api stop` and try again"),
    (r"InvalidSkyPilotConfig", "fix ~/.sky/config.yaml"),
)


class SkyPilotSays(Exception):
    """SkyPilot refused, or failed, with these words."""

    def __init__(self, kind: str, message: str) -> None:
        self.kind = kind
        self.message = message
        super().__init__(f"{kind}: {message}")

    def for_people(self, where: str | None = None) -> UserError:
        """The same as one message with a remedy."""
        text = f"{self.kind} {self.message}"
        remedy = next((remedy for pattern, remedy in _REMEDIES if re.search(pattern, text)), None)
        return UserError(
            f"SkyPilot says: {_plain(self.message) or self.kind}",
            where=where,
            remedy=remedy or "`sky check` shows how SkyPilot is set up",
        )


def find_python() -> str | None:
    """The Python that has SkyPilot: this one, or the one that the program `sky` on the PATH runs with."""
    if importlib.util.find_spec("sky") is not None and importlib.util.find_spec("sky.client") is not None:
        return sys.executable
    program = shutil.which("sky")
    return None if program is None else _interpreter(Path(program))


def sky_version(python: str) -> str | None:
    """The version of the SkyPilot that a Python has; None if it has none."""
    try:
        found = subprocess.run([python, "-c", _VERSION], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None


def is_supported(version: str) -> bool:
    """Whether this was tested with that version."""
    match = re.match(r"(\d+)\.(\d+)", version)
    return match is not None and SUPPORTED[0] <= (int(match[1]), int(match[2])) < SUPPORTED[1]


def require_sky() -> str:
    """The Python that has SkyPilot.

    Raises:
        UserError: there is none, or SkyPilot is of a version that this was not tested with.
    """
    python = find_python()
    version = None if python is None else sky_version(python)
    if python is None or version is None:
        raise UserError("SkyPilot, which finds machines elsewhere, is not installed", where="--infra", remedy=INSTALL)
    if not is_supported(version):
        wanted = f">={'.'.join(map(str, SUPPORTED[0]))},<{'.'.join(map(str, SUPPORTED[1]))}"
        raise UserError(f"SkyPilot {version} is not supported", where=python, remedy=f"install skypilot{wanted}")
    return python


def ask(
    question: str, *, python: str | None = None, talk: IO[str] | None = None, **arguments: Any
) -> Mapping[str, Any]:
    """Put one question of `sdk.__main__` to SkyPilot and wait for the answer.

    Args:
        question: its name.
        python: the Python that has SkyPilot; None to look for it.
        talk: where what SkyPilot prints goes; None to drop it, except from the error if there is no answer at all.
        arguments: of the question. Secrets among them go through a pipe.

    Raises:
        SkyPilotSays: SkyPilot refused or failed.
        UserError: there is no SkyPilot.
    """
    process = subprocess.Popen(
        [python or require_sky(), _PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if talk is None else talk,
        text=True,
        env=_environment(),
        start_new_session=True,  # Ctrl-C is ours to answer
    )
    try:
        out, talked = process.communicate(
            json.dumps({"ask": question, **arguments}), timeout=None if question == "launch" else ANSWER_SECONDS
        )
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise SkyPilotSays("ApiServer", f"no answer in {ANSWER_SECONDS / 60:.0f} minutes") from None
    except BaseException:
        process.kill()
        process.wait()
        raise
    try:
        reply = json.loads(out)
    except ValueError:
        last = (talked or "").strip().splitlines()[-1:] or [f"exit code {process.returncode}"]
        raise SkyPilotSays("NoAnswer", last[0]) from None
    if "error" in reply:
        raise SkyPilotSays(reply["error"]["type"], reply["error"]["message"])
    answer: Mapping[str, Any] = reply["answer"]
    return answer


def _environment() -> dict[str, str]:
    """Ours, without what would lead another Python to our packages."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}


def _interpreter(program: Path) -> str | None:
    """The Python that a console script runs with: its first line says so, or the second where the path is long."""
    try:
        with program.open("rb") as file:
            head = file.read(1024).decode(errors="replace").splitlines()
    except OSError:
        return None
    for line in head[:3]:
        match = re.search(r"(?:^#!\s*|exec'?'? \"?'?)(/[^\"' ]*python[^\"' ]*)", line)
        if match is not None and Path(match[1]).exists():
            return match[1]
    return None


def _plain(text: str) -> str:
    """A message without colours, tables' trailing blanks and empty lines."""
    lines = re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()
    return "\n  ".join(line.rstrip() for line in lines if line.strip())
