"""The file that `runner report` writes."""

import hashlib
import json
import re
from importlib.resources import files
from pathlib import Path

from click.testing import CliRunner

from runner.cli.main import cli
from runner.storage.open import open_store
from support.compared import trained

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


def test_the_vendored_scripts_are_those_whose_digests_are_written_down() -> None:
    folder = files("runner.reports.html") / "vendored"
    for script in json.loads((folder / "scripts.json").read_text()):
        data = (folder / script["file"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == script["sha256"]
        assert b"</script" not in data
        assert b"\r" not in data
