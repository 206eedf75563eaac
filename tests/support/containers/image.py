"""The training image as the tests build it, and containers of it."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.control.launching.submit import submit
from runner.recipe.loading.load import load_recipe
from runner.runs.submission.prepare import prepare as prepared
from runner.runs.submission.run_json import run_json
from runner.storage.local import LocalStore
from runner.storage.open import open_store
from support.containers.image_machine import Machine
from support.paths import ROOT

TAG = "localhost/runner-tests/runner:cpu"

SHORT = (
    "training.max_steps=40",
    "checkpoint.save_steps=5",
    "data.eval.from_train=32",
    "evaluate.max_new_tokens=4",
)
"""What makes the quickstart a matter of seconds."""

LOCKED_DOWN = (
    *("--read-only", "--cap-drop=all", "--security-opt=no-new-privileges"),
    *("--user=1000:1000", "--tmpfs=/tmp"),
)
"""All that can be taken from a container besides the network."""


@dataclass(frozen=True, kw_only=True)
class Built:
    """The image."""

    name: str
    """Its tag."""
    report: dict[str, Any]
    """What `runner image build --json` printed."""

    def sh(self, script: str, *options: str) -> "subprocess.CompletedProcess[str]":
        """A bash script in a container of its own."""
        command = ["podman", "run", "--rm", "--network=none", *options, "--entrypoint=/bin/bash", self.name]
        return subprocess.run([*command, "-euo", "pipefail", "-c", script], capture_output=True, text=True, timeout=600)


class Place:
    """A store and a work folder that containers are given."""

    def __init__(self, folder: Path) -> None:
        for name in ("store", "work"):
            (folder / name).mkdir()
            os.chown(folder / name, 1000, 1000)
        self.folder = folder
        self.store = open_store(str(folder / "store"))
        assert isinstance(self.store, LocalStore)

    def submit(self, run_id: str, *overrides: str) -> None:
        """What `runner launch quickstart` writes, with more settings changed if there are any."""
        recipe = prepared(load_recipe("quickstart", overrides=(*SHORT, *overrides), cwd=ROOT))
        document = run_json(
            run_id=run_id,
            recipe=recipe.recipe,
            settings=recipe.settings,
            recipe_digest=recipe.digest,
            git_revision=None,
            created_at="2026-01-01T00:00:00+00:00",
        )
        assert submit(self.store, document, recipe.inputs)
        subprocess.run(["chown", "--recursive", "1000:1000", str(self.folder / "store")], check=True)

    def attempt(self, image: str, run_id: str, *options: str, shell_form: bool = False) -> "subprocess.Popen[str]":
        """Start an attempt in a container that is called like the run."""
        mounts = [f"--volume={self.folder / name}:/{name}" for name in ("store", "work")]
        arguments = ["--store", "/store", "--run", run_id, "--work-dir", "/work"]
        command = ["podman", "run", "--rm", "--network=none", f"--name={run_id}", *LOCKED_DOWN, *mounts]
        command += ["--env=HOME=/work", "--env=OMP_NUM_THREADS=1", *options]
        command += [f"--env=ATTEMPT={' '.join(arguments)}", image] if shell_form else [image, *arguments]
        # In a folder of its own: conmon leaves a file `oom` where it stands when memory runs out.
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=self.folder)

    def run(self, image: str, run_id: str, *options: str) -> int:
        """An attempt to its end; its exit code."""
        return finished(self.attempt(image, run_id, *options))

    def ended(self, run_id: str, number: int) -> dict[str, Any]:
        """How an attempt ended, as it wrote it down."""
        record: dict[str, Any] = json.loads(self.store.get(f"runs/{run_id}/attempts/{number:04}.ended.json"))
        return record


def finished(process: "subprocess.Popen[str]", seconds: float = 900) -> int:
    """Wait for a container; its exit code. What it printed is shown if the test fails."""
    said, _ = process.communicate(timeout=seconds)
    print(said)
    return process.returncode


def podman(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """A podman command that has to work."""
    done = subprocess.run(["podman", *arguments], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return done


def runner(*arguments: str, code: int = 0, **options: Any) -> "subprocess.CompletedProcess[str]":
    """A command of `runner`'s, to its end."""
    options = {"cwd": ROOT, "stdout": subprocess.PIPE, "timeout": 1500, **options}
    done = subprocess.run([sys.executable, "-m", "runner", *arguments], text=True, **options)
    assert done.returncode == code, (done.stdout, done.stderr)
    return done


def build_arguments(machine: Machine) -> Sequence[str]:
    """The command line that builds the image here."""
    options = ("--accelerator", "cpu", "--engine", "podman", "--tag", TAG, "--json")
    return ("image", "build", *options, "--", *machine.build_arguments)
