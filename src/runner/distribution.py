"""The distribution that this package was installed from, and how to install one of its extras."""

import json
import re
import shlex
import shutil
import sys
import urllib.parse
from collections.abc import Mapping
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

NAME = "runner-finetune"
"""The distribution's name. `runner` on PyPI is another project, so that no hint may name it."""

UNKNOWN_SOURCE = "RUNNER"
"""Stands for the place that runner is installed from (a checkout, a wheel, a git URL) where that is not known."""


def installed() -> Distribution | None:
    """Return this package's distribution; None if it runs from its source alone, as on a machine without an image."""
    try:
        return distribution(NAME)
    except PackageNotFoundError:
        return None


def install_command(*extras: str) -> str:
    """Return the command that installs extras into this environment, from where runner itself was installed.

    Args:
        extras: names of ``[project.optional-dependencies]``; none for runner itself.
    """
    found = installed()
    record = found.read_text("direct_url.json") if found is not None else None
    try:
        origin = json.loads(record) if record else {}
    except ValueError:
        origin = {}
    options, source = _source(origin, f"[{','.join(extras)}]" if extras else "")
    return " ".join([_pip(), "install", *options, f"'{source}'" if extras or shlex.quote(source) != source else source])


def _source(origin: Mapping[str, Any], extras: str) -> tuple[list[str], str]:
    """Return pip's options and requirement for what a ``direct_url.json`` (PEP 610) says.

    Args:
        origin: its contents.
        extras: as in a requirement, ``[chat]``, or nothing.
    """
    address = re.sub(r"(://)[^/@]*@", r"\1", str(origin.get("url") or ""))  # no name and password
    if address.startswith("file:"):
        path = urllib.parse.unquote(urllib.parse.urlsplit(address).path)
        if not Path(path).exists():
            return [], UNKNOWN_SOURCE + extras
        return ["--editable"] if (origin.get("dir_info") or {}).get("editable") else [], path + extras
    version_control = origin.get("vcs_info") or {}
    if address and version_control:
        revision = version_control.get("requested_revision") or version_control.get("commit_id") or ""
        address = f"{version_control.get('vcs')}+{address}{f'@{revision}' if revision else ''}"
    return [], f"{NAME}{extras} @ {address}" if address else UNKNOWN_SOURCE + extras


def _pip() -> str:
    """Return ``pip`` if that is this environment's, else this environment's Python with its module."""
    here = Path(sys.executable).parent
    program = shutil.which("pip")
    return "pip" if program and Path(program).parent == here else f"{shlex.quote(sys.executable)} -m pip"
