"""What is made of a trained model: merged, GGUF files that load and generate, and none of it twice."""

import json
import os
import signal
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from runner.control.results.pull import artifact_prefixes
from runner.recipe.recipe import Export, Recipe
from runner.runs.layout import run_key
from runner.runs.records import run_result
from runner.storage.commit import fetch
from runner.storage.open import open_store
from runner.storage.store import Store
from support.fakes.fake_hub_upload import OWNER, TOKEN, receiving_hub
from support.forked import Attempts, Moment, run_program
from support.runs import recipe, submit

EXPORTING = "runner.train.export.gguf:GgufMaker.make"
_PATIENCE = 900.0
"""Seconds; a run that converts starts several processes that import torch."""


def exporting(data: Path, *, adapter: bool, **export: Any) -> Recipe:
    """A few steps, and exports."""
    what = recipe(data, adapter=adapter, max_steps=4, load_best_model_at_end=False, early_stopping_patience=None)
    training = {key: value for key, value in what.training.items() if value is not None}
    return replace(what, training=training, export=Export(**export))


def keys(store: Store, run_id: str) -> dict[str, str]:
    result = run_result(store, run_id)
    assert result is not None
    assert result["state"] == "succeeded", result
    artifacts: dict[str, str] = result["artifacts"]
    return artifacts


