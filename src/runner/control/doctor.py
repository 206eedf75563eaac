"""Check this machine for what runs need, and say how to get what is missing. Torch is never imported."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

from runner import distribution
from runner.backends.skypilot import client
from runner.errors import UserError
from runner.paths import huggingface_home, state_folder
from runner.remembered import default_store
from runner.storage.open import open_store
from runner.storage.probe import probe
from runner.storage.store import StoreUnavailable

_LEAST_FREE_BYTES = 2 << 30


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was checked."""

    name: str
    """What was checked."""
    state: Literal["ok", "missing", "note"]
    """``missing``: a run cannot work without it; ``note``: it can."""
    detail: str
    """What was found."""
    remedy: str | None = None
    """What to do about it."""


def examine(store_url: str | None) -> Iterator[Finding]:
    """Check everything, one after the other; with `store_url` None, the default store."""
    yield _python()
    yield from _packages()
    yield _store(store_url or default_store())
    yield _disk()
    yield _gpu()
    yield _skypilot()
    yield _variable(
        "HF_TOKEN", "needed for gated models and private data only", "https://huggingface.co/settings/tokens"
    )
    yield _variable("WANDB_API_KEY", "without it, W&B records offline", "https://wandb.ai/authorize")


def _python() -> Finding:
    running = ".".join(map(str, sys.version_info[:3]))
    return Finding(name="python", state="ok", detail=f"{running}, {sys.executable}")


def _packages() -> Iterator[Finding]:
    """Check the packages that our own metadata asks for: the command line's, the training side's, optional ones."""
    ours = distribution.installed()
    if ours is None:
        yield Finding(name="runner", state="note", detail="runs from its source: what it needs is not known here")
        return
    seen: set[str] = set()
    for requirement in ours.requires or ():
        specifier, _, marker = requirement.partition(";")
        name = re.split(r"[^A-Za-z0-9._-]", specifier.strip(), maxsplit=1)[0]
        extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)", marker)
        if name == "skypilot" or name in seen:
            continue  # the first may be installed apart: `_skypilot`; others may be asked for by several extras
        seen.add(name)
        found = _version(name)
        if found is not None:
            yield Finding(name=name, state="ok", detail=found)
        elif extra is None or extra[1] == "train":
            remedy = distribution.install_command(*extra.groups() if extra else ())
            yield Finding(name=name, state="missing", detail="not installed", remedy=remedy)
        else:
            detail = f"not installed (optional: {distribution.install_command(extra[1])})"
            yield Finding(name=name, state="note", detail=detail)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _store(url: str) -> Finding:
    try:
        store = open_store(url)
        honours = probe(store).honours_conditional_writes
    except UserError as error:
        return Finding(name="store", state="missing", detail=f"{url}: {error.what}", remedy=error.remedy)
    except StoreUnavailable as error:
        remedy = "check the network and the credentials, or name another store with --store or RUNNER_STORE"
        return Finding(name="store", state="missing", detail=f"{url}: {error}", remedy=remedy)
    detail = (
        "reachable, conditional writes work"
        if honours
        else "reachable; conditional writes are ignored (runs are safe all the same)"
    )
    return Finding(name="store", state="ok", detail=f"{store.url}: {detail}")


def _disk() -> Finding:
    folder = state_folder("", "x").parent.parent
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    detail = f"{free / (1 << 30):.1f} GiB free at {folder}"
    if free < _LEAST_FREE_BYTES:
        remedy = "make room (models and checkpoints pass through there), or point XDG_STATE_HOME elsewhere"
        return Finding(name="disk", state="missing", detail=detail, remedy=remedy)
    return Finding(name="disk", state="ok", detail=detail)


def _gpu() -> Finding:
    program = shutil.which("nvidia-smi")
    if program is None:
        return Finding(name="gpu", state="note", detail="no nvidia-smi: runs train on the CPU")
    query = [program, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding(name="gpu", state="note", detail=f"nvidia-smi fails: {error}", remedy="reinstall the driver")
    if answer.returncode != 0:
        lines = (answer.stdout + answer.stderr).strip().splitlines()
        detail = f"nvidia-smi fails: {lines[0] if lines else answer.returncode}"
        return Finding(name="gpu", state="note", detail=detail, remedy="reinstall the NVIDIA driver")
    return Finding(name="gpu", state="ok", detail="; ".join(answer.stdout.strip().splitlines()))


def _skypilot() -> Finding:
    python = client.find_python()
    found = None if python is None else client.sky_version(python)
    if found is None:
        detail = "not installed: runs are for this machine only"
        return Finding(name="skypilot", state="note", detail=detail, remedy=client.INSTALL)
    if not client.is_supported(found):
        detail = f"{found}, {python}: not a version that this was tested with"
        return Finding(name="skypilot", state="note", detail=detail, remedy=client.INSTALL)
    return Finding(name="skypilot", state="ok", detail=f"{found}, {python}; `sky check` says which clouds are set up")


def _variable(name: str, what_for: str, where: str) -> Finding:
    """Check whether a secret is set. Its value is not looked at."""
    if os.environ.get(name):
        return Finding(name=name, state="ok", detail="set")
    if name == "HF_TOKEN" and (huggingface_home() / "token").exists():
        return Finding(name=name, state="ok", detail="not set, but you are logged in to the hub")
    return Finding(name=name, state="note", detail=f"not set; {what_for}", remedy=where)
