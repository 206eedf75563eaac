"""The steps of a CI system's file, run as the system runs them: in bash, with the environment that it provides."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from support.bench import CLI, Bench, Plan
from support.paths import ROOT

EXAMPLES = ROOT / "docs" / "examples" / "ci"
_EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")


class Job:
    """A job on a machine of a CI system: a checkout, and a folder for what the system keeps."""

    def __init__(self, bench: Bench, *, program: str = CLI) -> None:
        self.bench = bench
        self.checkout = bench.folder
        self.kept = bench.folder / "home" / "kept"
        self.kept.mkdir(parents=True)
        tools = bench.folder / "home" / "tools"
        tools.mkdir()
        (tools / "program.py").write_text(program)
        (tools / "runner").write_text(f'#!/bin/sh\nexec {sys.executable} {tools}/program.py "$@"\n')
        (tools / "runner").chmod(0o755)
        named = ("GITHUB_", "GITLAB_", "CI_", "JENKINS_")
        known = {name: value for name, value in bench.environment.items() if not name.startswith(named)}
        self.environment = {**known, "PATH": f"{tools}:{os.environ['PATH']}"}

    def github(self, event: str, payload: Mapping[str, Any]) -> dict[str, str]:
        """The variables of a job on GitHub."""
        (self.kept / "event.json").write_text(json.dumps(payload))
        return {
            "GITHUB_ACTIONS": "true",
            "CI": "true",
            "GITHUB_EVENT_NAME": event,
            "GITHUB_EVENT_PATH": str(self.kept / "event.json"),
            "GITHUB_REPOSITORY": "acme/models",
            "GITHUB_SERVER_URL": "https://github.com",
            "GITHUB_RUN_ID": "1234",
            "GITHUB_STEP_SUMMARY": str(self.kept / "summary.md"),
        }

    def start(
        self, script: str, environment: Mapping[str, str], *, plan: Plan | None = None
    ) -> "subprocess.Popen[str]":
        """A script as GitHub's `shell: bash` starts it; it is not waited for."""
        path = self.kept / "script.sh"
        path.write_text(script)
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(path)]
        variables = {**self.environment, "STAND_IN": json.dumps(plan or {}), **environment}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, cwd=self.checkout, env=variables, text=True, start_new_session=True, **pipes)

    def run(
        self, script: str, environment: Mapping[str, str], *, plan: Plan | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """The same, to its end."""
        process = self.start(script, environment, plan=plan)
        out, err = process.communicate(timeout=300)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)


class Action:
    """An action of ours, with inputs: its steps one after the other, and its outputs."""

    def __init__(self, job: Job, folder: str, variables: Mapping[str, str], inputs: Mapping[str, str]) -> None:
        self.job = job
        self.variables = variables
        self.document = yaml.safe_load((ROOT / folder / "action.yml").read_text())
        defaults = {name: str(each.get("default", "")) for name, each in self.document["inputs"].items()}
        assert inputs.keys() <= defaults.keys()
        self.inputs = defaults | dict(inputs)
        self.steps: dict[str, dict[str, str]] = {}

    def environment(self, name: str) -> tuple[str, dict[str, str]]:
        """The script of the step with this id, and its variables."""
        (step,) = [step for step in self.document["runs"]["steps"] if step.get("id") == name]
        assert step["shell"] == "bash"
        assert "${{" not in step["run"], "an expression in a script would be run by the shell"
        given = {key: self._filled(value) for key, value in step["env"].items()}
        output = self.job.kept / f"{name}.output"
        output.write_text("")
        return step["run"], {**self.variables, **given, "GITHUB_OUTPUT": str(output)}

    def step(self, name: str, *, plan: Plan | None = None) -> "subprocess.CompletedProcess[str]":
        """Run the step with this id."""
        script, variables = self.environment(name)
        done = self.job.run(script, variables, plan=plan)
        lines = (self.job.kept / f"{name}.output").read_text().splitlines()
        self.steps[name] = dict(line.split("=", 1) for line in lines)
        return done

    def outputs(self) -> dict[str, str]:
        """What the action hands on."""
        return {name: self._filled(each["value"]) for name, each in self.document["outputs"].items()}

    def _filled(self, text: str) -> str:
        return _EXPRESSION.sub(lambda match: self._value(match[1]), text)

    def _value(self, expression: str) -> str:
        """What an expression of GitHub's is, of those that our actions have."""
        if expression == "inputs.wait == 'false' && '--leave' || ''":
            return "--leave" if self.inputs["wait"] == "false" else ""
        if expression == "inputs.pin-data == 'true' && '--pin-data' || ''":
            return "--pin-data" if self.inputs["pin-data"] == "true" else ""
        for name in expression.split(" || "):
            parts = name.split(".")
            value = self.inputs[parts[1]] if parts[0] == "inputs" else self.steps.get(parts[1], {}).get(parts[3], "")
            if value:
                return value
        return ""


def uses(files: Iterable[Path]) -> list[str]:
    """Every action that workflows and actions use."""
    return [name for path in files for name in re.findall(r"^[ -]*uses: (\S+)", path.read_text(), re.MULTILINE)]
