"""The commands on a run from its launch to its results, from other shells too."""

import csv
import fcntl
import io
import json
import os
import re
import signal
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import pytest

from runner.backends.lock import lock_holder
from runner.paths import state_folder
from runner.runs.records import run_result
from runner.runs.status import run_status
from support.bench import CLI, STAND_IN, Bench, gone, wait_until


def ids(bench: Bench) -> list[str]:
    return bench.store.folders("runs/")


def launched(bench: Bench, *arguments: str, **options: Any) -> dict[str, Any]:
    """Launch the small recipe to its end; what `--json` prints."""
    done = bench.runner("launch", "small.yaml", "--json", *arguments, **options)
    outcome: dict[str, Any] = json.loads(done.stdout) | {"code": done.returncode, "said": done.stderr}
    return outcome


# -- launch ------------------------------------------------------------------------------------------------------


def test_a_launch_follows_the_run_to_its_end(bench: Bench) -> None:
    bench.recipe()
    done = bench.runner("launch", "small.yaml")
    assert done.returncode == 0, done
    assert done.stdout == ""
    (run_id,) = ids(bench)
    for words in (f"{run_id} succeeded", "perplexity", "Prompt: Return the", f"runner pull {run_id}", bench.store.url):
        assert words in done.stderr


def test_a_launch_names_the_run_before_it_starts(bench: Bench) -> None:
    bench.recipe()
    done = bench.runner("launch", "small.yaml")
    assert done.stderr.splitlines()[0] == f"run {ids(bench)[0]} in {bench.store.url}"


def test_a_store_in_a_folder_named_runs_is_said_to_hold_another(bench: Bench) -> None:
    bench.recipe()
    done = bench.runner("launch", "small.yaml", "--store", "my/runs")
    assert (bench.folder / "my/runs/runs").is_dir()
    assert f"`--store {bench.folder}/my` " in done.stderr
    assert f"{bench.folder}/my/runs/runs/" in done.stderr


def test_json_is_all_that_a_launch_prints_to_standard_output(bench: Bench) -> None:
    bench.recipe()
    outcome = launched(bench)
    assert outcome["code"] == 0
    assert (outcome["run_id"], outcome["state"], outcome["store"]) == (ids(bench)[0], "succeeded", bench.store.url)


def test_the_run_record_says_what_was_asked_for_and_by_whom(bench: Bench) -> None:
    bench.recipe()
    run_id = launched(bench, "--set", "training.learning_rate=0.5")["run_id"]
    document = json.loads(bench.store.get(f"runs/{run_id}/run.json"))
    assert document["run_id"] == run_id
    assert document["settings"]["training.learning_rate"] == {"value": 0.5, "source": "--set"}
    assert document["settings"]["training.max_steps"] == {"value": 10, "source": "recipe"}
    assert (document["infra"], document["version"]) == ("local", 1)
    submission = json.loads(bench.store.get(f"runs/{run_id}/submission.json"))
    assert submission["engine"] == "local"
    assert submission["pid"] > 1


@pytest.mark.parametrize(("verb", "code", "state"), [("fail", 1, "failed"), ("mistake", 2, "failed")])
def test_a_failure_shows_why_and_the_last_lines(bench: Bench, verb: str, code: int, state: str) -> None:
    bench.recipe()
    done = bench.runner("launch", "small.yaml", plan={"1": [verb, 3]})
    assert done.returncode == code
    assert f"{state}: failed by the stand-in" in done.stderr
    assert "traceback line 29" in done.stderr
    assert "traceback line 5\n" not in done.stderr
    assert "runner logs" in done.stderr


def test_a_dry_run_prints_what_would_be_done_and_does_nothing(bench: Bench) -> None:
    bench.recipe()
    before = sorted(bench.folder.rglob("*"))
    done = bench.runner("launch", "small.yaml", "--dry-run", "--name", "try", "--json")
    assert done.returncode == 0, done
    printed = json.loads(done.stdout)
    assert sorted(bench.folder.rglob("*")) == before
    launched(bench, "--name", "try")
    written = json.loads(bench.store.get("runs/try/run.json"))
    assert {**printed["run"], "created_at": ""} == {**written, "created_at": ""}
    assert printed["command"][1:6] == ["-P", "-m", STAND_IN, "--store", bench.store.url]


