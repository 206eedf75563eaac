"""A recipe's data: one shape, the same at every attempt, and a clear word for whatever does not fit."""

import json
import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from datasets import Dataset, DatasetDict

from runner.errors import UserError
from runner.recipe.formats.layouts import RowLayout
from runner.recipe.recipe import Data, DataSource, Recipe
from runner.train.data.mixture import load_data
from support.fakes.fake_hub import empty_hub


def recipe(*train, evaluation=(), from_train=None, **training):
    return Recipe(
        name="test",
        method="sft",
        model={"model_name_or_path": "builtin:tiny-llama"},
        data=Data(train=train, eval=evaluation, eval_from_train=from_train),
        training=training,
    )


def load(*train, **settings):
    return load_data(recipe(*train, **settings), inputs=Path)


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.fixture
def pairs(tmp_path):
    """Forty pairs of strings."""
    rows = [{"prompt": f"{n} + 1 =", "completion": f" {n + 1}", "origin": "test"} for n in range(40)]
    return write_rows(tmp_path / "pairs.jsonl", rows)


def turns(n):
    return [{"role": "user", "content": f"What is {n} + 1?"}, {"role": "assistant", "content": str(n + 1)}]


@pytest.fixture
def conversations(tmp_path):
    """Ten conversations."""
    return write_rows(tmp_path / "conversations.jsonl", [{"messages": turns(n)} for n in range(10)])


# -- where data come from ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["jsonl", "json", "csv", "parquet"])
def test_a_files_ending_says_how_it_is_read(tmp_path, ending):
    rows = [{"prompt": f"{n}, {n}", "completion": f' "{n}"'} for n in range(5)]
    path = tmp_path / f"data.{ending}"
    table = pyarrow.Table.from_pylist(rows)
    if ending == "jsonl":
        write_rows(path, rows)
    elif ending == "json":
        path.write_text(json.dumps(rows))
    elif ending == "csv":
        Dataset.from_list(rows).to_csv(path)
    else:
        pyarrow.parquet.write_table(table, path)
    data = load(DataSource(path=str(path)))
    assert sorted(data.train, key=str) == rows
    assert data.layout is RowLayout.PAIR


def test_a_line_of_a_txt_file_is_a_text_and_blank_lines_are_dropped_and_counted(tmp_path):
    (tmp_path / "lines.txt").write_text("first\n\nsecond\n")
    data = load(DataSource(path=str(tmp_path / "lines.txt")))
    assert sorted(data.train["text"]) == ["first", "second"]
    assert data.notes == ("data.train.0: dropped 1 of 3 rows (1 with empty text; the first: line 2).",)


def test_a_folder_of_files_is_read_with_its_splits(tmp_path):
    write_rows(tmp_path / "train.jsonl", [{"text": "a"}])
    write_rows(tmp_path / "test.jsonl", [{"text": "b"}])
    data = load(DataSource(path=str(tmp_path)), evaluation=(DataSource(path=str(tmp_path), split="test"),))
    assert data.train["text"][:] == ["a"]
    assert data.eval["text"][:] == ["b"]


def test_what_datasets_saved_to_disk_is_read(tmp_path):
    one, both = tmp_path / "one", tmp_path / "both"
    Dataset.from_list([{"text": "a"}]).save_to_disk(one)
    DatasetDict({"train": Dataset.from_list([{"text": "b"}])}).save_to_disk(both)
    data = load(DataSource(path=str(one)), DataSource(path=str(both)))
    assert sorted(data.train["text"]) == ["a", "b"]
    with pytest.raises(UserError, match=r"data\.train\.0\.split: .* no split 'test'\n.*train"):
        load(DataSource(path=str(both), split="test"))


def test_a_file_of_the_run_is_found_by_whoever_keeps_it(tmp_path, pairs):
    asked = []

    def inputs(key):
        asked.append(key)
        return Path(pairs)

    key = f"inputs/{'0' * 64}/pairs.jsonl"
    assert len(load_data(recipe(DataSource(path=key)), inputs=inputs).train) == 40
    assert asked == [key]


def test_a_slice_of_a_split_is_understood(pairs):
    assert sorted(load(DataSource(path=pairs, split="train[:10%]")).train["completion"]) == [" 1", " 2", " 3", " 4"]


def test_the_builtin_data_are_pairs():
    data = load(DataSource(path="builtin:python-docstrings", sample=20), from_train=0.25)
    assert (len(data.train), len(data.eval)) == (15, 5)
    assert data.layout is RowLayout.PAIR
    assert not data.conversational


# -- one shape ---------------------------------------------------------------------------------------------------------


