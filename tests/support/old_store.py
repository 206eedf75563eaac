"""A store whose runs an older commit made: one that finished, and one whose machine went away after a checkpoint.

The older code is taken out of the repository's history and run by this interpreter, so the store is what that commit
writes, and no weights need to be committed. The records that `tests/runs/old_store` holds were made by
``python tests/support/old_store.py FOLDER RECORDS``.
"""

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
OLD_COMMIT = "ec44b5cf98b8faeab8868f92ca4e92a50214885c"
"""The last commit before the packages were laid out anew."""
FINISHED, KILLED = "finished", "killed"
RESUMED, REMOTE = "resumed", "remote"
"""Further runs of which `write_records` takes the records: one that was killed and resumed, one that SkyPilot ended."""
RUNS = (FINISHED, KILLED)
"""The runs of `Home.make_old_runs`. Their recipes are the same, so the killed one must end as the finished one did."""
MAX_STEPS = 12
KILL_STEP = 8
"""The killed run dies in the update of this step."""
CHECKPOINT_STEP = 6
"""The newest checkpoint that is in the store by then."""

RECIPE = f"""
name: old
method: sft
model: {{model_name_or_path: "builtin:tiny-llama"}}
adapter: {{r: 4, lora_dropout: 0.1, target_modules: all-linear}}
data:
  train: [{{path: "builtin:python-docstrings", sample: 80}}]
  eval: {{from_train: 8}}
training:
  max_steps: {MAX_STEPS}
  effective_batch_size: 4
  per_device_eval_batch_size: 4
  max_length: 32
  learning_rate: 2.0e-3
  eval_strategy: steps
  eval_steps: 4
  gradient_checkpointing: false
  report_to: none
checkpoint: {{save_steps: 3, save_total_limit: 2}}
evaluate: {{before_and_after: true, prompts: ["Return the"], max_new_tokens: 4}}
"""

# Python imports this module at each start. In the training process it kills the run before an update, as a machine that
# goes away does: the supervisor first, or it would start another attempt.
_SITECUSTOMIZE = """
import os, signal, sys, time
from pathlib import Path

if "runner.train.worker" in sys.orig_argv:
    from torch.optim.optimizer import register_optimizer_step_pre_hook

    updates = 0

    def parent_of(pid):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])

    def kill(*_):
        global updates
        updates += 1
        if updates < int(os.environ["KILL_STEP"]):
            return
        while not list(Path(os.environ["CHECKPOINTS"]).glob(os.environ["KILL_AFTER"])):
            time.sleep(0.05)
        time.sleep(5)  # until the metrics of steps that are lost with the machine are in the store too
        attempt = os.getppid()
        for pid in (parent_of(attempt), attempt, os.getpid()):
            os.kill(pid, signal.SIGKILL)

    register_optimizer_step_pre_hook(kill)
"""


class Home:
    """Folders of a user with a store, and `runner` as this or the older code has it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = folder / "store"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("RUNNER_", "XDG_"))},
            "HOME": str(folder / "home"),
            "RUNNER_STORE": str(self.store),
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
        }
        for name in ("home", "old", "trap"):
            (folder / name).mkdir(parents=True)
        (folder / "old.yaml").write_text(RECIPE)

    def runner(self, *arguments: str, code: int = 0) -> str:
        """Run a command of this checkout's `runner`; returns its standard output."""
        return self._run(arguments, self.environment, code)

    def old_runner(self, *arguments: str, code: int = 0, **environment: str) -> str:
        """Run a command of the older `runner`; `extract_old_code` comes first."""
        path = os.pathsep.join([str(self.folder / "trap"), str(self.folder / "old" / "src")])
        if not environment:
            path = str(self.folder / "old" / "src")
        return self._run(arguments, {**self.environment, "PYTHONPATH": path, **environment}, code)

    def make_old_runs(self) -> None:
        """Let the older code make both runs."""
        extract_old_code(self.folder / "old")
        (self.folder / "trap" / "sitecustomize.py").write_text(_SITECUSTOMIZE)
        self.old_runner("launch", "./old.yaml", "--name", FINISHED)
        self.launch_and_kill(KILLED)

    def launch_and_kill(self, run_id: str) -> None:
        """Let the older code launch a run, and kill it with its supervisor after a checkpoint."""
        self.old_runner(
            *("launch", "./old.yaml", "--name", run_id),
            code=-9,
            KILL_STEP=str(KILL_STEP),
            KILL_AFTER=f"sft-*{CHECKPOINT_STEP}-*/manifest.json",
            CHECKPOINTS=str(self.store / "runs" / run_id / "checkpoints"),
        )

    def old_python(self, code: str, *arguments: str) -> None:
        """Run Python in which `runner` is the older one."""
        environment = {**self.environment, "PYTHONPATH": str(self.folder / "old" / "src")}
        subprocess.run([sys.executable, "-c", code, *arguments], cwd=self.folder, env=environment, check=True)

    def _run(self, arguments: tuple[str, ...], environment: dict[str, str], code: int) -> str:
        command = [sys.executable, "-m", "runner", *arguments]
        process = subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert process.returncode == code, process.stdout + process.stderr
        return process.stdout


