"""The file that `runner report` writes."""

import hashlib
import html
import json
import re
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from runner.cli.main import cli
from runner.runs.attempts import Claim, read_claim
from runner.runs.measured.machine import write_inputs, write_machine
from runner.runs.measured.spending import write_price
from runner.storage.open import open_store
from support.compared import trained
from support.stored import ended, submitted
from support.sweeping.simulated import simulate

EVIL = "</script><script>alert(1)</script>"


def test_a_report_is_one_file_without_addresses_in_which_texts_stay_texts(tmp_path: Path) -> None:
    store, out = open_store(str(tmp_path / "store")), tmp_path / "report.html"
    hidden = {"evaluate": {"before_and_after": True, "prompts": [EVIL]}}
    trained(store, tmp_path, "fast", losses=[4.0, 2.0], evaluations={0: 4.0, 2: 1.5}, recipe=hidden)
    trained(store, tmp_path, "slow", losses=[4.0, 3.0], evaluations={0: 4.0, 2: 2.5}, training={"learning_rate": 1e-4})
    for words in (["fast"], ["fast", "slow"]):
        result = CliRunner().invoke(cli, ["report", *words, "--out", str(out), "--store", store.url])
        assert result.exit_code == 0, result.output
        page = out.read_text()
        assert EVIL not in page
        assert not re.search(
            r"<(?:script|link|img|iframe)[^>]+(?:src|href)=\"(?!data:)",
            re.sub(r"<script>.*?</script>", "", page, flags=re.S),
        )
        found = re.search(r'<script type="application/json" id="plots">(.*?)</script>', page)
        assert found is not None
        assert set(json.loads(found[1])) == {"loss", "eval_loss"}
        assert len(page) < 3_000_000
        assert "thinned" not in re.sub(r"<script.*?</script>", "", page, flags=re.S)
        assert "2m 5s" in page
        assert "<span>seconds" not in page
        assert "@media print" in page
        assert ":focus-visible" in page


def test_the_report_of_one_run_says_what_it_learnt_what_it_cost_and_where_its_settings_came_from(
    tmp_path: Path,
) -> None:
    store, out = open_store(str(tmp_path / "store")), tmp_path / "report.html"
    result = {
        "generations": [{"prompt": EVIL, "before": "early <b>", "after": "late & good"}],
        "rows_used": 1234,
        "rows_dropped": 3,
        "dropped_rows": [{"entry": "data.train.0", "reason": "without messages", "rows": 3, "of": 1237, "first": 17}],
        "artifacts": {"model": "artifacts/model/0001-aaaa/"},
    }
    trained(store, tmp_path, "first", losses=[4.0, 2.0], evaluations={0: 4.0, 2: 1.0}, result=result)
    machine = {"host": "far", "cpus": 8, "memory_gib": 30.0, "python": "3.11.7", "versions": {"torch": "2.9.0"}}
    gpus = [{"name": "NVIDIA L4", "memory_gib": 22.5}]
    token = read_claim(store, "first", 1)["token"]
    write_machine(store, "first", 1, {"token": token, "gpus": gpus, **machine})  # type: ignore[typeddict-item]
    write_price(store, Claim("first", 1, token), {"dollars_per_hour": 0.71, "source": "the catalog of SkyPilot"})
    lengths: Any = {
        "examples": 4,
        "tokens": 40,
        "least": 3,
        "median": 8,
        "greatest": 20,
        "width": 7,
        "counts": [1, 2, 1],
    }
    inputs: Any = {"model": "m", "model_commit": None, "tokenizer": "1", "rows": "2", "row_count": 4, "datasets": []}
    write_inputs(store, "first", 1, "sft", {**inputs, "lengths": lengths})
    texts = _texts(_report(store.url, out, "first"))
    assert "4 examples of 3 to 20 tokens" in texts
    assert "evaluation loss|4.0000|1.0000|-75.0%" in texts
    assert f"{EVIL}|early <b>|late & good" in texts
    assert "data.train.0|without messages|3|1237|17" in texts
    assert "rows trained on|1,234" in texts
    assert "training.max_steps|2|recipe" in texts
    assert texts.index("training.max_steps|2|recipe") < texts.index("training.gradient_checkpointing|")
    assert "GPU|NVIDIA L4, 22.5 GiB" in texts
    assert "succeeded" in texts
    assert "the catalog of SkyPilot" in texts
    assert "0.71" in texts
    assert "runner reproduce first" in texts
    assert "runner pull first" in texts


def test_a_run_that_waits_and_one_that_failed_at_once_have_reports(tmp_path: Path) -> None:
    store, out = open_store(str(tmp_path / "store")), tmp_path / "report.html"
    submitted(store, "waits")
    ended(store, submitted(store, "failed"), "failed", reason="no <such> file", attempts=0)
    assert "runner reproduce waits" in _texts(_report(store.url, out, "waits"))
    assert "no <such> file" in _texts(_report(store.url, out, "failed"))