def test_only_the_columns_that_are_trained_on_are_left(pairs):
    assert load(DataSource(path=pairs)).train.column_names == ["prompt", "completion"]


@pytest.mark.parametrize(
    ("edition", "has_template", "prompt"),
    [
        (2, True, [{"role": "user", "content": "Count.\nto 3"}]),
        (2, False, "### Instruction:\nCount.\n\n### Input:\nto 3\n\n### Response:\n"),
        (1, True, "### Instruction:\nCount.\n\n### Input:\nto 3\n\n### Response:\n"),
    ],
)
def test_alpaca_is_turns_where_there_is_a_template_and_stays_what_it_was_in_older_runs(
    tmp_path, edition, has_template, prompt
):
    path = write_rows(tmp_path / "a.jsonl", [{"instruction": "Count.", "input": "to 3", "output": "1, 2, 3"}])
    for written in ({}, {"format": "alpaca"}):
        what = recipe(DataSource(path=path, **written))
        what = replace(what, data=replace(what.data, edition=edition))
        restored = Recipe.from_mapping(json.loads(json.dumps(what.to_mapping())))
        data = load_data(restored, inputs=Path, chat_template=lambda: has_template)
        made = data.train[0]["prompt"]
        assert made == prompt or (isinstance(made, str) and made.endswith(prompt))
        assert bool(data.notes) is (edition > 1), "what was taken is said, where there was a choice"


def test_a_record_from_before_the_editions_is_of_the_first(pairs):
    mapping = recipe(DataSource(path=pairs)).to_mapping()
    assert "edition" not in mapping["data"]
    assert Recipe.from_mapping(mapping).data.edition == 1


def test_columns_with_telling_names_are_taken_and_that_is_said(tmp_path):
    path = write_rows(tmp_path / "q.jsonl", [{"question": "a", "answer": "b"}])
    data = load(DataSource(path=path))
    assert data.train[0] == {
        "prompt": [{"role": "user", "content": "a"}],
        "completion": [{"role": "assistant", "content": "b"}],
    }
    [note] = data.notes
    assert 'prompt: [{role: user, content: "{question}"}]' in note
    data = load_data(recipe(DataSource(path=path)), inputs=Path, chat_template=lambda: False)
    assert data.train[0] == {"prompt": "a\n\n", "completion": "b"}


def test_conversations_of_all_spellings_and_alpaca_mix(tmp_path, conversations):
    sharegpt = [{"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}]
    alpaca = [{"instruction": "c", "input": "", "output": "d"}]
    data = load(
        DataSource(path=conversations),
        DataSource(path=write_rows(tmp_path / "s.jsonl", sharegpt)),
        DataSource(path=write_rows(tmp_path / "a.jsonl", alpaca)),
    )
    assert data.train.column_names == ["messages"]
    assert [{"role": "user", "content": "c"}, {"role": "assistant", "content": "d"}] in data.train["messages"]
    assert len(data.train) == 12
    assert data.conversational
    assert data.notes == (
        "data.train.2: taken as conversations, like the rest of the data (a prompt becomes a user's turn, an answer an "
        "assistant's, and the loss is on both).",
    )


def test_a_message_shows_no_keys_that_only_other_messages_have(tmp_path):
    """A chat template may ask whether a message has tool_calls at all."""
    called = {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"function": {"name": "count", "arguments": {"n": 1}}}],
    }
    tools = [{"name": "count", "parameters": {"n": "integer"}}]
    path = write_rows(
        tmp_path / "t.jsonl", [{"messages": turns(1)}, {"messages": [turns(2)[0], called], "tools": tools}]
    )
    rows = sorted(load(DataSource(path=path)).train, key=lambda row: row["tools"] is not None)
    assert rows == [{"messages": turns(1), "tools": None}, {"messages": [turns(2)[0], called], "tools": tools}]


def test_pairs_of_strings_become_turns_among_conversations_and_that_is_said(pairs, conversations):
    """As in the README's recipe."""
    data = load(DataSource(path=pairs), DataSource(path=conversations))
    assert data.layout is RowLayout.CONVERSATION
    assert len(data.train) == 50
    pair = [{"role": "user", "content": "3 + 1 ="}, {"role": "assistant", "content": " 4"}]
    assert pair in data.train["messages"]
    assert data.notes[0].startswith("data.train.0: taken as conversations, like the rest of the data (a prompt becomes")


def test_evaluation_data_have_the_layout_of_the_training_data(pairs, conversations):
    data = load(DataSource(path=pairs), evaluation=(DataSource(path=conversations),))
    assert data.train.column_names == data.eval.column_names == ["messages"]


