"""A Space's `app.py`, started as it stands in its folder, answers."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.browser

RECIPE = """\
method: sft
model: {model_name_or_path: "builtin:tiny-llama"}
data: {train: [{path: rows.jsonl}]}
adapter: {r: 4, target_modules: all-linear}
training: {max_steps: 1, effective_batch_size: 2, max_length: 32}
"""
ROW = '{"messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Good day"}]}\n'


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_the_app_of_a_space_answers_on_loopback(tmp_path: Path) -> None:
    from gradio_client import Client  # type: ignore[import-not-found] # in an environment of its own

    (tmp_path / "tiny.yaml").write_text(RECIPE)
    (tmp_path / "rows.jsonl").write_text(ROW * 4)
    environment = {**os.environ, "RUNNER_STORE": str(tmp_path / "store"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    environment |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "GRADIO_ANALYTICS_ENABLED": "False"}
    command = [sys.executable, "-m", "runner"]
    subprocess.run([*command, "launch", "tiny.yaml"], cwd=tmp_path, env=environment, check=True, timeout=600)
    export = [*command, "export", "last", "--space", "me/talk", "--out", "space"]
    refused = subprocess.run(export, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
    assert refused.returncode == 2
    assert "its base is not on the hub" in refused.stderr
    assert not (tmp_path / "space").exists()
    subprocess.run([*export, "--merge"], cwd=tmp_path, env=environment, check=True, timeout=600)
    with subprocess.Popen(
        [sys.executable, "-u", "app.py"],
        cwd=tmp_path / "space",
        env={**environment, "GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_SERVER_PORT": str(free_port())},
        stdout=subprocess.PIPE,
        text=True,
    ) as app:
        try:
            assert app.stdout is not None
            line = next(line for line in app.stdout if "http://127.0.0.1:" in line)
            found = re.search(r"http://127\.0\.0\.1:\d+", line)
            assert found is not None
            answers = {Client(found[0], verbose=False).predict("Hello", 0, 8, api_name="/chat") for _ in range(2)}
            assert len(answers) == 1, "greedily, twice the same"
            assert answers.pop()
        finally:
            app.terminate()