def answer(file: Path, text: str, tokens: list[int]) -> dict[str, Any]:
    """What llama.cpp makes of a file, in a process of its own."""
    command = [sys.executable, "-m", "runner.train.export.llama_cpp", "answer", str(file)]
    questions = json.dumps([{"text": text, "tokens": tokens}])
    done = subprocess.run(command, input=questions, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    first: dict[str, Any] = json.loads(done.stdout)[0]
    return first


def check_gguf(store: Store, run_id: str, name: str, folder: Path) -> None:
    """The artifact holds one GGUF file, which loads here and generates."""
    fetch(store, artifact_prefixes(store, run_id, run_result(store, run_id))[f"gguf-{name}"], folder / name)
    files = [path for path in (folder / name).iterdir() if path.suffix == ".gguf"]
    assert [path.name for path in files] == [f"small-{name}.gguf"]
    assert struct.unpack("<4sI", files[0].read_bytes()[:8]) == (b"GGUF", 3)
    model = artifact_prefixes(store, run_id, run_result(store, run_id))["model"]
    fetch(store, model, folder / f"model-{name}")
    tokens = AutoTokenizer.from_pretrained(folder / f"model-{name}")("Return the")["input_ids"]
    said = answer(files[0], "Return the", tokens)
    assert said["tokens"] == tokens
    assert said["new_tokens"]
    ollama = (folder / name / "Modelfile").read_text()
    assert f"FROM ./{files[0].name}\n" in ollama
    assert '{{- "<|im_start|>assistant\\n" -}}' in ollama


def digests(store: Store, run_id: str) -> dict[str, str]:
    """The digest of each exported file, from the manifests."""
    found = {}
    for name, key in keys(store, run_id).items():
        manifest = json.loads(store.get(run_key(run_id, key + "manifest.json")))
        for file in manifest["files"]:
            found[f"{name}/{file['name']}"] = file["blake3"]
    return found


@pytest.fixture(scope="module")
def lora(forked: Attempts, data: Path) -> dict[str, str]:
    """How the exports of an adapter come out that nobody disturbs."""
    store = open_store(forked.store_url)
    submit(store, "lora", exporting(data, adapter=True, merge=True, gguf=("q4_k_m", "q8_0")))
    assert forked.run("lora", seconds=_PATIENCE) == 0, forked.log("lora")
    return digests(store, "lora")


def test_an_adapter_becomes_gguf_files_that_generate(lora: dict[str, str], forked: Attempts, tmp_path: Path) -> None:
    store = open_store(forked.store_url)
    assert list(keys(store, "lora")) == ["model", "merged", "gguf-q4_k_m", "gguf-q8_0"]
    for name in ("q4_k_m", "q8_0"):
        check_gguf(store, "lora", name, tmp_path)
    assert "14 of 20 tensor(s) required fallback quantization" in forked.log("lora"), "the small rows are told of"


@pytest.mark.thorough
@pytest.mark.parametrize(
    "moment",
    [
        Moment(EXPORTING, 2),
        Moment("runner.runs.artifacts:commit", 3, signal=signal.SIGTERM),
    ],
    ids=str,
)
def test_killed_while_exporting_nothing_is_made_twice(
    moment: Moment, lora: dict[str, str], forked: Attempts, data: Path
) -> None:
    """The second attempt takes over what the first has committed, and makes the rest; all of it is the same."""
    store = open_store(forked.store_url)
    run_id = f"killed-{str(moment).lower().replace('_', '-')}"
    submit(store, run_id, exporting(data, adapter=True, merge=True, gguf=("q4_k_m", "q8_0")))
    assert forked.run(run_id, moment, seconds=_PATIENCE) == 75
    assert forked.run(run_id, seconds=_PATIENCE) == 0, forked.log(run_id)
    assert digests(store, run_id) == lora
    made = [key.split("/")[2][:4] for key in keys(store, run_id).values()]
    assert made[:2] == ["0001", "0001"], "model and merged are the first attempt's"
    assert made[2:] == (["0001", "0002"] if moment.target == EXPORTING else ["0002", "0002"])
    committed = [entry.key for entry in store.objects(run_key(run_id, "artifacts/")) if "manifest" in entry.key]
    assert len(committed) == 4, "and none stands there twice"


@pytest.mark.thorough
def test_a_full_fine_tuning_is_exported_afterwards(forked: Attempts, data: Path, tmp_path: Path) -> None:
    """`runner export` makes what is missing, pull finds it, the result stays as it is, and nothing is made twice."""
    store = open_store(forked.store_url)
    submit(store, "full", exporting(data, adapter=False))
    assert forked.run("full", seconds=_PATIENCE) == 0, forked.log("full")
    before = store.get(run_key("full", "result.json"))
    first = runner_export(forked, "full", "--gguf", "Q4_K_M")
    assert first.returncode == 0, first.stderr
    made = json.loads(first.stdout)["artifacts"]
    assert list(made) == ["gguf-q4_k_m"]
    check_gguf(store, "full", "q4_k_m", tmp_path)
    again = run_export(forked.store_url, "full", tmp_path / "again", gguf=["q4_k_m"])
    assert json.loads(again.stdout) == {"gguf-q4_k_m": made["gguf-q4_k_m"]}
    assert "exporting: GGUF" in first.stderr
    assert store.get(run_key("full", "result.json")) == before
    merge = runner_export(forked, "full", "--merge")
    assert merge.returncode == 2
    assert "there is no adapter to merge" in merge.stderr
    assert "Traceback" not in merge.stderr


def run_export(
    store_url: str, run_id: str, work_dir: Path, environment: dict[str, str] | None = None, **wanted: Any
) -> "subprocess.CompletedProcess[str]":
    """What `runner export` starts, without the start."""
    nothing = {"merge": False, "base": None, "gguf": [], "push_to_hub": False, "hub_model_id": None}
    export = json.dumps({**nothing, "hub_private_repo": None, **wanted})
    command = ("--store", store_url, "--run", run_id, "--work-dir", str(work_dir), "--export", export)
    return run_program("runner.train.run_export", *command, environment=environment)


def runner_export(forked: Attempts, run_id: str, *options: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "runner", "export", run_id, *options, "--json", "--store", forked.store_url]
    folders = {name: str(forked.folder / "xdg" / name) for name in ("XDG_STATE_HOME", "XDG_CACHE_HOME")}
    return subprocess.run(command, capture_output=True, text=True, timeout=900, env={**os.environ, **folders})


def test_a_run_is_pushed_at_its_end_and_once(tmp_path: Path) -> None:
    """From `runner launch` to a hub that takes it; `runner export` finds that it stands there."""
    what = tmp_path / "pushed.yaml"
    what.write_text(
        "method: sft\n"
        'model: {model_name_or_path: "builtin:tiny-llama"}\n'
        'data: {train: [{path: "builtin:python-docstrings", sample: 8}]}\n'
        "adapter: {r: 2}\n"
        "training: {max_steps: 1, effective_batch_size: 1, max_length: 16}\n"
        "export: {push_to_hub: true, hub_private_repo: true}\n"
    )
    folders = {name: str(tmp_path / name) for name in ("XDG_STATE_HOME", "XDG_CACHE_HOME", "HOME")}
    with receiving_hub() as hub:
        # hf_xet would speak a protocol of its own to another server than the hub.
        given = {"HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1", "HF_TOKEN": TOKEN}
        environment = {**os.environ, **folders, **given, "RUNNER_STORE": str(tmp_path / "store")}

        def runner(*arguments: str) -> "subprocess.CompletedProcess[str]":
            command = [sys.executable, "-m", "runner", *arguments]
            return subprocess.run(command, capture_output=True, text=True, timeout=900, env=environment)

        done = runner("launch", str(what), "--name=one")
        assert done.returncode == 0, done.stderr
        repository = hub.repositories[f"{OWNER}/pushed"]
        assert repository.private
        assert repository.commits == ["Trained by runner as one"]
        assert {"README.md", "adapter_model.safetensors", "tokenizer.json"} <= set(repository.files)
        assert b"run: one" in repository.files["README.md"]
        for name in ("pushed", "elsewhere", "elsewhere"):
            again = runner("export", "one", "--push-to-hub", f"{OWNER}/{name}", "--private", "--secret", "HF_TOKEN")
            assert again.returncode == 0, again.stderr
            assert TOKEN not in again.stdout + again.stderr
        assert len(hub.repositories[f"{OWNER}/pushed"].commits) == 1, "it stands there already"
        elsewhere = hub.repositories[f"{OWNER}/elsewhere"]
        assert len(elsewhere.commits) == 1
        assert elsewhere.private
        assert elsewhere.files["adapter_model.safetensors"] == repository.files["adapter_model.safetensors"]
    written = [path for path in (tmp_path / "store").rglob("*") if path.is_file()]
    records = [json.loads(path.read_text())["repo_id"] for path in written if path.name == "hub.json"]
    assert sorted(records) == [f"{OWNER}/elsewhere", f"{OWNER}/pushed"]
    assert not any(TOKEN.encode() in path.read_bytes() for path in written), "the token is written nowhere"
    assert TOKEN not in done.stdout + done.stderr