def test_plain_text_does_not_mix_with_what_the_model_would_see_differently(tmp_path, conversations):
    text = write_rows(tmp_path / "t.jsonl", [{"text": "a"}])
    with pytest.raises(UserError, match=r"data\.train\.0 holds plain text and data\.train\.1 conversations"):
        load(DataSource(path=text), DataSource(path=conversations))


def test_the_text_column_may_have_a_name_of_its_own(tmp_path):
    path = write_rows(tmp_path / "t.jsonl", [{"content": "a", "text": "not this"}])
    data = load(DataSource(path=path), dataset_text_field="content")
    assert list(data.train) == [{"content": "a"}]


def test_a_declared_format_wins_over_the_columns(tmp_path):
    path = write_rows(tmp_path / "a.jsonl", [{"instruction": "c", "output": "d", "text": "e"}])
    assert load(DataSource(path=path)).train.column_names == ["prompt", "completion"]
    assert list(load(DataSource(path=path, format="text")).train) == [{"text": "e"}]


# -- drawing and splitting ---------------------------------------------------------------------------------------------


def test_a_sample_is_drawn_at_random_and_by_the_seed(pairs):
    drawn = [
        sorted(load(DataSource(path=pairs, sample=10), seed=seed).train["completion"], key=int) for seed in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    assert drawn[0] != [f" {n + 1}" for n in range(10)]


def test_a_fraction_is_of_the_sources_rows(pairs):
    assert len(load(DataSource(path=pairs, sample=0.25)).train) == 10
    assert len(load(DataSource(path=pairs, sample=0.001)).train) == 1


def test_a_sample_is_of_as_many_rows_as_there_are(pairs):
    data = load(DataSource(path=pairs, sample=100))
    assert len(data.train) == 40
    unread = "data.train.0: of these columns nothing is made: origin."
    assert data.notes == ("data.train.0: all 40 rows are taken; there are no 100 to draw.", unread)
    assert load(DataSource(path=pairs, sample=40)).notes == (unread,)


def test_rows_are_taken_by_what_stands_in_their_columns(tmp_path):
    rows = [
        {"text": f"{n}", "split": ("train", "validation", "test")[n % 3], "year": 2000 + n, "ok": n < 20, "note": None}
        for n in range(30)
    ]
    path = write_rows(tmp_path / "t.jsonl", rows)
    data = load(
        DataSource(path=path, filter={"split": "train", "ok": True}),
        evaluation=(DataSource(path=path, filter={"split": "validation", "year": [2001, 2004.0, 2005]}),),
    )
    assert sorted(data.train["text"], key=int) == ["0", "3", "6", "9", "12", "15", "18"]
    assert sorted(data.eval["text"]) == ["1", "4"]
    assert len(load(DataSource(path=path, filter={"note": None}, sample=0.5)).train) == 15
    with pytest.raises(UserError, match="no row of"):
        load(DataSource(path=path, filter={"year": "2001"}))
    with pytest.raises(UserError, match="no row of"):
        load(DataSource(path=path, filter={"ok": 1}))


def test_a_sample_is_drawn_of_what_the_filter_leaves(tmp_path):
    rows = [{"text": f"{n}", "lang": "en" if n % 2 else "de"} for n in range(40)]
    path = write_rows(tmp_path / "t.jsonl", rows)
    drawn = load(DataSource(path=path, filter={"lang": "en"}, sample=10)).train["text"][:]
    assert len(drawn) == 10
    assert all(int(text) % 2 for text in drawn)


def test_a_mixture_is_shuffled(pairs, tmp_path):
    other = write_rows(tmp_path / "o.jsonl", [{"prompt": "x", "completion": f" -{n}"} for n in range(40)])
    completions = load(DataSource(path=pairs), DataSource(path=other)).train["completion"][:]
    assert len(completions) == 80
    assert 5 < sum("-" in text for text in completions[:40]) < 35


def test_what_is_held_out_is_not_trained_on(pairs):
    data = load(DataSource(path=pairs), from_train=0.2)
    train, held_out = set(data.train["completion"]), set(data.eval["completion"])
    assert (len(train), len(held_out)) == (32, 8)
    assert not train & held_out
    assert set(load(DataSource(path=pairs), from_train=8).eval["completion"]) == held_out


def test_nothing_depends_on_caches_or_on_other_random_streams(pairs, conversations, tmp_path):
    """The order of rows is the same in a process with an empty cache, another hash seed and a used random stream."""
    loaded = load(DataSource(path=pairs, sample=30), from_train=5)
    program = (
        "import json, sys, random, numpy; random.random(); numpy.random.seed(9);"
        "from pathlib import Path; from runner.recipe.recipe import Recipe;"
        "from runner.train.data.mixture import load_data;"
        "data = load_data(Recipe.from_mapping(json.loads(sys.argv[1])), inputs=Path);"
        "print(json.dumps([list(data.train), list(data.eval)]))"
    )
    mapping = recipe(DataSource(path=pairs, sample=30), from_train=5).to_mapping()
    other = subprocess.run(
        [sys.executable, "-c", program, json.dumps(mapping)],
        env={**os.environ, "HF_HOME": str(tmp_path / "empty"), "PYTHONHASHSEED": "3"},
        capture_output=True,
        check=True,
    )
    assert json.loads(other.stdout) == [list(loaded.train), list(loaded.eval)]


def test_a_file_that_was_edited_is_read_anew(tmp_path):
    path = write_rows(tmp_path / "t.jsonl", [{"text": "a"}])
    assert load(DataSource(path=path)).train["text"][:] == ["a"]
    write_rows(tmp_path / "t.jsonl", [{"text": "b"}])
    os.utime(path, (1, 1))
    assert load(DataSource(path=path)).train["text"][:] == ["b"]


def test_loading_leaves_the_random_streams_alone(pairs):
    random.seed(4)
    expected = random.random()
    random.seed(4)
    load(DataSource(path=pairs, sample=10), from_train=2)
    assert random.random() == expected


# -- rows and settings that do not fit ---------------------------------------------------------------------------------


def test_rows_that_cannot_be_used_are_counted_by_reason(tmp_path):
    rows = [{"messages": turns(1)}, {"messages": []}, {"messages": []}, {"messages": turns(2)[:1]}]
    data = load(DataSource(path=write_rows(tmp_path / "m.jsonl", rows), format="messages"))
    assert len(data.train) == 1
    reasons = "2 without messages, 1 without an assistant's turn"
    assert data.notes == (f"data.train.0: dropped 3 of 4 rows ({reasons}; the first: line 2).",)
    entry = {"entry": "data.train.0", "of": 4}
    assert data.dropped == (
        {**entry, "reason": "without messages", "rows": 2, "first": 2},
        {**entry, "reason": "without an assistant's turn", "rows": 1, "first": 4},
    )


def mistakes(tmp_path):
    text = write_rows(tmp_path / "text.jsonl", [{"text": "a"}, {"text": "b"}])
    odd = write_rows(tmp_path / "odd.jsonl", [{"question": "a", "answers": ["b"]}])
    blank = write_rows(tmp_path / "blank.jsonl", [{"text": " "}])
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "torn.jsonl").write_text('{"text": "a"}\n{"text": ')
    (tmp_path / "data.xyz").write_text("?")
    return [
        ((DataSource(path=str(tmp_path / "none.jsonl")),), {}, r"data\.train\.0\.path: there is no file"),
        ((DataSource(path=str(tmp_path / "empty.jsonl")),), {}, r"data\.train\.0\.path: .* has no rows"),
        (
            (DataSource(path=str(tmp_path / "torn.jsonl")),),
            {},
            r"train\.0\.path: .*torn\.jsonl: line 2 is not JSON",
        ),
        ((DataSource(path=str(tmp_path / "data.xyz")),), {}, r"what kind of data data\.xyz holds\n.*\.jsonl"),
        (
            (DataSource(path=odd),),
            {},
            r"the columns fit no format: question, answers\n.*text: .\{question\}",
        ),
        ((DataSource(path=text, format="alpaca"),), {}, r"data\.train\.0\.format: .* needs `instruction` and `output`"),
        ((DataSource(path=blank),), {}, r"data\.train\.0: no row can be used as text: 1 with empty text"),
        ((DataSource(path=text, split="test"),), {}, r"data\.train\.0\.split: .* no split 'test'"),
        ((DataSource(path="builtin:python-docstrings", split="test"),), {}, r"data\.train\.0\.split"),
        ((DataSource(path="builtin:nothing"),), {}, r"data\.train\.0\.path: there is no built-in dataset"),
        (
            (DataSource(path=text, filter={"lang": "en"}),),
            {},
            r"data\.train\.0\.filter: .* no column lang\n.*text",
        ),
        (
            (DataSource(path=text, filter={"text": ["x", 1]}),),
            {},
            r'data\.train\.0\.filter: no row of .* is left where text is "x" or 1\n.*"a" \(1x\), "b" \(1x\)',
        ),
        (
            (DataSource(path=odd, think={"prompt": "{question}", "reasoning": "{thoughts}"}),),
            {},
            r"data\.train\.0\.think: .* has no field `thoughts`\n.*question, answer",
        ),
        ((DataSource(path=text, think=True),), {}, r"data\.train\.0\.think: .* holds no conversations"),
        ((DataSource(path=text),), {"from_train": 2}, r"data\.eval\.from_train: .* leaves none"),
        ((DataSource(path=text),), {"completion_only_loss": True}, r"training\.completion_only_loss"),
        ((DataSource(path=text),), {"assistant_only_loss": True}, r"training\.assistant_only_loss"),
    ]