def test_a_dry_run_for_people_is_the_record_and_the_command(bench: Bench) -> None:
    bench.recipe()
    done = bench.runner("launch", "small.yaml", "--dry-run")
    record, _, command = done.stdout.strip().rpartition("\n")
    assert json.loads(record)["name"] == "small"
    assert f"-P -m {STAND_IN} --store" in command


def test_local_data_travels_with_the_run(bench: Bench) -> None:
    recipe = bench.recipe()
    (bench.folder / "mine.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    recipe.write_text(recipe.read_text().replace('"builtin:python-docstrings"', "mine.jsonl"))
    run_id = launched(bench)["run_id"]
    document = json.loads(bench.store.get(f"runs/{run_id}/run.json"))
    key = document["recipe"]["data"]["train"][0]["path"]
    assert bench.store.get(f"runs/{run_id}/{key}") == (bench.folder / "mine.jsonl").read_bytes()


def test_a_secret_reaches_the_attempt_and_nothing_else(bench: Bench) -> None:
    bench.recipe()
    (bench.folder / "secrets.env").write_text("TOKEN=hunter2\n")
    run_id = launched(bench, "--env-file", "secrets.env", "--name", "try", plan={"1": ["stop", 3]})["run_id"]
    assert "TOKEN has 7 letters" in bench.runner("logs", run_id).stdout
    (bench.folder / "secrets.env").unlink()
    assert b"hunter2" not in bench.written()
    refused = bench.runner("resume", "try")
    assert refused.returncode == 2
    assert "TOKEN is not set" in refused.stderr
    assert bench.runner("resume", "try", "--secret", "TOKEN", env={"TOKEN": "hunter2"}).returncode == 0
    assert b"hunter2" not in bench.written()


# -- names -------------------------------------------------------------------------------------------------------


def test_a_name_is_the_id_and_an_unfinished_run_of_it_goes_on(bench: Bench) -> None:
    bench.recipe()
    assert launched(bench, "--name", "try", plan={"1": ["stop", 5]})["code"] == 75
    outcome = launched(bench, "--name", "try")
    assert (outcome["code"], outcome["run_id"], outcome["attempts"]) == (0, "try", 2)
    assert "try is interrupted: resuming it" in outcome["said"]
    assert ids(bench) == ["try"]


def test_changed_settings_are_a_new_run_and_said(bench: Bench) -> None:
    bench.recipe()
    launched(bench, "--name", "try", plan={"1": ["stop", 5]})
    outcome = launched(bench, "--name", "try", "--set", "training.learning_rate=0.5")
    assert outcome["run_id"] == "try-2"
    assert "training.learning_rate: (unset) -> 0.5" in outcome["said"]
    outcome = launched(bench, "--name", "try", "--set", "training.learning_rate=0.5")
    assert outcome["run_id"] == "try-3"
    assert "try-2 has succeeded already: this is a new run" in outcome["said"]


def test_without_a_name_it_is_a_new_run_and_a_waiting_one_is_pointed_out(bench: Bench) -> None:
    bench.recipe()
    first = launched(bench, plan={"1": ["stop", 5]})["run_id"]
    outcome = launched(bench)
    assert outcome["run_id"] != first
    assert f"`runner resume {first}` continues it" in outcome["said"]


# -- detached ----------------------------------------------------------------------------------------------------


def test_a_detached_run_goes_on_by_itself(bench: Bench) -> None:
    bench.recipe()
    done = bench.runner("launch", "small.yaml", "--detach", plan={"pace": 0.1, "1": ["kill", 5]})
    assert done.returncode == 0, done
    run_id = done.stdout.strip()
    assert run_id == ids(bench)[0]
    supervisor = lock_holder(state_folder(bench.store.url, run_id))
    assert supervisor
    assert json.loads(bench.store.get(f"runs/{run_id}/submission.json"))["pid"] == supervisor
    waited = bench.runner("wait", run_id, "--json")
    assert waited.returncode == 0
    assert json.loads(waited.stdout)["state"] == "succeeded"
    assert run_status(bench.store, run_id).attempts == 2
    wait_until(lambda: gone(supervisor))


def test_a_detached_run_that_cannot_begin_says_why(bench: Bench) -> None:
    bench.recipe()
    done = bench.runner("launch", "small.yaml", "--detach", plan={"*": ["crash", 0]})
    assert done.returncode == 2
    assert "no attempt began" in done.stderr
    assert "exited with 1" in done.stderr


def test_a_running_run_is_neither_resumed_nor_launched_again(bench: Bench) -> None:
    bench.recipe()
    bench.runner("launch", "small.yaml", "--detach", "--name", "try", plan={"1": ["hang", 2]})
    supervisor = lock_holder(state_folder(bench.store.url, "try"))
    again = bench.runner("resume", "try")
    assert again.returncode == 2
    assert f"supervised by process {supervisor}" in again.stderr
    again = bench.runner("launch", "small.yaml", "--name", "try")
    assert again.returncode == 2
    assert "runner logs -f try" in again.stderr
    cancelled = bench.runner("cancel", "try", "--json")
    assert cancelled.returncode == 0, cancelled
    assert json.loads(cancelled.stdout)["state"] == "cancelled"


def test_a_run_that_lives_elsewhere_is_not_resumed(bench: Bench) -> None:
    bench.submit("try")
    claim = {"token": "0001-aaaa", "number": 1, "host": "elsewhere", "boot_id": "b", "pid": 1}
    bench.store.create("runs/try/attempts/0001.json", json.dumps(claim).encode())
    done = bench.runner("resume", "try")
    assert done.returncode == 2
    assert "looks alive elsewhere: its last sign is" in done.stderr


def test_a_run_that_has_succeeded_is_not_resumed(bench: Bench) -> None:
    bench.submit("try")
    bench.supervise("try", {"1": ["finish", 3]})
    done = bench.runner("resume", "try")
    assert done.returncode == 2
    assert "an ended run stays as it is" in done.stderr


def test_ctrl_c_on_a_launch_leaves_a_run_that_can_be_resumed(bench: Bench) -> None:
    bench.recipe()
    process = bench.start_runner("launch", "small.yaml", "--name", "try", plan={"pace": 0.2})
    pids = bench.pids("try")
    wait_until(lambda: (run_status(bench.store, "try").step or 0) >= 3)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert all(map(gone, pids))
    assert "runner resume try  continue from step" in said
    assert re.search(r"try interrupted by Ctrl-C; saved at step \d", said), said
    assert "SIGTERM" not in said
    assert "Traceback" not in said
    assert bench.runner("resume", "try", "--detach").returncode == 0
    assert bench.runner("wait", "try").returncode == 0


def test_a_terminal_that_goes_away_lets_the_attempt_save(bench: Bench) -> None:
    """Closed windows, lost connections: SIGHUP, and standard error that can no longer be written to."""
    bench.recipe()
    ours, theirs = os.openpty()
    command = [sys.executable, "-c", CLI, "launch", "small.yaml", "--name", "try"]
    process = subprocess.Popen(
        command,
        env={**bench.environment, "STAND_IN": '{"pace": 0.2}', "TERM": "xterm"},
        cwd=bench.folder,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(theirs)
    pids = bench.pids("try")
    wait_until(lambda: (run_status(bench.store, "try").step or 0) >= 3)
    os.close(ours)
    process.wait(120)
    assert all(map(gone, pids))
    status = run_status(bench.store, "try")
    assert (status.state, status.reason) == ("interrupted", "told to stop")


def test_a_reader_that_leaves_does_not_stop_the_run(bench: Bench) -> None:
    bench.recipe()
    process = bench.start_runner("launch", "small.yaml", "--name", "try", plan={"pace": 0.1})
    bench.pids("try")
    assert process.stderr is not None
    process.stderr.close()
    process.wait(120)
    assert run_status(bench.store, "try").state == "succeeded"


def test_files_in_the_working_directory_are_not_taken_for_libraries(bench: Bench) -> None:
    bench.recipe()
    for name in ("datasets", "click", "runner", "json"):
        (bench.folder / f"{name}.py").write_text("raise SystemExit('the wrong file was imported')")
    command = [str(Path(sys.executable).with_name("runner")), "launch", "small.yaml", "--dry-run", "--json"]
    done = subprocess.run(command, env=bench.environment, cwd=bench.folder, capture_output=True, text=True)
    assert done.returncode == 0, done
    attempt = json.loads(done.stdout)["command"]
    done = subprocess.run(attempt, env=bench.environment, cwd=bench.folder, capture_output=True, text=True)
    assert done.returncode == 2
    assert "no run" in done.stderr
    assert "wrong file" not in done.stderr


# -- looking -----------------------------------------------------------------------------------------------------


@pytest.fixture
def finished(bench: Bench) -> Bench:
    bench.submit("try")
    assert bench.supervise("try", {"1": ["kill", 5]}).returncode == 0
    return bench


def test_ps_lists_what_programs_and_people_need(finished: Bench) -> None:
    (row,) = json.loads(finished.runner("ps", "--json").stdout)
    wanted = {"run_id", "recipe", "state", "infra", "accelerators", "step", "max_steps", "attempts", "created_at"}
    assert wanted <= row.keys()
    assert (row["run_id"], row["state"], row["step"], row["attempts"]) == ("try", "succeeded", 10, 2)
    header, line = finished.runner("ps").stdout.splitlines()
    titles = ["RUN", "STATE", "STEP", "EVAL LOSS", "AGE", "TOOK", "RECIPE", "WHERE", "ATTEMPTS"]
    assert re.split(r"\s{2,}", header.strip()) == titles
    assert line.split()[:3] == ["try", "succeeded", "10/10"]
    assert line.split()[-1] == "2"


def test_ps_says_that_there_is_no_such_store(bench: Bench) -> None:
    typo = bench.folder / "stoer"
    done = bench.runner("ps", "--store", str(typo))
    assert (done.returncode, done.stdout) == (0, "")
    assert f"there is no folder {typo}, and so there are no runs" in done.stderr
    assert not typo.exists()


def test_ps_shows_the_newest_and_all_active_runs_and_says_how_many_more(bench: Bench) -> None:
    for number in range(30):
        bench.submit(f"run-{number:02}", created_at=f"2026-01-{number + 1:02}T00:00:00+00:00")
        if number != 3:
            bench.store.create(f"runs/run-{number:02}/result.json", b'{"state": "succeeded"}')
    done = bench.runner("ps", "--json")
    shown = [row["run_id"] for row in json.loads(done.stdout)]
    assert shown == [f"run-{number:02}" for number in range(29, 9, -1)] + ["run-03"]
    assert "9 older runs have ended" in done.stderr
    assert len(json.loads(bench.runner("ps", "--all", "--json").stdout)) == 30


def test_an_empty_store_is_an_empty_list(bench: Bench) -> None:
    done = bench.runner("ps", "--json")
    assert (done.returncode, done.stdout) == (0, "[]\n")


def test_logs_are_those_of_all_attempts(finished: Bench) -> None:
    lines = finished.runner("logs", "try").stdout.splitlines()
    assert "warning: attempt 1 is a stand-in" in lines
    assert lines[-1] == "step 10"
    assert finished.runner("logs", "try", "--tail", "2").stdout == "step 9\nstep 10\n"


def test_following_logs_ends_with_the_run_and_misses_nothing(bench: Bench) -> None:
    bench.submit("try")
    supervisor = bench.start_supervisor("try", {"pace": 0.2})
    bench.pids("try")
    done = bench.runner("logs", "-f", "try")
    assert done.returncode == 0
    assert done.stdout == bench.runner("logs", "try").stdout
    assert [line for line in done.stdout.splitlines() if line.startswith("step")] == [
        f"step {step}" for step in range(1, 11)
    ]
    assert supervisor.wait(120) == 0


def test_metrics_are_one_record_a_step(finished: Bench) -> None:
    records = json.loads(finished.runner("metrics", "try", "--json").stdout)
    assert [(record["kind"], record["step"]) for record in records] == [("train", step) for step in range(1, 11)]
    table = finished.runner("metrics", "try").stdout.splitlines()
    assert table[0].split("  ")[0].strip() == "STEP"
    assert len(table) == 11
    rows = list(csv.DictReader(io.StringIO(finished.runner("metrics", "try", "--csv").stdout)))
    assert [float(row["loss"]) for row in rows] == [record["loss"] for record in records]


def test_the_last_metrics_are_shown_alone(finished: Bench) -> None:
    records = json.loads(finished.runner("metrics", "try", "--tail", "2", "--json").stdout)
    assert [record["step"] for record in records] == [9, 10]
    assert len(finished.runner("metrics", "try", "-n", "3").stdout.splitlines()) == 4
    assert finished.runner("metrics", "try", "-n", "0").stdout == ""
    assert len(json.loads(finished.runner("metrics", "try", "--tail", "99", "--json").stdout)) == 10


def test_metrics_are_followed_to_the_run_s_end(bench: Bench) -> None:
    bench.submit("try")
    supervisor = bench.start_supervisor("try", {"pace": 0.2})
    bench.pids("try")
    done = bench.runner("metrics", "-f", "try")
    assert done.returncode == 0, done
    header, *lines = done.stdout.splitlines()
    assert header.split()[:2] == ["STEP", "LOSS"]
    assert [int(line.split()[0]) for line in lines] == list(range(1, 11))
    assert supervisor.wait(120) == 0


def test_only_the_table_of_metrics_is_followed(finished: Bench) -> None:
    done = finished.runner("metrics", "-f", "--json", "try")
    assert done.returncode == 2
    assert "only the table and the plot can be followed" in done.stderr


def test_wait_exits_as_the_run_did(bench: Bench) -> None:
    for run_id, plan, code in (("good", {}, 0), ("bad", {"1": ["fail", 3]}, 1), ("open", {"1": ["stop", 3]}, 75)):
        bench.submit(run_id)
        bench.supervise(run_id, plan)
        done = bench.runner("wait", run_id, "--json")
        assert done.returncode == code
        result = run_result(bench.store, run_id)
        printed = json.loads(done.stdout)
        assert printed["run_id"] == run_id
        assert result is None or result.items() <= printed.items()


def test_wait_gives_up_when_time_is_up(bench: Bench) -> None:
    bench.submit("try")
    supervisor = bench.start_supervisor("try", {"1": ["hang", 2]})
    bench.pids("try")
    done = bench.runner("wait", "try", "--timeout", "0.5")
    assert done.returncode == 75
    assert "still running" in done.stderr
    supervisor.kill()


def test_pull_brings_results_home(finished: Bench) -> None:
    done = finished.runner("pull", "try", "out")
    assert done.returncode == 0, done
    assert (finished.folder / "out/artifacts/model/model.safetensors").exists()
    assert done.stdout.splitlines()[0] == "out/run.json"
    again = json.loads(finished.runner("pull", "try", "out", "--json").stdout)
    assert again["folder"] == "out"
    assert "artifacts/model/model.safetensors" in again["files"]
    finished.runner("pull", "try")
    assert (finished.folder / "try/run.json").exists()
    finished.submit("other")
    assert finished.runner("pull", "other", "out").returncode == 2


def test_cancel_ends_a_run_that_nobody_works_on(bench: Bench) -> None:
    bench.submit("try")
    assert bench.runner("cancel", "try").returncode == 0
    assert run_status(bench.store, "try").state == "cancelled"
    assert bench.runner("resume", "try").returncode == 2


def test_doctor_lists_findings_and_exits_by_them(bench: Bench) -> None:
    done = bench.runner("doctor", "--json")
    assert done.returncode == 0, done
    assert {"python", "torch", "store", "disk", "gpu", "HF_TOKEN"} <= {row["name"] for row in json.loads(done.stdout)}
    broken = bench.runner("doctor", "--store", "/proc/nowhere")
    assert broken.returncode == 1
    assert "MISSING" in broken.stdout


# -- shells ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_printed(bench: Bench, shell: str) -> None:
    done = bench.runner("completion", shell)
    assert done.returncode == 0
    assert f"_RUNNER_COMPLETE={shell}_complete" in done.stdout


@pytest.mark.parametrize(
    ("words", "number", "expected"),
    [
        ("runner la", 1, "launch"),
        ("runner logs la", 2, "last"),
        ("runner logs try", 2, "try-this"),
        ("runner launch sm", 2, "sma"),
    ],
)
def test_commands_runs_and_recipes_complete(bench: Bench, words: str, number: int, expected: str) -> None:
    bench.submit("try-this")
    (bench.folder / "jobs").mkdir()
    Path(bench.recipe()).rename(bench.folder / "jobs/small.yaml")
    environment = {"_RUNNER_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(number)}
    done = bench.runner(env=environment)
    assert f"plain,{expected}" in done.stdout
