"""`runner import`: what it prints and writes, and how it ends."""

import json

import pytest

from support.bench import Bench

CONFIG = """
base_model: acme/small-llama
datasets: [{path: acme/instructions, type: alpaca}]
sequence_len: 512
micro_batch_size: 1
learning_rate: 2e-4
output_dir: ./out
"""


def test_the_recipe_is_written_says_where_it_came_from_and_passes_the_check(bench: Bench) -> None:
    (bench.folder / "theirs.yml").write_text(CONFIG)
    done = bench.runner("import", "theirs.yml", "-o", "mine.yaml")
    assert done.returncode == 0, done
    assert done.stdout == ""
    assert "micro_batch_size → training.per_device_train_batch_size" in done.stderr
    assert "left out: output_dir: the store has a place for everything" in done.stderr
    assert done.stderr.endswith("wrote mine.yaml\nnext: `runner check mine.yaml` and `runner plan mine.yaml`\n")
    assert (
        (bench.folder / "mine.yaml").read_text().startswith("# From Axolotl: theirs.yml\nname: theirs\nmethod: sft\n")
    )
    assert bench.runner("check", "mine.yaml").returncode == 0
    again = bench.runner("import", "theirs.yml", "-o", "mine.yaml")
    assert again.returncode == 2
    assert "there already" in again.stderr


def test_what_cannot_be_said_writes_nothing_but_with_partial(bench: Bench) -> None:
    (bench.folder / "theirs.yml").write_text(CONFIG + "rl: kto\nloraplus_lr_ratio: 4\n")
    done = bench.runner("import", "theirs.yml", "-o", "mine.yaml")
    assert done.returncode == 2
    assert "cannot be said: rl: KTO is not a method" in done.stderr
    assert "cannot be said: loraplus_lr_ratio: " in done.stderr
    assert not (bench.folder / "mine.yaml").exists()
    done = bench.runner("import", "--partial", "theirs.yml", "-o", "mine.yaml")
    assert done.returncode == 2
    assert "# NOT THE SAME: rl: KTO" in (bench.folder / "mine.yaml").read_text()


def test_the_json_has_every_remark(bench: Bench) -> None:
    done = bench.runner(
        "import", "--json", "--", "trl", "sft", "--model_name_or_path=acme/a", "--dataset_name", "acme/b"
    )
    assert done.returncode == 0, done
    said = json.loads(done.stdout)
    assert (said["from"], said["ok"], said["recipe"]["method"]) == ("trl", True, "sft")
    assert {remark["key"] for remark in said["remarks"]} == {"model_name_or_path", "dataset_name"}


@pytest.mark.parametrize("command", ["check", "launch", "plan"])
def test_a_config_of_another_tool_is_known_and_the_way_to_a_recipe_is_shown(bench: Bench, command: str) -> None:
    (bench.folder / "theirs.yml").write_text(CONFIG)
    done = bench.runner(command, "theirs.yml")
    assert done.returncode == 2
    assert "theirs.yml: this is a config of Axolotl, not a recipe" in done.stdout + done.stderr
    assert "`runner import theirs.yml -o recipe.yaml`" in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing.yml"], "there is no such file"),
        (["--", "make", "coffee"], "starts no trainer of TRL's"),
        (["small.yaml"], "the config is none of"),
    ],
)
def test_what_is_no_config_is_one_mistake(bench: Bench, arguments: list[str], words: str) -> None:
    bench.recipe()
    done = bench.runner("import", *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