@pytest.mark.parametrize("index", range(17))
def test_a_mistake_is_one_message_that_names_its_place(tmp_path, index):
    sources, settings, message = mistakes(tmp_path)[index]
    with pytest.raises(UserError, match=message):
        load(*sources, **settings)


HUB_PROGRAM = """
import json, sys
from pathlib import Path
from runner.errors import UserError
from runner.recipe.recipe import Data, DataSource, Recipe
from runner.train.data.mixture import load_data
for name in sys.argv[1:]:
    recipe = Recipe(name="t", method="sft", model={}, data=Data(train=(DataSource(path=name, revision="v1"),)))
    try:
        load_data(recipe, inputs=Path)
    except UserError as error:
        print(json.dumps(str(error)))
"""


def hub_messages(tmp_path, *names, **environment):
    """What is said of data on a hub; in a process of its own, since the hub's address is read at import."""
    finished = subprocess.run(
        [sys.executable, "-c", HUB_PROGRAM, *names],
        env={**os.environ, "HF_HOME": str(tmp_path), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in finished.stdout.splitlines()]


def test_what_the_hub_does_not_give_is_one_message_with_a_remedy(tmp_path):
    with empty_hub() as endpoint:
        messages = hub_messages(
            tmp_path, "someone/gated", "someone/missing", "someone/unpinned", HF_ENDPOINT=endpoint, HF_HUB_OFFLINE="0"
        )
    assert len(messages) == 3
    gated, missing, unpinned = messages
    assert "data.train.0.path" in gated
    assert "gated" in gated
    assert "HF_TOKEN" in gated
    assert "someone/missing" in missing
    assert "doesn't exist" in missing
    assert "'v1'" in unpinned


def test_offline_is_said_so(tmp_path):
    (message,) = hub_messages(tmp_path, "someone/something", HF_HUB_OFFLINE="1")
    assert message.startswith("data.train.0.path: cannot get someone/something from the hub")
    assert "name a local file" in message


def test_what_is_prepared_lies_in_the_attempts_folder_and_nowhere_else(tmp_path):
    """Also after an end without a word, which leaves what lies below TMPDIR."""
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from datasets import disable_caching, load_from_disk\n"
        "from runner.train.data.mixture import keep_temporary_files_in\n"
        "disable_caching()\n"
        "keep_temporary_files_in(Path(sys.argv[1]))\n"
        "made = load_from_disk(sys.argv[2]).map(lambda row: {'b': 2})\n"
        "print(made.cache_files[0]['filename'], os.environ['TMPDIR'])\n"
        "sys.stdout.flush()\n"
        "os._exit(0)"
    )
    temporary, attempt = tmp_path / "tmp", tmp_path / "attempt"
    temporary.mkdir()
    Dataset.from_list([{"a": 1}]).save_to_disk(tmp_path / "rows")
    environment = {**os.environ, "TMPDIR": str(temporary)}
    command = [sys.executable, "-c", code, str(attempt), str(tmp_path / "rows")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    file, told = done.stdout.split()
    assert Path(file).is_relative_to(attempt)
    assert Path(file).is_file()
    assert told == str(temporary)
    assert list(temporary.iterdir()) == []


def test_nulls_that_parquet_made_of_other_rows_keys_are_no_arguments(tmp_path):
    """Each struct of a column has the keys of all others; text in it is as its author wrote it."""

    def called(**arguments):
        call = {"type": "function", "function": {"name": "get", "arguments": arguments}}
        return [turns(1)[0], {"role": "assistant", "content": "", "tool_calls": [call]}]

    tools = [{"type": "function", "function": {"name": "get", "parameters": {"default": None}}}]
    rows = [
        {"messages": called(city="Oslo"), "tools": json.dumps(tools)},
        {"messages": called(path="/"), "tools": json.dumps(tools)},
    ]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "rows.parquet")
    data = load(DataSource(path=str(tmp_path / "rows.parquet")))
    made = sorted(str(row["messages"][1]["tool_calls"][0]["function"]["arguments"]) for row in data.train)
    assert made == ["{'city': 'Oslo'}", "{'path': '/'}"]
    assert [row["tools"] for row in data.train] == [tools, tools]
