"""Formats: what TRL is given of each row, and which rows are not used."""

import json

import pytest

from runner.recipe.formats.convert import Conversion, row_converter
from runner.recipe.formats.detection import natural_layout
from runner.recipe.formats.layouts import NeedsPairs, RowLayout, UnusableRow
from runner.recipe.rows.numbers import WrittenFloat

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
        ("alpaca", {"instruction": "a", "output": "b"}, RowLayout.MESSAGE_PAIR),
        ("stanford_alpaca", {"instruction": "a", "output": "b"}, RowLayout.PAIR),
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


def test_stanfords_alpaca_gets_its_own_wording():
    assert convert("stanford_alpaca", {"instruction": "Count.", "input": "a b c", "output": "3"}) == {
        "prompt": "Below is an instruction that describes a task, paired with an input that provides further context. "
        "Write a response that appropriately completes the request.\n\n"
        "### Instruction:\nCount.\n\n### Input:\na b c\n\n### Response:\n",
        "completion": "3",
    }


@pytest.mark.parametrize("further", ["", None, "  "])
def test_stanfords_alpaca_without_an_input_gets_the_shorter_wording(further):
    prompt = convert("stanford_alpaca", {"instruction": "Count.", "input": further, "output": "3"})["prompt"]
    assert prompt == (
        "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
        "### Instruction:\nCount.\n\n### Response:\n"
    )


def test_alpaca_among_conversations_is_a_turn_of_each_without_the_wording():
    row = {"instruction": "Count.", "input": "a b c", "output": "3"}
    turns = [{"role": "user", "content": "Count.\na b c"}, {"role": "assistant", "content": "3"}]
    assert convert("alpaca", row, RowLayout.CONVERSATION) == {"messages": turns, "tools": None}
    stanfords = [{"role": "user", "content": "Count.\n\na b c"}, turns[1]]
    assert convert("stanford_alpaca", row, RowLayout.CONVERSATION) == {"messages": stanfords, "tools": None}
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
        ("alpaca", {"instruction": [3], "output": "b"}, "instruction is not text"),
        ("text", {"text": "\n"}, "empty text"),
    ],
)
def test_rows_without_anything_to_learn_are_refused_with_the_reason(name, row, reason):
    with pytest.raises(UnusableRow, match=reason):
        convert(name, row)


# -- whose turn it is --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("speaker", "role"),
    [
        ("ai", "assistant"),
        ("Assistant ", "assistant"),
        (" USER", "user"),
        ("function", "tool"),
        ("observation", "tool"),
        ("prompter", "user"),
    ],
)
def test_speakers_are_known_whatever_their_case_and_the_space_around_them(speaker, role):
    row = {"messages": [{"role": speaker, "content": "x"}, TURNS[1]]}
    assert convert("messages", row)["messages"][0]["role"] == role


def test_a_role_that_was_mistyped_is_recognized_in_the_reason():
    with pytest.raises(UnusableRow, match=r"unknown role, 'assitant' \(did you mean 'assistant'\?\)"):
        convert("messages", {"messages": [TURNS[0], {"role": "assitant", "content": "x"}]})


# -- calls of tools ----------------------------------------------------------------------------------------------------


def call(arguments):
    return {"type": "function", "function": {"name": "get", "arguments": arguments}}


@pytest.mark.parametrize(
    "value",
    [
        '{"name": "get", "arguments": {"city": "Oslo"}}',
        '{"name": "get", "arguments": "{\\"city\\": \\"Oslo\\"}"}',
        '[{"name": "get", "arguments": {"city": "Oslo"}}]',
    ],
)
def test_a_function_call_of_sharegpt_becomes_a_call_of_the_assistant(value):
    turns = [SHAREGPT[0], {"from": "function_call", "value": value}, {"from": "observation", "value": "3"}, SHAREGPT[1]]
    messages = convert("sharegpt", {"conversations": turns})["messages"]
    assert messages[1] == {"role": "assistant", "content": "", "tool_calls": [call({"city": "Oslo"})]}
    assert messages[2] == {"role": "tool", "content": "3"}


