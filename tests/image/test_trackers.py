"""Trackers and answers work in the image as they do here: offline, in a container from which all is taken."""

import json

import pytest

from support.containers.image import LOCKED_DOWN, Built, Place

pytestmark = pytest.mark.image


def test_a_run_reports_to_wandb_and_tensorboard(image: Built, place: Place) -> None:
    place.submit("reported", "training.report_to=[wandb, tensorboard]")
    assert place.run(image.name, "reported") == 0
    artifacts = json.loads(place.store.get("runs/reported/result.json"))["artifacts"]
    folder = place.folder / "store/runs/reported"
    (history,) = (folder / artifacts["wandb"]).rglob("*.wandb")
    events = list((folder / artifacts["tensorboard"]).rglob("events.out.tfevents.*"))  # the metrics', and the settings'
    assert history.stat().st_size > 1000
    assert max(file.stat().st_size for file in events) > 1000


def test_answers_are_compared_as_mathematics(image: Built) -> None:
    code = (
        "from runner.train.evaluation.answers import same_answer as s;"
        r"print(s('\\\\frac{1}{\\\\sqrt{2}}', '\\\\sqrt{2}/2'), s('9^{9^9}', '1'))"
    )
    done = image.sh(f'python -P -c "{code}"', *LOCKED_DOWN)
    assert (done.returncode, done.stdout) == (0, "True False\n"), done.stderr
