"""What is pushed to the hub: all files in one commit, a card that says how they were made, and no token anywhere."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from runner.train.export.model_card import model_card
from support.fakes.fake_hub_upload import TOKEN, Hub, receiving_hub

RUN = {
    "run_id": "small-1",
    "name": "small",
    "runner_version": "0.1.0",
    "git_revision": "abc123",
    "created_at": "2026-01-01T00:00:00+00:00",
    "image": None,
    "recipe": {
        "name": "small",
        "method": "sft",
        "model": {"model_name_or_path": "HuggingFaceTB/SmolLM2-135M-Instruct", "load_in_4bit": True},
        "adapter": {"r": 16},
        "data": {"train": [{"path": "mlabonne/FineTome-100k"}, {"path": "inputs/0123/secret-plans.jsonl"}]},
        "training": {"learning_rate": 2e-4, "max_steps": 60},
    },
}
RESULT = {"step": 60, "max_steps": 60, "before": {"eval_loss": 2.5}, "after": {"eval_loss": 1.25, "perplexity": 3.49}}

PUSH = """
import json, sys
from pathlib import Path
from runner.recipe.recipe import Export
from runner.train.export.hub_push import check_hub, push
export, folders, folder, run, result = json.loads(sys.argv[1])
export = Export(**export)
check_hub(export, name=run["name"])
print(json.dumps(push(export, map(Path, folders), Path(folder), run=run, result=result)))
"""


@pytest.fixture
def hub() -> Any:
    with receiving_hub() as hub:
        yield hub


def pushed(hub: Hub, folder: Path, *, token: str | None = TOKEN, **export: Any) -> "subprocess.CompletedProcess[str]":
    """A push from a process of its own, since huggingface_hub reads the hub's address once."""
    (folder / "model").mkdir()
    (folder / "gguf").mkdir()
    (folder / "model" / "adapter_config.json").write_text("{}")
    (folder / "model" / "adapter_model.safetensors").write_bytes(b"weights" * 1000)
    (folder / "model" / "README.md").write_text("a card that nobody asked for")
    (folder / "gguf" / "small-q4_k_m.gguf").write_bytes(b"GGUF" * 1000)
    what = [{"push_to_hub": True, **export}, [str(folder / "model"), str(folder / "gguf")]]
    arguments = json.dumps([*what, str(folder / "upload"), RUN, RESULT])
    # hf_xet would speak a protocol of its own to another server than the hub.
    environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(folder / "home")}
    environment.pop("HF_TOKEN", None)
    environment |= {} if token is None else {"HF_TOKEN": token}
    return subprocess.run(
        [sys.executable, "-c", PUSH, arguments], capture_output=True, text=True, timeout=120, env=environment
    )


def test_everything_arrives_in_one_commit(hub: Hub, tmp_path: Path) -> None:
    done = pushed(hub, tmp_path, hub_model_id="tester/small", hub_private_repo=True)
    assert done.returncode == 0, done.stderr
    repository = hub.repositories["tester/small"]
    assert repository.private
    assert repository.commits == ["Trained by runner as small-1"]
    assert sorted(repository.files) == [
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "small-q4_k_m.gguf",
    ]
    assert repository.files["small-q4_k_m.gguf"] == b"GGUF" * 1000
    assert hub.large_files == {"adapter_model.safetensors", "small-q4_k_m.gguf"}
    told = json.loads(done.stdout.splitlines()[-1])
    assert told == {"repo_id": "tester/small", "url": f"{hub.url}/tester/small", "commit": f"{1:040}", "private": True}
    everything = done.stdout + done.stderr + "".join(map(repr, repository.files.values()))
    assert TOKEN not in everything


def test_without_a_name_the_repository_is_called_like_the_recipe(hub: Hub, tmp_path: Path) -> None:
    assert pushed(hub, tmp_path).returncode == 0
    assert list(hub.repositories) == ["tester/small"]
    assert not hub.repositories["tester/small"].private


@pytest.mark.parametrize(
    ("token", "model_id", "said"),
    [
        (None, "tester/small", "pushing to the hub needs a token that may write"),
        ("hf_wrong", "tester/small", "does not let this token write to tester/small"),
        (TOKEN, "somebody-else/small", "does not let this token write to somebody-else/small"),
    ],
)
def test_a_token_that_may_not_write_is_one_message(
    token: str | None, model_id: str, said: str, hub: Hub, tmp_path: Path
) -> None:
    done = pushed(hub, tmp_path, token=token, hub_model_id=model_id)
    assert "runner.errors.UserError" in done.stderr
    assert said in done.stderr
    assert token is None or token not in done.stderr
    assert hub.repositories == {}


def test_the_card_says_how_the_model_was_made() -> None:
    files = ["adapter_config.json", "adapter_model.safetensors", "small-q4_k_m.gguf"]
    card = model_card("me/small", run=RUN, result=RESULT, files=files)
    _, head, body = card.split("---", 2)
    data = yaml.safe_load(head)
    assert data["base_model"] == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert data["datasets"] == ["mlabonne/FineTome-100k"]
    assert data["library_name"] == "peft"
    assert {"runner", "trl", "sft", "lora", "gguf"} == set(data["tags"])
    values = {metric["type"]: metric["value"] for metric in data["model-index"][0]["results"][0]["metrics"]}
    assert values == {"eval_loss": 1.25, "perplexity": 3.49}
    for words in (
        "supervised fine-tuning",
        "| learning_rate | `0.0002` |",
        "| adapter.r | `16` |",
        "| eval_loss | 2.5 | 1.25 |",
        "runner: 0.1.0",
        "revision: abc123",
        "steps: 60 of 60",
        'from_pretrained("me/small")',
        "--hf-file small-q4_k_m.gguf",
        "`own data`",
    ):
        assert words in body, words
    assert "secret-plans" not in card
