"""The SkyPilot task of a run: built purely from its document, printed by `render`, sent by `launch`, the same in both.

A task holds all that SkyPilot needs, and works by hand with ``sky jobs launch``: the run's own record travels in it and
is written to the store if it is not there. Secrets stand in it by name only.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from runner.runs.launches import task_name
from runner.runs.layout import RUN_VARIABLE, SECRET_NAMES

GIVE_UP_AFTER = 10
"""Attempts in a row without a newer checkpoint after which a run stops being started again, since it would for ever."""

SETUP_FOLDER = "~/runner-setup"
"""Where a task without an image finds runner and its locks on the machine."""

_IMAGE_PYTHON = "/opt/venv/bin/python"
_SETUP_PYTHON = '"$HOME/runner-environment/bin/python"'
_STOP_SECONDS = 120


@dataclass(frozen=True, kw_only=True)
class TaskContext:
    """What a task brings to its machines, and how."""

    store_url: str
    """Where the run lives."""
    secrets: Sequence[str] = ()
    """Names of variables whose values SkyPilot is given apart from the task."""
    environment: Mapping[str, str] | None = None
    """Variables that are no secret, such as the store's endpoint."""
    setup_from: str | None = None
    """The folder of this machine that holds runner and its locks, for a task without an image."""


def task(document: Mapping[str, Any], context: TaskContext) -> dict[str, Any]:
    """Build the task of a run.

    Args:
        document: its ``run.json``, with `resources` and `num_nodes`.
        context: what it brings to its machines.
    """
    own = document["recipe"].get("sky") or {}
    secrets = sorted({*context.secrets, *own.get("secrets", ())})
    envs = {**(context.environment or {}), **own.get("envs", {}), RUN_VARIABLE: _dumped(_carried(document))}
    if secrets:
        envs[SECRET_NAMES] = ",".join(secrets)
    mounts = {**own.get("file_mounts", {})}
    setup = [own["setup"].rstrip("\n")] if own.get("setup") else []
    if context.setup_from is not None:
        mounts[SETUP_FOLDER] = context.setup_from
        setup.append(f"bash {SETUP_FOLDER}/setup.sh")
    hook = {"events": ["preemption"], "timeout": _STOP_SECONDS, "run": _stop(document["run_id"])}
    config = dict(own.get("config", {}))
    config["hooks"] = [*config.get("hooks", ()), hook]
    parts = {
        "name": task_name(document["run_id"]),
        "num_nodes": document["num_nodes"] if document["num_nodes"] > 1 else None,
        "resources": document["resources"],
        "envs": envs,
        "secrets": dict.fromkeys(secrets),
        "workdir": own.get("workdir"),
        "file_mounts": mounts,
        "volumes": own.get("volumes"),
        "config": config,
        "setup": "\n".join(setup) + "\n" if setup else None,
        "run": _run(document["run_id"], context),
    }
    return {name: part for name, part in parts.items() if part}


def task_yaml(content: Mapping[str, Any]) -> str:
    """A task as SkyPilot reads it, with texts of several lines as such."""
    return _dumped(content)


def _run(run_id: str, context: TaskContext) -> str:
    python = _IMAGE_PYTHON if context.setup_from is None else _SETUP_PYTHON
    path = "" if context.setup_from is None else 'export PYTHONPATH="$HOME/runner-setup/source"\n'
    arguments = f"--store {shlex.quote(context.store_url)} --run {run_id}"
    # -P: a `datasets.py` in the working directory must not be taken for the library.
    return (
        f"{path}exec {python} -P -m runner.train.entrypoint \\\n"
        f'  {arguments} --work-dir "$HOME/runner-work/{run_id}" --give-up-after {GIVE_UP_AFTER}\n'
    )


def _stop(run_id: str) -> str:
    """Ask the attempt to save, and wait until it has. The brackets keep the pattern from matching this very line."""
    pattern = shlex.quote(f"[r]unner.train.entrypoint .*--run {run_id} ")
    return f"pkill -TERM -f {pattern}\nwhile pgrep -f {pattern} > /dev/null; do sleep 1; done\n"


def _carried(document: Mapping[str, Any]) -> dict[str, Any]:
    """The record as it travels: of the settings, those that the command line changed; the recipe says the others."""
    settings = {
        key: setting for key, setting in document["settings"].items() if setting["source"] not in ("default", "recipe")
    }
    return {**document, "settings": settings}


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as blocks, and no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def _dumped(content: Mapping[str, Any]) -> str:
    return yaml.dump(dict(content), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
