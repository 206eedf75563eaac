"""SkyPilot's task of a run, or of a sweep's workers: built purely, the same where it is printed and where it is sent.

A task holds all that SkyPilot needs, and works by hand with ``sky jobs launch``: the run's own record travels in it and
is written to the store if it is not there. Secrets stand in it by name only.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from runner.backends.workers import WORKER, SweepWorkers
from runner.runs.launches import task_name
from runner.runs.layout import IMAGE_VARIABLE, RUN_VARIABLE, SECRET_NAMES

GIVE_UP_AFTER = 10
"""Attempts in a row without a newer checkpoint after which a run stops being started again, since it would for ever."""

SETUP_FOLDER = "~/runner-setup"
"""Where a task without an image finds runner and its locks on the machine."""
_DOCKER = "docker:"
"""What SkyPilot's `image_id` begins with if it is a container's."""

_IMAGE_PYTHON = "/opt/venv/bin/python"
_SETUP_PYTHON = '"$HOME/runner-environment/bin/python"'
_STOP_SECONDS = 120
_SLOTS = "runner.backends.local.slots"
"""Splits a machine among several workers. It runs there, not here."""


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
    return _task(
        document,
        context,
        name=task_name(document["run_id"]),
        own=document["recipe"].get("sky") or {},
        envs={RUN_VARIABLE: _dumped(_carried(document))},
        stop=_stop(f"[r]unner.train.entrypoint .*--run {document['run_id']} "),
        run=_run(document["run_id"], context),
    )


def workers_task(workers: SweepWorkers, name: str, context: TaskContext) -> dict[str, Any]:
    """Build the task of a machine with workers of a sweep: one, or one for each slot of the machine.

    Args:
        workers: what is asked for; `placement.machines` are the machines.
        name: of the jobs.
        context: what it brings to its machines.
    """
    module = _worker_module(workers)
    return _task(
        workers.placement.fields(),
        context,
        name=name,
        own=workers.sky,
        envs={},
        # Of several workers, the process that started them passes the signal on.
        stop=_stop(f"[{module[0]}]{module[1:]} .*--sweep {workers.sweep_id} "),
        run=_run_workers(workers, context),
    )


def _container_image(resources: Mapping[str, Any]) -> str | None:
    """Return the container image that all machines run; None for images of virtual machines, or several."""
    name = resources.get("image_id")
    return name.removeprefix(_DOCKER) if isinstance(name, str) and name.startswith(_DOCKER) else None


def _task(
    place: Mapping[str, Any],
    context: TaskContext,
    *,
    name: str,
    own: Mapping[str, Any],
    envs: Mapping[str, str],
    stop: str,
    run: str,
) -> dict[str, Any]:
    """Build a task.

    Args:
        place: holds `resources` and `num_nodes`.
        context: what it brings to its machines.
        name: the task's.
        own: the recipe's `sky`.
        envs: variables beside those of the context and the recipe.
        stop: what is done when the machine is about to go.
        run: what is run.
    """
    secrets = sorted({*context.secrets, *own.get("secrets", ())})
    envs = {**(context.environment or {}), **own.get("envs", {}), **envs}
    if (image := _container_image(place["resources"])) is not None:
        envs[IMAGE_VARIABLE] = image
    if secrets:
        envs[SECRET_NAMES] = ",".join(secrets)
    mounts = {**own.get("file_mounts", {})}
    setup = [own["setup"].rstrip("\n")] if own.get("setup") else []
    if context.setup_from is not None:
        mounts[SETUP_FOLDER] = context.setup_from
        setup.append(f"bash {SETUP_FOLDER}/setup.sh")
    hook = {"events": ["preemption"], "timeout": _STOP_SECONDS, "run": stop}
    config = dict(own.get("config", {}))
    config["hooks"] = [*config.get("hooks", ()), hook]
    parts = {
        "name": name,
        "num_nodes": place["num_nodes"] if place["num_nodes"] > 1 else None,
        "resources": place["resources"],
        "envs": envs,
        "secrets": dict.fromkeys(secrets),
        "workdir": own.get("workdir"),
        "file_mounts": mounts,
        "volumes": own.get("volumes"),
        "config": config,
        "setup": "\n".join(setup) + "\n" if setup else None,
        "run": run,
    }
    return {name: part for name, part in parts.items() if part}


def task_yaml(content: Mapping[str, Any]) -> str:
    """A task as SkyPilot reads it, with texts of several lines as such."""
    return _dumped(content)


def _run(run_id: str, context: TaskContext) -> str:
    path, python = _python(context)
    arguments = f"--store {shlex.quote(context.store_url)} --run {run_id}"
    # -P: a `datasets.py` in the working directory must not be taken for the library.
    return (
        f"{path}exec {python} -P -m runner.train.entrypoint \\\n"
        f'  {arguments} --work-dir "$HOME/runner-work/{run_id}" --give-up-after {GIVE_UP_AFTER}\n'
    )


def _run_workers(workers: SweepWorkers, context: TaskContext) -> str:
    path, python = _python(context)
    module = _worker_module(workers)
    folder = f"$HOME/runner-work/{workers.sweep_id}"
    lines = [shlex.join(workers.arguments(context.store_url)), f'--work-dir "{folder}"']
    if module == _SLOTS:
        split = f" --gpus-per-trial {workers.gpus_per_trial}" if workers.gpus_per_trial is not None else ""
        lines.append(f'--logs "{folder}/logs" --trials-per-gpu {workers.trials_per_gpu}{split}')
    return f"{path}exec {python} -P -m {module} \\\n  " + " \\\n  ".join(lines) + "\n"


def _worker_module(workers: SweepWorkers) -> str:
    """The worker, or what starts several: which machine it will be, and how many GPUs it has, is known there only."""
    return _SLOTS if workers.splits else WORKER


def _python(context: TaskContext) -> tuple[str, str]:
    """What comes before, and the Python of the image or of the setup."""
    if context.setup_from is None:
        return "", _IMAGE_PYTHON
    return 'export PYTHONPATH="$HOME/runner-setup/source"\n', _SETUP_PYTHON


def _stop(processes: str) -> str:
    """Ask processes to save, and wait until they have. The brackets keep the pattern from matching this very line."""
    pattern = shlex.quote(processes)
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
