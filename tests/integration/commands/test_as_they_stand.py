"""What comes back loads as it stands, by the libraries of the field, and says the same; and a Space is made of it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from peft import AutoPeftModelForCausalLM, PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from support.fakes.fake_hub_upload import OWNER, TOKEN, Hub, receiving_hub

RECIPE = """\
method: sft
model: {model_name_or_path: "builtin:tiny-llama"}
data: {train: [{path: "builtin:python-docstrings", sample: 16}], eval: {from_train: 0.2}}
adapter: {r: 4, init_lora_weights: gaussian, target_modules: all-linear}
training: {max_steps: 4, effective_batch_size: 2, max_length: 32, learning_rate: 2.0e-2}
evaluate: {before_and_after: true, prompts: ["Return the"], max_new_tokens: 6}
export: {merge: true, gguf: [f32]}
"""
Runner = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with receiving_hub() as hub:
        yield hub


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory, hub: Hub) -> Runner:
    """The command line with one run, `one`, in a store of its own."""
    folder = tmp_path_factory.mktemp("stand")
    (folder / "small.yaml").write_text(RECIPE)
    # hf_xet would speak a protocol of its own to another server than the hub.
    environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1", "OMP_NUM_THREADS": "1"}
    environment |= {name: str(folder / name) for name in ("XDG_STATE_HOME", "XDG_CACHE_HOME", "HOME")}
    environment["RUNNER_STORE"] = str(folder / "store")
    environment.pop("HF_TOKEN", None)

    def run(*arguments: str, token: str | None = None) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "runner", *arguments]
        given = {} if token is None else {"HF_TOKEN": token}
        return subprocess.run(
            command, capture_output=True, text=True, timeout=600, env={**environment, **given}, cwd=folder
        )

    done = run("launch", "small.yaml", "--name=one")
    assert done.returncode == 0, done.stderr
    return run


@pytest.fixture(scope="module")
def pulled(runner: Runner, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pulled") / "one"
    done = runner("pull", "one", str(folder))
    assert done.returncode == 0, done.stderr
    return folder


def logits(model: Any, tokens: Any) -> torch.Tensor:
    with torch.no_grad():
        return torch.as_tensor(model.eval()(**tokens).logits[0])


def test_peft_transformers_and_llama_cpp_say_what_the_runs_own_evaluation_said(pulled: Path) -> None:
    """Logits are the same; greedy answers are those of `result.json`, token by token."""
    folders = {name: pulled / "artifacts" / name for name in ("model", "merged", "gguf-f32")}
    tokenizer = AutoTokenizer.from_pretrained(folders["model"])
    tokens = tokenizer("Return the", return_tensors="pt")
    tokens.pop("token_type_ids", None)
    by_itself = AutoPeftModelForCausalLM.from_pretrained(folders["model"])
    base_name = json.loads((folders["model"] / "adapter_config.json").read_text())["base_model_name_or_path"]
    base = AutoModelForCausalLM.from_pretrained(base_name)
    plain = logits(base, tokens)
    on_base = PeftModel.from_pretrained(base, str(folders["model"]))
    merged = AutoModelForCausalLM.from_pretrained(folders["merged"])
    expected = logits(on_base, tokens)
    assert not torch.allclose(expected, plain, atol=1e-2), "the adapter has learned something"
    torch.testing.assert_close(logits(by_itself, tokens), expected)
    torch.testing.assert_close(logits(merged, tokens), expected, atol=1e-3, rtol=1e-3)

    greedy = merged.generate(**tokens, do_sample=False, max_new_tokens=6)[0, tokens["input_ids"].shape[1] :].tolist()
    adapted = on_base.generate(**tokens, do_sample=False, max_new_tokens=6)[0, tokens["input_ids"].shape[1] :].tolist()
    assert adapted == greedy
    (file,) = folders["gguf-f32"].glob("*.gguf")
    assert f"FROM ./{file.name}" in (folders["gguf-f32"] / "Modelfile").read_text()
    question = json.dumps([{"text": "Return the", "tokens": tokens["input_ids"][0].tolist()}])
    command = [sys.executable, "-m", "runner.train.export.llama_cpp", "answer", str(file)]
    done = subprocess.run(command, input=question, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)[0]["new_tokens"][:6]
    assert said == greedy[: len(said)]
    (completion,) = json.loads((pulled / "result.json").read_text())["generations"]
    assert completion["prompt"] == "Return the"
    assert tokenizer.decode(greedy, skip_special_tokens=True) == completion["after"]


def test_a_space_is_written_without_a_network_and_without_a_token(runner: Runner, tmp_path: Path) -> None:
    folder = tmp_path / "space"
    done = runner("export", "one", "--space", f"{OWNER}/talk", "--out", str(folder), token=TOKEN)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "app.py",
        "model",
        "requirements.txt",
        "space.json",
    ]
    head = yaml.safe_load((folder / "README.md").read_text().split("---")[1])
    assert (head["sdk"], head["app_file"], head["title"]) == ("gradio", "app.py", "talk")
    assert head["sdk_version"].count(".") == 2
    requirements = (folder / "requirements.txt").read_text().split()
    assert all("==" in line and "+" not in line for line in requirements), requirements
    assert not any(line.startswith("peft==") for line in requirements), "the model is merged"
    settings = json.loads((folder / "space.json").read_text())
    assert settings == {"model": "model", "revision": None, "title": "talk", "plain": True}
    AutoModelForCausalLM.from_pretrained(folder / "model")
    assert not any(TOKEN.encode() in path.read_bytes() for path in folder.rglob("*") if path.is_file())
    again = runner("export", "one", "--space", f"{OWNER}/talk", "--out", str(folder))
    assert again.returncode == 2
    assert "is not an empty folder" in again.stderr


@pytest.mark.thorough
def test_a_space_is_uploaded_private_and_never_into_a_public_one_unasked(runner: Runner, hub: Hub) -> None:
    refused = runner("export", "one", "--space", f"{OWNER}/talk")
    assert refused.returncode == 2
    assert "uploading a Space needs a token that may write" in refused.stderr
    assert f"{OWNER}/talk" not in hub.repositories
    done = runner("export", "one", "--space", f"{OWNER}/talk", "--secret", "HF_TOKEN", token=TOKEN)
    assert done.returncode == 0, done.stderr
    assert f"{hub.url}/spaces/{OWNER}/talk" in done.stderr
    space = hub.repositories[f"{OWNER}/talk"]
    assert (space.kind, space.sdk, space.private) == ("space", "gradio", True)
    assert space.commits == ["Made by runner of one"]
    assert {"README.md", "app.py", "requirements.txt", "space.json", "model/config.json"} <= set(space.files)
    assert not any(TOKEN.encode() in content for content in space.files.values())
    space.private = False
    public = runner("export", "one", "--space", f"{OWNER}/talk", "--secret", "HF_TOKEN", token=TOKEN)
    assert public.returncode == 2
    assert "is public, and would publish the model" in public.stderr
    assert len(space.commits) == 1


@pytest.mark.thorough
def test_a_space_of_a_pushed_model_names_it_at_its_commit(runner: Runner, hub: Hub, tmp_path: Path) -> None:
    pushed = runner("export", "one", "--merge", "--push-to-hub", f"{OWNER}/m", "--secret", "HF_TOKEN", token=TOKEN)
    assert pushed.returncode == 0, pushed.stderr
    options = ("--merge", "--push-to-hub", f"{OWNER}/m", "--secret", "HF_TOKEN", "--space", "talk")
    done = runner("export", "one", *options, "--out", str(tmp_path / "s"), token=TOKEN)
    assert done.returncode == 0, done.stderr
    settings = json.loads((tmp_path / "s/space.json").read_text())
    assert (settings["model"], settings["revision"]) == (f"{OWNER}/m", f"{1:040}")
    assert not (tmp_path / "s/model").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--space", "a/b/c"), "cannot be a Space's name"),
        (("--out", "x"), "nothing to export"),
        (("--merge", "--out", "x"), "there are no files to write without --space"),
        (("--space", "a/b", "--out", "x", "--public"), "there is no repository without"),
    ],
)
def test_what_makes_no_space_is_one_message(options: tuple[str, ...], said: str, runner: Runner) -> None:
    done = runner("export", "one", *options)
    assert done.returncode == 2, done
    assert said in done.stderr