@pytest.mark.parametrize("value", ["get Oslo", "[]", '{"arguments": {}}', '{"name": "get", "arguments": "Oslo"}'])
def test_a_function_call_without_name_or_arguments_is_refused(value):
    turns = [SHAREGPT[0], {"from": "function_call", "value": value}, SHAREGPT[1]]
    with pytest.raises(UnusableRow, match=r"call|arguments"):
        convert("sharegpt", {"conversations": turns})


@pytest.mark.parametrize("written", ['{"city": "Oslo", "n": null}', {"city": "Oslo", "n": None}])
def test_arguments_are_an_object_and_keep_their_nulls(written):
    """OpenAI writes them as JSON in a string, which templates would quote once more."""
    messages = [TURNS[0], {"role": "assistant", "content": None, "tool_calls": [call(written)]}, TURNS[1]]
    for structs in (frozenset(), frozenset({"messages"})):
        made = convert("messages", {"messages": messages}, structs=structs)["messages"][1]["tool_calls"]
        from_arrow = structs and not isinstance(written, str)
        assert made == [call({"city": "Oslo"} if from_arrow else {"city": "Oslo", "n": None})]


def test_a_call_in_openais_older_form_is_read():
    old = {"role": "assistant", "content": None, "function_call": {"name": "get", "arguments": "{}"}}
    messages = convert("messages", {"messages": [TURNS[0], old, {"role": "function", "name": "get", "content": "3"}]})
    assert messages["messages"][1] == {"role": "assistant", "content": "", "tool_calls": [call({})]}


def test_a_null_default_in_a_tools_schema_stays():
    unit = {"type": ["string", "null"], "default": None}
    tools = [{"type": "function", "function": {"name": "get", "parameters": {"properties": {"unit": unit}}}}]
    assert convert("messages", {"messages": TURNS, "tools": tools})["tools"] == tools


# -- turns that are not to be learned ----------------------------------------------------------------------------------

USER, GOOD = {"role": "user", "content": "q"}, {"role": "assistant", "content": "good"}
BAD = {"role": "assistant", "content": "bad"}


@pytest.mark.parametrize("mark", [{"weight": 0}, {"weight": 0.0}, {"train": False}, {"training": "false"}])
def test_a_turn_with_a_mark_is_in_the_prompt_and_not_in_the_completion(mark):
    row = {"messages": [USER, {**BAD, **mark}, USER, {**GOOD, "weight": 1}]}
    with pytest.raises(NeedsPairs, match="kept out of the loss"):
        convert("messages", row)
    assert convert("messages", row, RowLayout.MESSAGE_PAIR) == {
        "prompt": [USER, BAD, USER],
        "completion": [GOOD],
        "tools": None,
    }


def test_a_loss_that_was_measured_is_no_mark():
    assert convert("messages", {"messages": [USER, {**GOOD, "loss": 0.0}]})["messages"][1]["loss"] == 0.0


def test_marks_that_say_yes_change_nothing():
    row = {"messages": [USER, {**GOOD, "weight": 1, "train": True}]}
    assert convert("messages", row) == {"messages": [USER, GOOD], "tools": None}


def test_each_run_of_turns_that_are_learned_is_a_pair_of_its_own():
    messages = [USER, GOOD, USER, {**BAD, "weight": 0}, USER, GOOD, USER, GOOD, USER, {**BAD, "train": False}]
    rows = row_converter("messages", RowLayout.MESSAGE_PAIR)({"messages": messages})
    assert [(len(row["prompt"]), row["completion"]) for row in rows] == [(1, [GOOD]), (5, [GOOD, USER, GOOD])]


