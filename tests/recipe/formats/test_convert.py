"""Formats: what TRL is given of each row, and which rows are not used."""

import json

import pytest

from runner.recipe.formats.convert import Conversion, row_converter
from runner.recipe.formats.detection import natural_layout
from runner.recipe.formats.layouts import RowLayout, UnusableRow

TURNS = [{"role": "user", "content": "How many?"}, {"role": "assistant", "content": "Three."}]
SHAREGPT = [{"from": "human", "value": "How many?"}, {"from": "gpt", "value": "Three."}]


def convert(name, row, shape=None, **conversion):
    [made] = row_converter(name, shape or natural_layout(name, [row]), Conversion(**conversion))(row)
    return made


@pytest.mark.parametrize(
    ("name", "row", "shape"),
    [
        ("messages", {"messages": TURNS}, RowLayout.CONVERSATION),
        ("sharegpt", {"conversations": SHAREGPT}, RowLayout.CONVERSATION),
        ("prompt_completion", {"prompt": "a", "completion": " b"}, RowLayout.PAIR),
        ("prompt_completion", {"prompt": TURNS[:1], "completion": TURNS[1:]}, RowLayout.MESSAGE_PAIR),
        ("alpaca", {"instruction": "a", "output": "b"}, RowLayout.PAIR),
        ("text", {"text": "a"}, RowLayout.TEXT),
    ],
)
def test_each_format_has_a_shape_of_its_own(name, row, shape):
    assert natural_layout(name, [row]) is shape


def test_prompts_are_told_apart_by_the_first_that_is_there():
    rows = [{"prompt": None, "completion": "b"}, {"prompt": "a", "completion": "b"}]
    assert natural_layout("prompt_completion", rows) is RowLayout.PAIR


def test_sharegpt_becomes_the_same_as_messages():
    assert convert("sharegpt", {"conversations": SHAREGPT}) == convert("messages", {"messages": TURNS})


def test_conversations_may_stand_in_either_column_in_either_spelling():
    assert convert("messages", {"conversations": TURNS}) == {"messages": TURNS, "tools": None}
    assert convert("sharegpt", {"messages": SHAREGPT}) == {"messages": TURNS, "tools": None}


@pytest.mark.parametrize(
    ("speaker", "role"),
    [("human", "user"), ("GPT", "assistant"), ("model", "assistant"), ("system", "system"), ("observation", "tool")],
)
def test_speakers_get_the_roles_that_chat_templates_know(speaker, role):
    row = {"conversations": [{"from": speaker, "value": "x"}, {"from": "gpt", "value": "y"}]}
    assert convert("sharegpt", row)["messages"][0]["role"] == role


def test_messages_written_as_json_are_read():
    """CSV has no lists."""
    assert convert("messages", {"messages": json.dumps(TURNS)})["messages"] == TURNS


def test_keys_that_arrow_filled_in_are_gone_and_those_that_were_set_are_kept():
    call = {"type": "function", "function": {"name": "count", "arguments": {}}}
    messages = [
        {"role": "user", "content": "How many?", "tool_calls": None},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "3", "tool_calls": None},
    ]
    assert convert("messages", {"messages": messages})["messages"] == [
        {"role": "user", "content": "How many?"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "3"},
    ]


def test_nulls_that_arrow_filled_in_are_gone_and_those_of_a_file_stay():
    tools = [{"name": "count", "parameters": {"of": "string"}}]
    filled_in = [{"name": "count", "parameters": {"of": "string", "by": None}}]
    row = {"messages": TURNS, "tools": filled_in}
    assert convert("messages", row, structs=frozenset({"tools"}))["tools"] == tools
    assert convert("messages", row)["tools"] == filled_in
    assert (
        convert("messages", {**row, "tools": json.dumps(filled_in)}, structs=frozenset({"tools"}))["tools"] == filled_in
    )


