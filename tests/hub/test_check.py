"""What a recipe names on the hub is looked for before anything is launched."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.hub.check import ask_hub, run_token
from runner.recipe.problems import dotted_path
from runner.recipe.recipe import Data, DataSource, Export, Recipe
from support.fakes.fake_hub import GOOD_TOKEN, Hub, hub

THERE = DataSource(path="someone/there", template={"text": "{question}"})


def recipe(*train: DataSource, model: str = "someone/there", **more: Any) -> Recipe:
    return Recipe(name="t", method="sft", model={"model_name_or_path": model}, data=Data(train=train), **more)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with hub() as running:
        yield running


def look(server: Hub, what: Recipe, *, token: str | None = None, **environment: str) -> dict[str, str]:
    """The problems, by the settings that they are of."""
    addresses = {"HF_ENDPOINT": server.endpoint, "HF_DATASETS_SERVER": server.endpoint, **environment}
    verdict = ask_hub(what, token=token, environment=addresses)
    return {dotted_path(problem.path): f"{problem.what}; {problem.remedy}" for problem in verdict.problems}


def test_what_is_there_is_found_and_not_asked_for_again_for_a_while(server: Hub) -> None:
    what = recipe(THERE, DataSource(path="someone/renamed", revision="v2"), export=Export(base="someone/renamed"))
    assert look(server, what) == {}
    heads = [path for path in server.asked if "/resolve/" in path]
    assert sorted(heads) == [
        "/datasets/someone/renamed/resolve/v2/README.md",
        "/datasets/someone/there/resolve/main/README.md",
        "/datasets/someone/there/resolve/v2/README.md",  # where the hub sends on to
        "/someone/renamed/resolve/main/config.json",
        "/someone/there/resolve/main/config.json",
        "/someone/there/resolve/main/config.json",
    ]
    assert look(server, what) == {}
    assert [path for path in server.asked if "/resolve/" in path] == heads


def test_what_cannot_be_had_is_said_with_what_to_do(server: Hub) -> None:
    sources = [DataSource(path=f"someone/{name}") for name in ("missing", "gated")]
    found = look(server, recipe(*sources, DataSource(path="someone/unpinned", revision="v9"), model="someone/gated"))
    assert list(found) == [
        "model.model_name_or_path",
        "data.train.0.path",
        "data.train.1.path",
        "data.train.2.revision",
    ]
    model, missing, gated, unpinned = found.values()
    assert "someone/gated is gated, and there is no HF_TOKEN; accept its terms at https://hugg" in model
    assert "--secret HF_TOKEN" in model
    assert "there is no dataset someone/missing on the hub, or it is private" in missing
    assert "https://huggingface.co/datasets/someone/gated" in gated
    assert "no revision `v9`" in unpinned


def test_a_token_opens_what_is_gated_or_is_said_to_be_no_good(server: Hub) -> None:
    assert look(server, recipe(model="someone/gated"), token=GOOD_TOKEN) == {}
    [refused] = look(server, recipe(model="someone/gated"), token="hf_bad").values()
    assert "does not accept the HF_TOKEN" in refused
    assert "hf_bad" not in refused
    [closed] = look(server, recipe(model="someone/gated")).values()
    assert "there is no HF_TOKEN" in closed, "what was found with a token is not taken for found without"


@pytest.mark.parametrize(
    ("source", "setting", "words"),
    [
        (DataSource(path="someone/there", filter={"x": 1}), "data.train.0.filter", "no field `x`"),
        (
            DataSource(path="someone/there", template={"text": "{problem}"}),
            "data.train.0.template",
            "has no field `problem`; its fields: question, solution, lang",
        ),
        (
            DataSource(path="someone/there", think={"prompt": "{question}", "reasoning": "{thoughts}"}),
            "data.train.0.think",
            "no field `thoughts`",
        ),
        (
            DataSource(path="someone/there", filter={"split": "train"}, template={"text": "{question}"}),
            "data.train.0.filter",
            "no field `split`",
        ),
        (DataSource(path="someone/there", split="dev[:10]"), "data.train.0.split", "there is: train, test"),
        (
            DataSource(path="someone/there", name="en"),
            "data.train.0.name",
            "configuration `en`; write one of: default",
        ),
        (
            DataSource(path="someone/without-readme"),
            "data.train.0.name",
            "configurations; write one of: en, de",
        ),
        (DataSource(path="someone/renamed"), "data.train.0.path", "has no rows"),
    ],
)
def test_a_row_is_looked_at_like_that_of_a_file(server: Hub, source: DataSource, setting: str, words: str) -> None:
    found = look(server, recipe(source))
    assert list(found) == [setting]
    assert words in found[setting]


@pytest.mark.parametrize(
    "source",
    [
        THERE,
        DataSource(
            path="someone/there", split="train[:10%]+test", think={"prompt": "{question}", "reasoning": "{solution}"}
        ),
        DataSource(path="someone/without-readme", name="de"),
    ],
)
def test_rows_that_fit_are_no_problem(server: Hub, source: DataSource) -> None:
    assert look(server, recipe(source)) == {}


def test_stages_are_looked_at_one_by_one(server: Hub) -> None:
    first = recipe(THERE, stage="first")
    second = recipe(DataSource(path="someone/missing"), stage="second")
    what = recipe(THERE, stages=(first, second))
    assert list(look(server, what)) == ["stages.1.data.train.0.path"]


def test_a_hub_in_trouble_or_out_of_reach_is_no_mistake_of_the_recipes(server: Hub) -> None:
    assert look(server, recipe(model="someone/broken")) == {}
    with socket.create_server(("127.0.0.1", 0)) as deaf:  # takes the connection, and never answers
        address = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        verdict = ask_hub(recipe(THERE), token=None, environment={"HF_ENDPOINT": address})
    assert verdict.problems == ()
    assert verdict.silence is not None
    assert "so these were not checked: someone/there" in verdict.silence


def test_offline_and_for_what_is_here_nothing_is_asked(server: Hub, tmp_path: Path) -> None:
    assert look(server, recipe(THERE), HF_HUB_OFFLINE="1") == {}
    local = DataSource(path=str(tmp_path / "rows.jsonl"))
    assert look(server, recipe(local, DataSource(path="builtin:arithmetic"), model="builtin:tiny-llama")) == {}
    assert server.asked == []


def test_the_token_is_the_one_that_the_run_will_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_here")
    assert run_token({"HF_TOKEN": "hf_given"}, here=False) == "hf_given"
    assert run_token({"HF_TOKEN": ""}, here=True) is None
    assert run_token({}, here=False) is None
    assert run_token({}, here=True) == "hf_here"


@pytest.mark.parametrize(("stored", "token"), [("hf_kept\n", "hf_kept"), (None, None)])
def test_the_token_of_a_login_is_found_where_the_hubs_library_keeps_it(
    tmp_path: Path, stored: str | None, token: str | None
) -> None:
    if stored is not None:
        (tmp_path / "token").write_text(stored)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    code = "from runner.hub.check import run_token; print(run_token({}, here=True))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, env={**environment, "HF_HOME": str(tmp_path)}, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(token)


def test_what_no_repository_is_called_is_not_on_the_hub(server: Hub) -> None:
    """The hub's own library knows the names; nothing is asked for."""
    [said] = look(server, recipe(model="some one/what?")).values()
    assert "there is no model some one/what? on the hub" in said
    assert server.asked == []
