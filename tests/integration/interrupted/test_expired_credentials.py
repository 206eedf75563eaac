"""Credentials that expire while a run trains: it stops with its newest state on the disk, and goes on from it."""

import os
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runner.recipe.recipe import Checkpoint
from runner.runs.attempts import attempts
from runner.runs.checkpoints.lineage import checkpoints
from runner.storage.open import open_store
from support.forked import Attempts
from support.runs import NEVER_EVALUATED, check_metrics, outcome, recipe, submit
from support.servers.faults import Answer, faulty
from support.servers.s3 import BUCKET, S3Server


def wait_until(process: Any, condition: Callable[[], bool]) -> None:
    """Wait for something that the attempt does, as long as it runs."""
    while not condition():
        assert process.is_alive(), "it has ended"
        time.sleep(0.05)


@pytest.mark.thorough
def test_a_run_whose_credentials_expire_stops_saves_here_and_goes_on_from_there(
    use_server: Callable[[str], S3Server], tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = use_server("moto")
    with faulty(server.port) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        environment = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
        forked = Attempts(f"s3://{BUCKET}/{tmp_path.name}", tmp_path, environment)
        store = open_store(forked.store_url)
        what = recipe(data, adapter=True, **NEVER_EVALUATED, max_steps=300)
        submit(store, "old", replace(what, checkpoint=Checkpoint(save_steps=4, durable_minutes=0.04)))
        process = forked.start("old", patience_seconds=1.0)
        wait_until(process, lambda: bool(checkpoints(store, "old")))
        proxy.inject(Answer(403, "ExpiredToken"))
        process.join(300)
        said = forked.log("old")
        assert process.exitcode == 75, said
        [(step, folder)] = re.findall(r"step (\d+) is saved on this machine only, in (\S+);", said)[:1]
        assert "no checkpoint has reached the store for" in said
        assert "HTTP 403 ExpiredToken" in said
        assert "Traceback" not in said
        assert {"runner_state.json", "adapter_model.safetensors"} <= {path.name for path in Path(folder).iterdir()}
        proxy.clear()
        durable = checkpoints(store, "old")[0].step
        assert int(step) > durable
        assert forked.run("old") == 0, forked.log("old")
        first, second = attempts(store, "old")
        assert (first.restored, second.restored and second.restored.step) == (None, int(step))
        assert not list(Path(folder).parent.iterdir()), "it is in the store"
        check_metrics(outcome(store, "old")["metrics"], steps=300)
