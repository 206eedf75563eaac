"""Build the training image from a checkout, measure it, push it, and find out which image a name means."""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal, TypeAlias

from runner.backends.docker.container_cli import Containers, first_line
from runner.errors import UserError
from runner.git import revision_of

Accelerator: TypeAlias = Literal["cuda", "cpu"]

_LONG_SECONDS = 3600.0
_VERSION = re.compile(r'^__version__ = "([^"]+)"$', re.MULTILINE)
_PARTS = ("torch and its libraries", "the other packages", "runner itself")
"""What the Dockerfile lays over one another in /opt/venv, in this order; an instruction's own words do not tell."""

_LABELS = {
    "org.opencontainers.image.version": "VERSION",
    "org.opencontainers.image.revision": "REVISION",
    "runner.lock": "LOCK_DIGEST",
}
"""Which ARG of the Dockerfile each label says."""


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer of an image."""

    size_bytes: int
    """Unpacked."""
    created_by: str
    """The instruction of the Dockerfile that made it."""


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image of this machine."""

    name: str
    """As it was asked for."""
    id: str
    """``sha256:…`` of its configuration: what it is, on this machine."""
    digest: str | None
    """``NAME@sha256:…`` of its manifest in a registry: what it is, everywhere; None if it was never in a registry."""
    size_bytes: int
    """All layers, unpacked."""

    @property
    def pinned(self) -> str:
        """The name that can mean no other image."""
        return self.digest or self.id


def build_command(
    containers: Containers,
    context: Path,
    *,
    accelerator: Accelerator,
    tag: str,
    target: str | None = None,
    build_args: Sequence[str] = (),
    more: Sequence[str] = (),
) -> list[str]:
    """The command that builds the image.

    Args:
        containers: the program.
        context: a checkout of this project.
        accelerator: which lock of ``images/`` is installed.
        tag: the image's name.
        target: a stage of the Dockerfile; None for its last.
        build_args: ``NAME=value`` for the Dockerfile's ARGs.
        more: options of the program's own, as they are.

    Raises:
        UserError: `context` is not a checkout, or a build argument is not NAME=VALUE.
    """
    lock = context / "images" / f"{accelerator}.lock"
    try:
        [version] = _VERSION.findall((context / "src" / "runner" / "__init__.py").read_text())
        digest = sha256(lock.read_bytes()).hexdigest()
        (context / "Dockerfile").stat()
    except (OSError, ValueError) as error:
        raise UserError(
            "there is nothing here to build the image from: no Dockerfile with its src/runner and locks",
            where=str(context),
            remedy="run it in a checkout of runner, or name one: `runner image build --context DIR`",
        ) from error
    values = {
        "ACCELERATOR": accelerator,
        "VERSION": version,
        "REVISION": revision_of(context) or "unknown",
        "LOCK_DIGEST": f"sha256:{digest}",
    }
    for argument in build_args:
        if re.match(r"[A-Za-z_]\w*=", argument) is None:
            raise UserError(f"{argument!r} is not NAME=VALUE", where="--build-arg")
    values |= dict(argument.split("=", 1) for argument in build_args)
    options = [word for name, value in values.items() for word in ("--build-arg", f"{name}={value}")]
    # The Dockerfile's LABEL would do, but podman 4.3 takes it from its cache whatever the ARGs are by now.
    options += [word for label, name in _LABELS.items() for word in ("--label", f"{label}={values[name]}")]
    file = ["--file", str(context / "Dockerfile"), *(("--target", target) if target else ())]
    return containers.command("build", "--tag", tag, *file, *options, *more, str(context))


def build(containers: Containers, command: Sequence[str], *, tag: str) -> Image:
    """Run a command from `build_command`; what it prints goes to standard error.

    Raises:
        UserError: a step failed; the message says which.
    """
    last = ""
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            sys.stderr.write(line)
            if re.match(r"(\[\d+/\d+\] )?STEP |Step \d|#\d+ (\[|ERROR)", line):
                last = line.strip()
    if process.returncode != 0:
        raise UserError(
            f"{containers.program} could not build the image{f': it stopped at `{last}`' if last else ''}",
            remedy="what that step said is above; a package that is not found: docs/image.md, on package indexes",
        )
    return inspect(containers, tag)


