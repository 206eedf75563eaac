"""Rows that one trial has prepared are the next one's only if everything that they depend on is the same."""

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from transformers import AutoTokenizer
from trl import SFTConfig, SFTTrainer

from runner.train.builtin.catalog import materialize
from runner.train.methods import kept_rows
from runner.train.methods.kept_rows import KeptRows, Preparation, settings_read, tokenizer_state, written_times

ROWS = Dataset.from_dict({"prompt": ["a", "b", "c"], "completion": ["d", "e", "f"]})


class Trainer:
    """What the key reads of a trainer."""

    _prepare_dataset_of_trl = SFTTrainer._prepare_dataset
    chat_template = None
    completion_only_loss = True


def with_trainer(preparation: Preparation, **changes: Any) -> Preparation:
    trainer = Trainer()
    vars(trainer).update(changes)
    return replace(preparation, trainer=trainer)


def with_settings(preparation: Preparation, **changes: Any) -> Preparation:
    args = copy.copy(preparation.args)
    vars(args).update(changes)
    return replace(preparation, args=args)


def with_tokenizer(preparation: Preparation, change: Callable[[Any], Any]) -> Preparation:
    tokenizer = copy.deepcopy(preparation.tokenizer)
    change(tokenizer)
    return replace(preparation, tokenizer=tokenizer)


@pytest.fixture
def preparation(tmp_path: Path) -> Preparation:
    tokenizer = AutoTokenizer.from_pretrained(materialize("builtin:tiny-llama", tmp_path / "models"))
    args = SFTConfig(output_dir=str(tmp_path), max_length=32, use_cpu=True, bf16=False)
    return Preparation(trainer=Trainer(), args=args, tokenizer=tokenizer, packing=False)


def test_what_the_preparation_reads_makes_another_key(preparation: Preparation) -> None:
    base = preparation.key(ROWS)
    assert base is not None
    others = {
        "row": preparation.key(Dataset.from_dict({**ROWS.to_dict(), "completion": ["d", "e", "g"]})),
        "order": preparation.key(ROWS.select([1, 0, 2])),
        "fewer": preparation.key(ROWS.select([0, 1])),
        "column": preparation.key(ROWS.rename_column("prompt", "text")),
        "max_length": with_settings(preparation, max_length=31).key(ROWS),
        "mode": with_settings(preparation, truncation_mode="keep_end").key(ROWS),
        "text field": with_settings(preparation, dataset_text_field="body").key(ROWS),
        "assistant": with_settings(preparation, assistant_only_loss=True).key(ROWS),
        "strategy": with_settings(preparation, packing_strategy="wrapped").key(ROWS),
        "shuffle": with_settings(preparation, shuffle_dataset=True).key(ROWS),
        "seed": with_settings(preparation, seed=7).key(ROWS),
        "packing": replace(preparation, packing=True).key(ROWS),
        "loss": with_trainer(preparation, completion_only_loss=False).key(ROWS),
        "template": with_trainer(preparation, chat_template="{{ messages }}").key(ROWS),
        "word": with_tokenizer(preparation, lambda one: one.add_tokens(["a new word"])).key(ROWS),
        "end": with_tokenizer(preparation, lambda one: setattr(one, "eos_token", "<s>")).key(ROWS),
        "its template": with_tokenizer(preparation, lambda one: setattr(one, "chat_template", "{{ 1 }}")).key(ROWS),
        "its side": with_tokenizer(preparation, lambda one: setattr(one, "truncation_side", "left")).key(ROWS),
    }
    assert None not in others.values()
    assert len({base, *others.values()}) == len(others) + 1, others