def old_commit_is_available() -> bool:
    """Whether this checkout's history reaches back to the older commit (that of a shallow clone may not)."""
    command = ["git", "cat-file", "-e", f"{OLD_COMMIT}^{{commit}}"]
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def extract_old_code(folder: Path) -> None:
    """Write the older commit's ``src/`` and what it reads beside it into `folder`."""
    command = ["git", "archive", "--format=tar", OLD_COMMIT, "src", "jobs", "images", "pyproject.toml"]
    archive = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(folder, filter="data")


_HAND_OVER = """
import json, sys
from runner.launch.launches import note_ended, note_job, note_launch
from runner.storage.open import open_store
store, template, run_id = open_store(sys.argv[1]), sys.argv[2], sys.argv[3]
document = json.loads(store.get(f"runs/{template}/run.json"))
document |= {"run_id": run_id, "infra": "aws", "accelerators": {"A100": 1}, "created_at": "2026-11-27T10:00:00+00:00"}
store.create(f"runs/{run_id}/run.json", json.dumps(document).encode())
for number in (1, 2):
    record = {"infra": "aws", "accelerators": {"A100": number}, "cluster": None, "submitted_at": document["created_at"]}
    launch = note_launch(store, run_id, record)
    note_job(store, launch, {"job_id": 40 + number})
note_ended(store, launch, status="FAILED_NO_RESOURCE", reason="no machine was to be had")
"""
_KEPT_SETTINGS = ("training.max_steps", "training.learning_rate", "training.seed")


def write_records(home: Home, folder: Path) -> None:
    """Let the older code make all runs, and copy their records, without weights, into `folder`.

    What names the machine is replaced, log lines that hold paths are left out, and of the settings in ``run.json`` only
    a few are copied, so that the records stay small.
    """
    home.make_old_runs()
    home.old_runner("eval", FINISHED)
    home.launch_and_kill(RESUMED)
    home.old_runner("resume", RESUMED)
    home.old_python(_HAND_OVER, str(home.store), FINISHED, REMOTE)
    shutil.rmtree(folder, ignore_errors=True)
    for path in sorted(home.store.rglob("*")):
        name = path.relative_to(home.store)
        is_record = path.suffix in (".json", ".jsonl", ".txt") and name.parts[2] not in ("checkpoints", "artifacts")
        if not path.is_file() or not (is_record or path.name == "manifest.json"):
            continue
        text = path.read_text()
        if path.suffix == ".json":
            text = json.dumps(_without_machine(json.loads(text)), separators=(",", ":")) + "\n"
        elif path.suffix == ".txt":
            text = "".join(line for line in text.splitlines(keepends=True) if "/" not in line and "kernels" not in line)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def _without_machine(record: dict[str, Any]) -> dict[str, Any]:
    replaced = {"host": "old-machine", "boot_id": "00000000-0000-4000-8000-000000000000", "pid": 1}
    record |= {name: value for name, value in replaced.items() if name in record}
    if "settings" in record:
        record["settings"] = {name: record["settings"][name] for name in _KEPT_SETTINGS}
    return record


if __name__ == "__main__":
    write_records(Home(Path(sys.argv[1]).resolve()), Path(sys.argv[2]))
