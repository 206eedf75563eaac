"""A dataset on the hub that has changed makes a new run, and nothing else does."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.control.ci.pins import pin_data
from runner.errors import UserError
from support.fakes.fake_hub import Hub, hub

RECIPE = """
name: x
method: sft
model: {model_name_or_path: "builtin:tiny-llama"}
data:
  train:
    - {path: someone/there, template: {text: "{question}"}}
    - {path: texts.jsonl}
    - {path: someone/without-readme, name: en, revision: v2, format: text}
  eval: [{path: someone/there, revision: REVISION, template: {text: "{question}"}}]
training: {max_steps: 2}
evaluate: {before_and_after: true}
"""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    (tmp_path / "x.yaml").write_text(RECIPE.replace("REVISION", "c" * 40))
    (tmp_path / "texts.jsonl").write_text('{"text": "a"}\n')
    with hub() as running:
        running.commit = "a" * 40
        monkeypatch.setenv("HF_ENDPOINT", running.endpoint)
        yield running


def test_every_dataset_that_is_not_at_a_commit_is_pinned_to_where_it_is(server: Hub, tmp_path: Path) -> None:
    said: list[str] = []
    pins = pin_data("x.yaml", [], cwd=tmp_path, say=said.append)
    assert pins == [f"data.train.0.revision={'a' * 40}", f"data.train.2.revision={'a' * 40}"]
    assert said[0] == f"someone/there is at {'a' * 40}"
    server.commit = "b" * 40
    assert pin_data("x.yaml", [f"data.train.0.revision={'d' * 40}"], cwd=tmp_path, say=said.append) == [
        f"data.train.2.revision={'b' * 40}"
    ]


def test_a_hub_that_does_not_say_launches_nothing(server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.commit = None
    with pytest.raises(UserError, match="no commit is known of main"):
        pin_data("x.yaml", [], cwd=tmp_path, say=lambda text: None)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UserError, match="does not say where someone/there is"):
        pin_data("x.yaml", [], cwd=tmp_path, say=lambda text: None)