def test_a_library_of_another_version_makes_another_key(
    preparation: Preparation, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = {preparation.key(ROWS)}
    for name in ("datasets", "jinja2", "pyarrow", "tokenizers", "transformers", "trl"):
        real = kept_rows.version
        monkeypatch.setattr(kept_rows, "version", lambda one, name=name, real=real: "0" if one == name else real(one))
        keys.add(preparation.key(ROWS))
        monkeypatch.undo()
    assert len(keys) == 7


def test_what_a_sweep_draws_and_the_preparation_does_not_read_changes_nothing(
    preparation: Preparation, tmp_path: Path
) -> None:
    other = with_settings(
        preparation, learning_rate=0.5, weight_decay=0.3, per_device_train_batch_size=1, warmup_steps=4
    )
    elsewhere = AutoTokenizer.from_pretrained(materialize("builtin:tiny-llama", tmp_path / "other"))
    assert replace(other, tokenizer=elsewhere).key(ROWS.select([0, 1, 2])) == preparation.key(ROWS)


def test_rows_are_made_once_and_are_the_same_afterwards(preparation: Preparation, tmp_path: Path) -> None:
    kept, made = KeptRows(tmp_path / "kept"), []

    def make() -> Dataset:
        made.append(1)
        return ROWS.filter(lambda row: row["prompt"] != "b").select([1, 0])

    first = kept.get_or_make(preparation, ROWS, make)
    second = kept.get_or_make(preparation, ROWS, make)
    assert len(made) == 1
    assert (
        second.to_list() == first.to_list() == [{"prompt": "c", "completion": "f"}, {"prompt": "a", "completion": "d"}]
    )
    assert second.features == first.features
    assert second.format == first.format
    kept.get_or_make(with_settings(preparation, max_length=8), ROWS, make)
    assert len(made) == 2


def test_what_is_damaged_or_half_written_is_made_again(preparation: Preparation, tmp_path: Path) -> None:
    kept = KeptRows(tmp_path)
    kept.get_or_make(preparation, ROWS, lambda: ROWS)
    (entry,) = [path for path in tmp_path.iterdir() if (path / "dataset_info.json").is_file()]
    next(entry.glob("*.arrow")).write_bytes(b"")
    assert kept.get_or_make(preparation, ROWS, lambda: ROWS).to_list() == ROWS.to_list()
    assert KeptRows(tmp_path).get_or_make(preparation, ROWS, lambda: pytest.fail("made again")).to_list()


def test_a_folder_that_cannot_be_written_costs_nothing_but_time(preparation: Preparation, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    assert KeptRows(tmp_path / "file" / "kept").get_or_make(preparation, ROWS, lambda: ROWS) is ROWS


def test_the_oldest_are_removed_and_leftovers_with_them(
    preparation: Preparation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_rows, "MAX_ENTRIES", 2)
    (tmp_path / ".unfinished-x").mkdir()
    for length in (8, 9, 10):
        KeptRows(tmp_path).get_or_make(with_settings(preparation, max_length=length), ROWS, lambda: ROWS)
    assert len(list(tmp_path.iterdir())) == 2
    monkeypatch.setattr(kept_rows, "MAX_BYTES", 3)
    KeptRows(tmp_path).get_or_make(with_settings(preparation, max_length=11), ROWS, lambda: ROWS)
    assert len(list(tmp_path.iterdir())) == 2, "what is larger than half of all is not kept"


def test_what_no_key_can_stand_for_is_not_kept(preparation: Preparation, tmp_path: Path) -> None:
    def reads_more(self: Any, args: Any) -> Any:
        return self.processing_rule, args.max_length

    def passes_on(self: Any, args: Any) -> Any:
        return print(args)

    assert settings_read(reads_more) is None
    assert settings_read(passes_on) is None
    assert settings_read(SFTTrainer._prepare_dataset) is not None
    own = type("Own", (type(preparation.tokenizer),), {"__module__": "of_a_model"})
    tokenizer = copy.deepcopy(preparation.tokenizer)
    tokenizer.__class__ = own
    assert tokenizer_state(tokenizer) is None
    cuts = with_tokenizer(preparation, lambda one: one.backend_tokenizer.enable_truncation(4))
    assert cuts.key(ROWS) is None
    KeptRows(tmp_path / "kept").get_or_make(cuts, ROWS, lambda: ROWS)
    assert not (tmp_path / "kept").exists()


def test_a_template_that_writes_the_date_has_it_in_its_key() -> None:
    assert written_times("{{ 'no date' }}") == []
    (year,) = written_times("{{ strftime_now('%Y') }}") or ()
    assert year.isdigit()
    assert written_times("{{ strftime_now(format) }}") is None