def inspect(containers: Containers, name: str) -> Image:
    """What an image of this machine is.

    Raises:
        UserError: there is no such image here.
    """
    answer = containers.ask("image", "inspect", name)
    if answer.returncode != 0:
        raise UserError(
            "there is no such image on this machine",
            where=name,
            remedy="`runner image build` makes one",
        )
    found = json.loads(answer.stdout)[0]
    identity = found["Id"] if found["Id"].startswith("sha256:") else f"sha256:{found['Id']}"
    # podman gives an image that was only built a digest of its own making; docker gives none. No registry knows either.
    digests = [digest for digest in found.get("RepoDigests") or [] if not digest.startswith("localhost/")]
    wanted = [digest for digest in digests if digest.partition("@")[0] == name.partition("@")[0].rpartition(":")[0]]
    exact = name if "@sha256:" in name else None
    return Image(
        name=name, id=identity, digest=exact or next(iter(wanted), None), size_bytes=int(found.get("Size") or 0)
    )


def obtain(containers: Containers, name: str) -> Image:
    """The image that `name` means: this machine's, or else its registry's.

    Raises:
        UserError: it is in neither, or the registry refuses.
    """
    if containers.ask("image", "inspect", name).returncode != 0:
        answer = containers.ask("pull", name, timeout_seconds=_LONG_SECONDS)
        if answer.returncode != 0:
            raise _refused(containers, name, answer.stderr)
    return inspect(containers, name)


def push(containers: Containers, name: str, more: Sequence[str] = ()) -> str:
    """Send an image to the registry that its name says.

    Returns:
        ``NAME@sha256:…``, which means this image for ever.

    Raises:
        UserError: there is no such image, no login, no such registry.
    """
    inspect(containers, name)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "digest"
        options = ["--digestfile", str(file)] if containers.program == "podman" else []
        answer = containers.ask("push", *options, *more, name, timeout_seconds=_LONG_SECONDS)
        if answer.returncode != 0:
            raise _refused(containers, name, answer.stderr)
        digest = file.read_text() if options else answer.stdout
    match = re.search(r"sha256:[0-9a-f]{64}", digest)
    if match is None:
        raise UserError(f"{containers.program} pushed it, and did not say its digest", where=name)
    head, colon, tag = name.rpartition(":")
    return f"{head if colon and '/' not in tag else name}@{match[0]}"


def layers(containers: Containers, name: str) -> list[Layer]:
    """An image's layers, the lowest first, those that hold nothing left out."""
    if containers.program == "podman":
        answer = containers.ask("history", "--no-trunc", "--format", "json", name)
        steps = [(int(step["size"]), str(step.get("CreatedBy", ""))) for step in json.loads(answer.stdout or "[]")]
    else:
        answer = containers.ask("history", "--no-trunc", "--human=false", "--format", "{{.Size}}\t{{.CreatedBy}}", name)
        lines = [line.partition("\t") for line in answer.stdout.splitlines()]
        steps = [(int(size), text) for size, _, text in lines if size.isdecimal()]
    parts = iter(_PARTS)
    found = []
    for size, text in reversed(steps):
        if size:
            words = _instruction(text)
            what = next(parts, None) if words.startswith("COPY") and "/opt/venv" in text else None
            found.append(Layer(size_bytes=size, created_by=f"COPY /opt/venv: {what}" if what else words))
    return found


def _instruction(text: str) -> str:
    """An instruction as the Dockerfile has it, in one short line."""
    text = re.sub(r"/bin/(ba)?sh (-\S+ |pipefail )*-c |#\(nop\)|#.*", " ", text)
    words = " ".join(text.split())
    return words if len(words) <= 72 else words[:71] + "…"


def _refused(containers: Containers, name: str, output: str) -> UserError:
    """Why a registry did not give or take an image."""
    registry = name.split("/")[0] if "." in name.split("/")[0] or ":" in name.split("/")[0] else ""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    reason = (lines or [first_line(output)])[-1].removeprefix("Error: ")
    low = output.lower()
    if any(word in low for word in ("manifest unknown", "not found", "name unknown", "no such image", "404")):
        return UserError(
            "the registry has no such image",
            where=name,
            remedy="look at the name, the tag or the digest; `runner image push` prints the digest of what it pushed",
        )
    if any(word in low for word in ("unauthorized", "denied", "authentication", "no basic auth", "401", "403")):
        return UserError(
            f"the registry refuses this account: {reason}",
            where=name,
            remedy=f"log in first: {containers.program} login {registry}".rstrip(),
        )
    return UserError(
        f"the registry could not be used: {reason}", where=name, remedy="check the name and the network, and try again"
    )