def test_marks_of_a_user_matter_only_where_the_loss_is_on_users():
    row = {"messages": [{**USER, "train": False}, GOOD, {**USER, "train": False}, GOOD]}
    assert len(row_converter("messages", RowLayout.MESSAGE_PAIR)(row)) == 2
    assert convert("messages", row, assistant_only=True)["messages"] == [USER, GOOD, USER, GOOD]


@pytest.mark.parametrize(
    ("name", "row", "layout", "reason"),
    [
        ("messages", {"messages": [USER, {**GOOD, "weight": 0}]}, RowLayout.MESSAGE_PAIR, "all marked as not to be"),
        ("messages", {"messages": [USER, {**GOOD, "weight": 0.5}]}, None, "whose weight is 0.5"),
        ("preference", {"prompt": [USER], "chosen": [{**GOOD, "weight": 0}], "rejected": [BAD]}, None, "compared"),
    ],
)
def test_rows_whose_marks_cannot_be_kept_to_are_refused(name, row, layout, reason):
    with pytest.raises(UnusableRow, match=reason):
        convert(name, row, layout)


def test_marks_in_a_completion_move_it_to_the_prompt():
    row = {"prompt": [USER], "completion": [{**BAD, "weight": 0}, USER, GOOD]}
    assert convert("prompt_completion", row)["prompt"] == [USER, BAD, USER]
    with pytest.raises(NeedsPairs):
        convert("prompt_completion", row, RowLayout.CONVERSATION)


# -- columns beside the turns ------------------------------------------------------------------------------------------

SYSTEM = {"role": "system", "content": "Be kind."}


@pytest.mark.parametrize(
    ("name", "row", "layout", "column"),
    [
        ("sharegpt", {"conversations": SHAREGPT}, None, "messages"),
        ("prompt_completion", {"prompt": TURNS[:1], "completion": TURNS[1:]}, None, "prompt"),
        ("preference", {"prompt": [USER], "chosen": [GOOD], "rejected": [BAD]}, None, "prompt"),
        ("prompt_completion", {"prompt": "a", "completion": "b"}, RowLayout.MESSAGE_PAIR, "prompt"),
        ("preference", {"prompt": "a", "chosen": "b", "rejected": "c"}, RowLayout.PREFERENCE_MESSAGES, "prompt"),
        ("alpaca", {"instruction": "a", "output": "b"}, RowLayout.CONVERSATION, "messages"),
    ],
)
def test_a_system_column_is_the_first_turn(name, row, layout, column):
    assert convert(name, {**row, "system": "Be kind."}, layout)[column][0] == SYSTEM
    assert convert(name, {**row, "system": ""}, layout)[column][0]["role"] == "user"


def test_a_system_turn_of_the_conversation_wins_over_the_column():
    row = {"messages": [SYSTEM, *TURNS], "system": "Be brief."}
    assert convert("messages", row)["messages"] == [SYSTEM, *TURNS]


def test_system_and_history_of_alpaca_become_turns():
    row = {"instruction": "i", "input": "x", "output": "o", "system": "Be kind.", "history": [["q1", "a1"]]}
    with pytest.raises(NeedsPairs, match="`system` and `history`"):
        convert("stanford_alpaca", row)
    history = [{"role": "user", "content": "q1"}, {"role": "assistant", "content": "a1"}]
    expected = [SYSTEM, *history, {"role": "user", "content": "i\nx"}]
    for written in (row, {**row, "history": '[["q1", "a1"]]'}):
        made = convert("alpaca", written, RowLayout.MESSAGE_PAIR)
        assert (made["prompt"], made["completion"]) == (expected, [{"role": "assistant", "content": "o"}])
    with pytest.raises(UnusableRow, match="whose history is not pairs"):
        convert("alpaca", {**row, "history": [["q1"]]}, RowLayout.MESSAGE_PAIR)