def test_tools_are_kept_as_a_list_or_read_from_json():
    tools = [{"name": "count", "parameters": {"of": "string"}}]
    assert convert("messages", {"messages": TURNS, "tools": json.dumps(tools)})["tools"] == tools
    assert convert("messages", {"messages": TURNS, "tools": []})["tools"] is None


def test_content_in_text_parts_is_joined():
    parts = [{"type": "text", "text": "How "}, {"type": "text", "text": "many?"}]
    messages = [{"role": "user", "content": parts}, TURNS[1]]
    assert convert("messages", {"messages": messages})["messages"] == TURNS


def test_alpaca_gets_its_own_wording():
    assert convert("alpaca", {"instruction": "Count.", "input": "a b c", "output": "3"}) == {
        "prompt": "Below is an instruction that describes a task, paired with an input that provides further context. "
        "Write a response that appropriately completes the request.\n\n"
        "### Instruction:\nCount.\n\n### Input:\na b c\n\n### Response:\n",
        "completion": "3",
    }


@pytest.mark.parametrize("further", ["", None, "  "])
def test_alpaca_without_an_input_gets_the_shorter_wording(further):
    prompt = convert("alpaca", {"instruction": "Count.", "input": further, "output": "3"})["prompt"]
    assert prompt == (
        "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
        "### Instruction:\nCount.\n\n### Response:\n"
    )


def test_alpaca_among_conversations_is_a_turn_of_each_without_the_wording():
    row = {"instruction": "Count.", "input": "a b c", "output": "3"}
    turns = [{"role": "user", "content": "Count.\n\na b c"}, {"role": "assistant", "content": "3"}]
    assert convert("alpaca", row, RowLayout.CONVERSATION) == {"messages": turns, "tools": None}
    assert convert("alpaca", row, RowLayout.MESSAGE_PAIR) == {
        "prompt": turns[:1],
        "completion": turns[1:],
        "tools": None,
    }


def test_pairs_of_messages_among_conversations_are_joined():
    row = {"prompt": TURNS[:1], "completion": TURNS[1:]}
    assert convert("prompt_completion", row, RowLayout.CONVERSATION) == {"messages": TURNS, "tools": None}


def test_pairs_of_strings_are_left_to_the_letter():
    row = {"prompt": "2 + 2 =", "completion": " 4\n"}
    assert convert("prompt_completion", row) == row


@pytest.mark.parametrize(
    ("name", "row", "reason"),
    [
        ("messages", {"messages": []}, "without messages"),
        ("messages", {"messages": None}, "without messages"),
        ("messages", {"messages": TURNS[:1]}, "without an assistant's turn"),
        ("messages", {"messages": [TURNS[0], {"role": "assistant", "content": " "}]}, "without an assistant's turn"),
        ("messages", {"messages": [{"role": "narrator", "content": "x"}, TURNS[1]]}, "unknown role, 'narrator'"),
        ("messages", {"messages": [{"role": None, "content": "x"}]}, "no role"),
        ("messages", {"messages": [{"role": "user", "content": None}]}, "without content"),
        ("messages", {"messages": ["Hello"]}, "no role and content"),
        ("messages", {"messages": "[{"}, "neither a list nor JSON"),
        ("messages", {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "images"),
        ("prompt_completion", {"prompt": "a", "completion": "  "}, "empty completion"),
        ("prompt_completion", {"prompt": None, "completion": "b"}, "without prompt"),
        ("prompt_completion", {"prompt": TURNS[:1], "completion": TURNS[:1]}, "without an assistant's turn"),
        ("alpaca", {"instruction": "a", "output": ""}, "empty output"),
        ("alpaca", {"instruction": 3, "output": "b"}, "instruction is not text"),
        ("text", {"text": "\n"}, "empty text"),
    ],
)
def test_rows_without_anything_to_learn_are_refused_with_the_reason(name, row, reason):
    with pytest.raises(UnusableRow, match=reason):
        convert(name, row)
