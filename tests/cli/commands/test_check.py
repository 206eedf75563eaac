"""`runner check`, `runner jobs` and `runner schema`, as they are called from a shell."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.bench import Bench
from support.fakes.fake_hub import hub

RUNNER = [sys.executable, "-c", "from runner.cli.main import main; main()"]
GOOD = """\
# Learns to explain functions
method: sft
model: {model_name_or_path: builtin:tiny-llama}
data:
  train: [{path: builtin:python-docstrings}, {path: user/data}]
"""


def runner(cwd: Path, *arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [*RUNNER, *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False, env=env)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working directory with a good and a broken recipe in ./jobs."""
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs/good.yaml").write_text(GOOD)
    (tmp_path / "jobs/broken.yaml").write_text(GOOD + "trainign: {}\n")
    return tmp_path


def test_a_good_recipe_is_one_line(folder: Path) -> None:
    """Name, method, model and how much data, on standard output."""
    done = runner(folder, "check", "good")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "good: ok (sft, builtin:tiny-llama, 2 data sources)\n"


def test_all_recipes_are_checked_before_the_exit(folder: Path) -> None:
    """Errors go to standard error, each with its place and remedy; one broken recipe makes the exit code 2."""
    done = runner(folder, "check", "broken", "jobs/good.yaml", "nothing")
    assert done.returncode == 2
    assert done.stdout == "jobs/good.yaml: ok (sft, builtin:tiny-llama, 2 data sources)\n"
    assert "Error: jobs/broken.yaml:6: trainign: there is no such setting" in done.stderr
    assert "did you mean `training`?" in done.stderr
    assert "Error: nothing: there is no such recipe" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_is_set_is_checked_too(folder: Path) -> None:
    """`--set` as `launch` has it."""
    assert runner(folder, "check", "good", "--set", "training.learning_rate=1e-4").returncode == 0
    done = runner(folder, "check", "good", "--set", "training.learning_rate=fast", "--set", "name=My Run")
    assert done.returncode == 2
    assert "2 mistakes" in done.stderr
    assert "--set training.learning_rate=fast" in done.stderr


def test_programs_get_json(folder: Path) -> None:
    """One object for each recipe, problems with their settings, and the same exit code."""
    done = runner(folder, "check", "good", "broken", "nothing", "--json")
    assert done.returncode == 2
    good, broken, nothing = json.loads(done.stdout)
    assert good == {
        "recipe": "good",
        "ok": True,
        "path": str(folder / "jobs/good.yaml"),
        "name": "good",
        "method": "sft",
        "model": "builtin:tiny-llama",
        "data_sources": 2,
        "warnings": [],
        "notes": [],
    }
    [problem] = broken["problems"]
    assert (problem["setting"], problem["where"]) == ("trainign", "jobs/broken.yaml:6")
    assert problem["remedy"] == "did you mean `training`?"
    assert nothing["problems"][0]["setting"] is None


def test_without_a_recipe_the_usage_is_shown(folder: Path) -> None:
    """The caller's mistake is exit code 2."""
    done = runner(folder, "check")
    assert done.returncode == 2
    assert "RECIPE" in done.stderr


def test_the_shipped_recipes_are_good(tmp_path: Path) -> None:
    """Each of them, from any directory."""
    jobs = json.loads(runner(tmp_path, "jobs", "--json").stdout)
    assert "quickstart" in [job["name"] for job in jobs]
    assert [job["error"] for job in jobs] == [None] * len(jobs)
    assert runner(tmp_path, "check", *(job["name"] for job in jobs)).returncode == 0


def test_a_broken_recipe_is_listed_as_such(folder: Path) -> None:
    """One broken file does not hide the others."""
    done = runner(folder, "jobs")
    assert done.returncode == 0
    rows = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert "Learns to explain functions" in rows["good"]
    assert "`runner check broken` says what is wrong" in rows["broken"]
    jobs = {job["name"]: job for job in json.loads(runner(folder, "jobs", "--json").stdout)}
    assert jobs["good"] == {
        "name": "good",
        "path": str(folder / "jobs/good.yaml"),
        "method": "sft",
        "model": "builtin:tiny-llama",
        "description": "Learns to explain functions",
        "error": None,
    }
    assert "did you mean `training`?" in jobs["broken"]["error"]


def test_the_schema_is_printed_as_it_ships(tmp_path: Path) -> None:
    """An editor gets exactly what a check uses."""
    from runner.recipe.schema import published_schema

    done = runner(tmp_path, "schema")
    assert done.returncode == 0
    assert json.loads(done.stdout) == published_schema()


def test_a_check_leaves_the_heavy_packages_alone(folder: Path) -> None:
    """No torch, no store, no network client is imported, and nothing is written."""
    script = (
        "import sys\n"
        "from runner.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'trl', 'peft', 'datasets', 'numpy', 'boto3', 'obstore', 'rich'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "check", "good"], cwd=folder, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
    assert sorted(path.name for path in folder.rglob("*")) == ["broken.yaml", "good.yaml", "jobs"]


def test_the_hub_is_asked_on_demand_and_before_a_launch(folder: Path, tmp_path: Path) -> None:
    """Neither a wrong name nor a gated one waits for the machine that trains."""
    (folder / "jobs/good.yaml").write_text(GOOD.replace("user/data", "someone/missing"))
    with hub() as server:
        environment = {
            **os.environ,
            "HF_ENDPOINT": server.endpoint,
            "HF_DATASETS_SERVER": server.endpoint,
            "HF_HUB_OFFLINE": "0",
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
        }
        assert runner(folder, "check", "good", env=environment).returncode == 0
        assert server.asked == []
        for command in (["check", "--online", "good"], ["launch", "good", "--store", str(tmp_path / "store")]):
            done = runner(folder, *command, env=environment)
            assert done.returncode == 2
            assert "Error: jobs/good.yaml:5: data.train.1.path: there is no dataset someone/missing" in done.stderr
            assert "Traceback" not in done.stderr
    assert not (tmp_path / "store/runs").exists()


def test_rows_that_will_be_dropped_and_columns_that_are_not_read_are_said(folder: Path) -> None:
    """A check converts the first rows as the training will; it stays a success."""
    rows = [{"prompt": "a", "completion": "b", "id": 1}, {"prompt": "a", "completion": "", "id": 2}]
    (folder / "jobs/rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = runner(folder, "check", "good", "--set", "data={train: [{path: jobs/rows.jsonl}]}")
    assert done.returncode == 0
    assert "good: data.train.0: dropped 1 of 2 rows (1 with empty completion; the first: line 2)." in done.stderr
    assert "good: data.train.0: of these columns nothing is made: id." in done.stderr


def test_a_recipe_names_a_template_and_the_check_knows_those_there_are(bench: Bench) -> None:
    bench.recipe(chat_template_path="chatml")
    assert bench.runner("check", "small.yaml").returncode == 0
    bench.recipe(chat_template_path="./chatml")
    done = bench.runner("check", "small.yaml")
    assert done.returncode == 2
    assert "there is no file `./chatml`" in done.stdout + done.stderr


def test_a_file_of_that_name_beside_the_recipe_wins(bench: Bench) -> None:
    (bench.folder / "chatml").mkdir()
    bench.recipe(chat_template_path="chatml")
    done = bench.runner("check", "small.yaml")
    assert done.returncode == 2
    assert "holds no chat template" in done.stdout + done.stderr
