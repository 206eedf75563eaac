"""The doctor finds what is missing, says what to do, and shows no secret."""

from pathlib import Path

import pytest

from runner.control.doctor import Finding, examine
from support.bench import Bench


def findings(store: str | None = None) -> dict[str, Finding]:
    return {finding.name: finding for finding in examine(store)}


def test_a_machine_that_can_train_is_found_to_be_in_order(bench: Bench) -> None:
    found = findings(bench.store.url)
    assert [finding for finding in found.values() if finding.state == "missing"] == []
    assert {"click", "obstore", "torch", "transformers", "trl", "peft", "datasets"} <= found.keys()
    assert "conditional writes work" in found["store"].detail
    assert list(bench.store.objects("")) == []


@pytest.mark.parametrize("url", ["s3://", "nonsense://x", "/proc/nowhere"])
def test_a_store_that_cannot_be_used_is_missing(bench: Bench, url: str) -> None:
    store = findings(url)["store"]
    assert store.state == "missing"
    assert store.remedy


def test_a_broken_driver_is_told_from_none(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "train on the CPU" in findings()["gpu"].detail
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'NVIDIA L4, 23034 MiB, 570.1'\n")
    program.chmod(0o755)
    assert (findings()["gpu"].state, findings()["gpu"].detail) == ("ok", "NVIDIA L4, 23034 MiB, 570.1")
    program.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed'\nexit 9\n")
    assert "NVIDIA-SMI has failed" in findings()["gpu"].detail


def test_a_secret_is_said_to_be_there_and_not_shown(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.delenv("HF_HOME", raising=False)
    assert findings()["HF_TOKEN"].state == "note"
    monkeypatch.setenv("HF_TOKEN", "hunter2")
    assert findings()["HF_TOKEN"].state == "ok"
    assert "hunter2" not in str(findings())