def test_the_report_of_a_sweep_is_of_all_its_trials_also_of_those_without_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(str(tmp_path / "store"))
    simulate(store)
    monkeypatch.chdir(tmp_path)
    for number in (3, 5):
        sweep = {"sweep_id": "sweep", "trial": number}
        trained(store, tmp_path, f"sweep-{number:04d}", losses=[3.0, 2.0], sweep=sweep)
    result = CliRunner().invoke(cli, ["report", "sweep", "--store", store.url])
    assert (result.exit_code, result.stdout) == (0, "report-sweep.html\n"), result.output
    page = Path("report-sweep.html").read_text()
    found = re.search(r'<script type="application/json" id="plots">(.*?)</script>', page)
    assert found is not None
    assert set(json.loads(found[1])) == {"best_so_far", "parallel", "way", "loss"}
    texts = _texts(page)
    assert "10|9|3|0|6|0|0" in texts
    assert "of 9 at step 10: the best 3 went on" in texts
    assert "What follows is of 2 of its 9 trials" in texts
    assert "every trial to its end" in texts


def test_a_picture_of_a_sweep_and_of_runs_has_their_main_plots(tmp_path: Path) -> None:
    pytest.importorskip("vl_convert")
    store = open_store(str(tmp_path / "store"))
    simulate(store, run_cap=27)
    trained(store, tmp_path, "sweep-0003", losses=[3.0, 2.0], sweep={"sweep_id": "sweep", "trial": 3})
    for name in ("fast", "slow"):
        trained(store, tmp_path, name, losses=[4.0, 2.0], evaluations={0: 4.0, 2: 1.5})
    expected = {
        ("sweep",): {"eval_loss of each trial, and the best so far", "The importance of each parameter"},
        ("fast",): {"Training loss by step", "Evaluation loss by step"},
        ("fast", "slow"): {"Training loss by step", "2 runs"},
    }
    for words, titles in expected.items():
        png, svg = tmp_path / "picture.png", tmp_path / "picture.svg"
        options = ["--png", str(png), "--svg", str(svg), "--store", store.url]
        result = CliRunner().invoke(cli, ["report", *words, *options])
        assert (result.exit_code, result.stdout) == (0, f"{png}\n{svg}\n"), result.output
        assert png.read_bytes().startswith(b"\x89PNG")
        drawn = svg.read_text()
        assert titles <= set(re.findall(r"<text[^>]*>(.*?)</text>", drawn))
        assert "var(--" not in drawn
    assert not list(tmp_path.glob("*.html"))


def test_a_picture_without_its_extra_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(str(tmp_path / "store"))
    trained(store, tmp_path, "first", losses=[4.0, 2.0])
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    result = CliRunner().invoke(cli, ["report", "first", "--png", str(tmp_path / "p.png"), "--store", store.url])
    assert result.exit_code == 2
    assert "the extra `report`" in result.stderr
    assert "[report]" in result.stderr
    assert not (tmp_path / "p.png").exists()


def test_a_picture_of_what_has_recorded_nothing_is_refused(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    submitted(store, "waits")
    result = CliRunner().invoke(cli, ["report", "waits", "--svg", str(tmp_path / "p.svg"), "--store", store.url])
    assert result.exit_code == 2
    assert "nothing to draw" in result.stderr


def test_what_is_damaged_is_named_and_the_rest_is_reported(tmp_path: Path) -> None:
    store, out = open_store(str(tmp_path / "store")), tmp_path / "report.html"
    trained(store, tmp_path, "first", losses=[4.0, 2.0])
    for kind in ("price", "machine"):
        store.put(f"runs/first/attempts/0001.{kind}.json", b"{")
    store.put(f"runs/first/system/{read_claim(store, 'first', 1)['token']}-000001.jsonl", b"{\n[]\n\xff\n")
    result = CliRunner().invoke(cli, ["report", "first", "--out", str(out), "--store", store.url])
    assert result.exit_code == 0, result.output
    assert "0001.price.json" in result.stderr
    assert "training.max_steps|2|recipe" in _texts(out.read_text())


def test_secrets_in_settings_are_not_in_the_report(tmp_path: Path) -> None:
    store, out = open_store(str(tmp_path / "store")), tmp_path / "report.html"
    settings = {
        "training.hub_token": {"value": "confidential", "source": "recipe"},
        "sky.envs": {"value": {"WANDB_API_KEY": "confidential"}, "source": "recipe"},
    }
    trained(store, tmp_path, "first", losses=[4.0, 2.0], settings=settings)
    page = _report(store.url, out, "first")
    assert "training.hub_token|***|recipe" in _texts(page)
    assert "confidential" not in page


def _report(store: str, out: Path, *words: str) -> str:
    result = CliRunner().invoke(cli, ["report", *words, "--out", str(out), "--store", store])
    assert result.exit_code == 0, result.output
    return out.read_text()


def _texts(page: str) -> str:
    """The page's texts as they are read, the cells of a row with ``|`` between them."""
    shown = re.sub(r"<(script|style)\b.*?</\1>", "", page, flags=re.S)
    shown = re.sub(r"</t[hd]><t[hd]\b[^>]*>", "|", shown)
    return html.unescape(re.sub(r"<[^>]*>", "", shown))


def test_the_vendored_scripts_are_those_whose_digests_are_written_down() -> None:
    folder = files("runner.reports.html") / "vendored"
    for script in json.loads((folder / "scripts.json").read_text()):
        data = (folder / script["file"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == script["sha256"]
        assert b"</script" not in data
        assert b"\r" not in data
