"""`notify:` from the command line to a webhook on loopback: a real launch, and a real sweep."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.fakes.fake_webhook import SECRET_PATH, FakeWebhook, fake_webhook
from support.references import shared_folder
from support.sweeping.small import RECIPE, Place, ended

NOTIFIED: dict[str, Any] = {**RECIPE, "notify": [{"secret": "TEAM_HOOK"}]}
SHORT: dict[str, Any] = {**NOTIFIED, "training": {**RECIPE["training"], "max_steps": 4}}


@pytest.fixture
def webhook() -> Iterator[FakeWebhook]:
    with fake_webhook() as listening:
        yield listening


@pytest.fixture
def place(data: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    made = Place(tmp_path / "home", data, str(tmp_path / "store"), shared_folder(tmp_path_factory) / "sweep-cache")
    yield made
    made.close()


def everything(folder: Path) -> bytes:
    """All that is written, but the file that the URL was given in."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "hook.env"]
    return b"".join(path.read_bytes() for path in files)


def test_a_launch_needs_the_url_and_the_run_tells_its_end(place: Place, webhook: FakeWebhook, tmp_path: Path) -> None:
    place.write(recipe=SHORT)
    said = place.run("launch", "./small.yaml", "--name", "try", code=2)
    assert "TEAM_HOOK is not set" in said
    assert "--set notify=[]" in said
    Path(place.folder, "hook.env").write_text(f"TEAM_HOOK={webhook.url}\n")
    ended(place.start("launch", "./small.yaml", "--name", "try", "--env-file", "hook.env"))
    [body] = webhook.bodies
    assert (body["state"], body["run_id"], body["recipe"], body["step"]) == ("succeeded", "try", "small", 4)
    assert body["loss"] > 0
    assert Path(SECRET_PATH).name.encode() not in everything(tmp_path)


@pytest.mark.thorough
def test_a_sweep_tells_its_end_and_nothing_of_its_trials(place: Place, webhook: FakeWebhook, tmp_path: Path) -> None:
    place.write(recipe=NOTIFIED, run_cap=2, runner={"parallel": 2})
    Path(place.folder, "hook.env").write_text(f"TEAM_HOOK={webhook.url}\n")
    ended(place.start("sweep", "launch", "./sweep.yaml", "--name", "pair", "--env-file", "hook.env"))
    [body] = webhook.bodies
    assert (body["event"], body["state"], body["sweep_id"], body["trials"]) == ("ended", "succeeded", "pair", 2)
    assert body["commands"] == ["runner sweep best pair", "runner report pair"]
    assert Path(SECRET_PATH).name.encode() not in everything(tmp_path)