def test_arguments_of_the_template_stay_with_their_row():
    row = {"messages": TURNS, "chat_template_kwargs": {"enable_thinking": False}}
    assert convert("messages", row)["chat_template_kwargs"] == {"enable_thinking": False}
    assert convert("messages", {**row, "chat_template_kwargs": '{"a": 1}'})["chat_template_kwargs"] == {"a": 1}
    assert "chat_template_kwargs" not in convert("messages", {**row, "chat_template_kwargs": None})
    with pytest.raises(UnusableRow, match="chat_template_kwargs are not a mapping"):
        convert("messages", {**row, "chat_template_kwargs": [1]})


# -- strings among turns -----------------------------------------------------------------------------------------------


def test_strings_among_turns_are_a_users_and_an_assistants():
    pair = [{"role": "user", "content": "a"}, {"role": "assistant", "content": " b"}]
    row = {"prompt": "a", "completion": " b"}
    assert convert("prompt_completion", row, RowLayout.CONVERSATION) == {"messages": pair, "tools": None}
    assert convert("prompt_completion", row, RowLayout.MESSAGE_PAIR)["completion"] == pair[1:]
    preference = convert("preference", {"prompt": "a", "chosen": " b", "rejected": "c"}, RowLayout.PREFERENCE_MESSAGES)
    assert (preference["prompt"], preference["chosen"]) == (pair[:1], pair[1:])
    assert convert("prompt_only", {"prompt": "a", "x": 1}, RowLayout.PROMPT_MESSAGES) == {"prompt": pair[:1], "x": 1}
    with pytest.raises(UnusableRow, match="empty prompt"):
        convert("prompt_completion", {"prompt": "", "completion": "b"}, RowLayout.CONVERSATION)


# -- preferences in other forms ----------------------------------------------------------------------------------------

ASK, YES, NO = (
    {"role": "user", "content": "q"},
    {"role": "assistant", "content": "yes"},
    {"role": "assistant", "content": "no"},
)


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": [ASK], "chosen": YES, "rejected": NO},
        {"prompt": "q", "chosen": YES, "rejected": [NO]},
        {"prompt": ASK, "chosen": [YES], "rejected": [NO]},
        {"messages": [ASK], "chosen": YES, "rejected": NO},
        {
            "conversations": [{"from": "human", "value": "q"}],
            "chosen": {"from": "gpt", "value": "yes"},
            "rejected": {"from": "gpt", "value": "no"},
        },
        {"messages": [ASK, YES], "chosen": [ASK, YES], "rejected": [ASK, NO]},
        {"prompt": "q", "chosen": json.dumps([YES]), "rejected": json.dumps([NO])},
    ],
)
def test_answers_of_one_message_are_compared(row):
    layout = natural_layout("preference", [row])
    made = convert("preference", row, RowLayout.PREFERENCE_MESSAGES)
    assert {key: made[key] for key in ("prompt", "chosen", "rejected")} == {
        "prompt": [ASK],
        "chosen": [YES],
        "rejected": [NO],
    }
    assert layout is (RowLayout.PREFERENCE if isinstance(row["chosen"], str) else RowLayout.PREFERENCE_MESSAGES)


@pytest.mark.parametrize(
    ("chosen", "rejected"),
    [
        ("\n\nHuman: a?\n\nAssistant: yes", "\n\nHuman: a?\n\nAssistant: no"),
        ("same yes", "same"),
        ("a b", "a c"),
        ("x", "y"),
    ],
)
def test_strings_without_a_prompt_begin_in_common_as_in_trl(chosen, rejected):
    from trl.data_utils import extract_prompt

    row = {"chosen": chosen, "rejected": rejected}
    assert convert("preference", row) == extract_prompt(row)


def test_a_number_is_an_answer_but_not_in_runs_of_the_first_edition():
    row = {"prompt": "1 + 1", "completion": 2}
    assert convert("prompt_completion", row) == {"prompt": "1 + 1", "completion": "2"}
    assert convert("prompt_completion", {"prompt": True, "completion": WrittenFloat("1.50")})["completion"] == "1.50"
    with pytest.raises(UnusableRow, match="completion is not text"):
        convert("prompt_completion", row, numbers=False)
