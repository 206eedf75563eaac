"""The loss is on the answers alone, with any chat template: those of the most used models, written small."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from trl import chat_template_utils

from runner.errors import UserError
from runner.recipe.formats.layouts import RowLayout
from runner.train.data.loss.answers import IGNORED, Labeller, tokenize_answers
from runner.train.data.mixture import TrainingData

LOOP = "{% for m in messages %}"
END = "{% endfor %}"
GENERATE = "{% if add_generation_prompt %}"


def each(role: str, before: str, after: str, content: str = "m.content") -> str:
    return "{% if m.role == '" + role + "' %}" + before + "{{ " + content + " }}" + after + "{% endif %}"


def tagged(start: str, middle: str, end: str, *, assistant: str = "assistant", content: str = "m.content") -> str:
    """A template of one form for all roles: a start, the role, the content, an end."""
    role = "{{ '" + assistant + "' if m.role == 'assistant' else m.role }}"
    body = start + role + middle + "{{ " + content + " }}" + end
    return LOOP + body + END + GENERATE + start + assistant + middle + "{% endif %}"


# Earlier answers lose what stands before </think>, as those of Qwen3 and DeepSeek-R1 do.
SHORTENED = "(m.content.split('</think>')[-1].strip() if not loop.last else m.content)"

TEMPLATES: Mapping[str, tuple[str, list[str]]] = {
    "chatml (Qwen2.5, Yi, SmolLM2, Hermes)": (
        tagged("<|im_start|>", "\n", "<|im_end|>\n"),
        ["Four.<|im_end|>\n", "Six.<|im_end|>\n"],
    ),
    "llama 3": (
        "<s>" + tagged("<|header|>", "<|end_header|>\n\n", "<|eot|>", content="m.content | trim"),
        ["Four.<|eot|>", "Six.<|eot|>"],
    ),
    "llama 2": (
        LOOP + each("user", "<s>[INST] ", " [/INST]") + each("assistant", " ", " </s>") + END,
        [" Four. </s>", " Six. </s>"],
    ),
    "mistral, whose system prompt stands in the last question": (
        "<s>{% set ns = namespace(system='') %}"
        + LOOP
        + "{% if m.role == 'system' %}{% set ns.system = m.content + '\n\n' %}{% endif %}"
        + "{% if m.role == 'user' %}[INST] {% if loop.last or (loop.index == messages | length - 1) %}"
        + "{{ ns.system }}{% endif %}{{ m.content }}[/INST]{% endif %}"
        + each("assistant", " ", "</s>")
        + END,
        ["Four.</s>", " Six.</s>"],
    ),
    "gemma": (
        "<s>" + tagged("<turn>", "\n", "</turn>\n", assistant="model", content="m.content | trim"),
        ["Four.</turn>\n", "Six.</turn>\n"],
    ),
    "phi 3": (
        LOOP
        + "<|{{ m.role }}|>\n{{ m.content }}<|end|>\n"
        + END
        + "{% if add_generation_prompt %}<|assistant|>\n{% else %}<|endoftext|>{% endif %}",
        ["Four.<|end|>\n", "Six.<|end|>\n<|endoftext|>"],
    ),
    "glm, whose turns end where another begins": (
        LOOP + "<|{{ m.role }}|>\n{{ m.content }}" + END + GENERATE + "<|assistant|>\n{% endif %}",
        ["Four.", "Six."],
    ),
    "zephyr, tinyllama": (
        LOOP + "<|{{ m.role }}|>\n{{ m.content }}</s>\n" + END + GENERATE + "<|assistant|>\n{% endif %}",
        ["Four.</s>\n", "Six.</s>\n"],
    ),
    "vicuna": (
        LOOP
        + each("system", "", " ")
        + each("user", "USER: ", " ")
        + each("assistant", "ASSISTANT: ", "</s>")
        + END
        + GENERATE
        + "ASSISTANT:{% endif %}",
        [" Four.</s>", " Six.</s>"],
    ),
    "falcon, in words alone": (
        LOOP + "{{ m.role | capitalize }}: {{ m.content }}\n\n" + END + GENERATE + "Assistant:{% endif %}",
        [" Four.\n\n", " Six.\n\n"],
    ),
    "alpaca": (
        LOOP
        + each("system", "", "\n\n")
        + each("user", "### Instruction:\n", "\n\n")
        + each("assistant", "### Response:\n", "</s>\n\n")
        + END
        + GENERATE
        + "### Response:\n{% endif %}",
        ["Four.</s>\n\n", "Six.</s>\n\n"],
    ),
    "command r": (
        "<s>" + tagged("<|start|><|", "|>", "<|end|>", assistant="chatbot"),
        ["Four.<|end|>", "Six.<|end|>"],
    ),
    "deepseek": (
        "<s>"
        + LOOP
        + each("system", "", "")
        + each("user", "<|user|>", "")
        + each("assistant", "<|assistant|>", "</s>")
        + END
        + GENERATE
        + "<|assistant|>{% endif %}",
        ["Four.</s>", "Six.</s>"],
    ),
    "granite": (
        LOOP
        + "<|start|>{{ m.role }}<|end_header|>{{ m.content }}<|endoftext|>\n"
        + END
        + GENERATE
        + "<|start|>assistant<|end_header|>{% endif %}",
        ["Four.<|endoftext|>\n", "Six.<|endoftext|>\n"],
    ),
    "gpt-oss, whose last answer ends in another token": (
        LOOP
        + "{% if m.role == 'assistant' %}<|start|>assistant<|message|>{{ m.content }}"
        + "{{ '<|return|>' if loop.last else '<|end|>' }}{% else %}"
        + "<|start|>{{ m.role }}<|message|>{{ m.content }}<|end|>"
        + "{% endif %}"
        + END
        + GENERATE
        + "<|start|>assistant<|message|>{% endif %}",
        ["Four.", "Six.<|return|>"],
    ),
    "one that opens a thought in the answer's place": (
        tagged("<|im_start|>", "\n", "<|im_end|>\n").removesuffix("{% endif %}") + "<think>\n{% endif %}",
        ["Four.<|im_end|>\n", "Six.<|im_end|>\n"],
    ),
    "one that refuses a conversation without a question": (
        "{% if messages[-1].role != 'assistant' and not add_generation_prompt %}{{ raise_exception('no') }}{% endif %}"
        + tagged("<|im_start|>", "\n", "<|im_end|>\n"),
        ["Four.<|im_end|>\n", "Six.<|im_end|>\n"],
    ),
}
SPECIALS = [
    "<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|header|>", "<|end_header|>", "<|eot|>", "<turn>", "</turn>",
    "<|end|>", "<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|start|>", "<|message|>", "<|return|>",
    "<think>", "</think>",
]  # fmt: skip
TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "2 + 2?"},
    {"role": "assistant", "content": "Four."},
    {"role": "user", "content": "3 + 3?"},
    {"role": "assistant", "content": "Six."},
]


def tokenizer(template: str | None = None, specials: list[str] = SPECIALS) -> PreTrainedTokenizerFast:
    """One token a byte, and those that end turns."""
    letters = {letter: place for place, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    plain = Tokenizer(models.BPE(vocab=letters, merges=[]))
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    plain.decoder = decoders.ByteLevel()
    made = PreTrainedTokenizerFast(tokenizer_object=plain, eos_token="</s>")
    made.add_special_tokens({"additional_special_tokens": specials})
    made.chat_template = template
    return made


def learned(template: str, row: dict[str, Any], **more: Any) -> list[str]:
    """The parts of a row that have labels."""
    words = tokenizer(template, **more)
    made = Labeller(words, template, {}).row(row)
    assert (
        made["input_ids"]
        == words.apply_chat_template(row.get("messages") or row["prompt"] + row["completion"])["input_ids"]
    ), "the tokens are those that TRL would make"
    parts: list[list[int]] = [[]]
    for token, label in zip(made["input_ids"], made["labels"], strict=True):
        assert label in (token, IGNORED)
        if label == IGNORED:
            parts.append([])
        else:
            parts[-1].append(label)
    return [words.decode(part) for part in parts if part]


@pytest.mark.parametrize("name", TEMPLATES)
def test_each_answer_and_its_end_are_learned_and_nothing_else(name: str) -> None:
    template, answers = TEMPLATES[name]
    assert learned(template, {"messages": TALK}) == answers


@pytest.mark.parametrize("name", TEMPLATES)
def test_an_answer_that_repeats_the_question_is_found_in_its_own_place(name: str) -> None:
    template, _ = TEMPLATES[name]
    talk = [{**turn, "content": "Six." if turn["role"] != "system" else "Be brief."} for turn in TALK]
    first, second = learned(template, {"messages": talk})
    assert first.strip().startswith("Six.")
    assert second.strip().startswith("Six.")


@pytest.mark.parametrize("name", TEMPLATES)
def test_answers_of_a_prompt_are_no_completion(name: str) -> None:
    template, answers = TEMPLATES[name]
    assert learned(template, {"prompt": TALK[:4], "completion": TALK[4:]}) == answers[1:]


def test_a_turn_that_loses_its_reasoning_is_left_out_and_the_last_one_is_learned() -> None:
    template = tagged("<|im_start|>", "\n", "<|im_end|>\n", content=SHORTENED)
    talk = [*TALK[:2], {"role": "assistant", "content": "<think>2, 2</think>Four."}, *TALK[3:4]]
    talk.append({"role": "assistant", "content": "<think>3, 3</think>Six."})
    assert learned(template, {"messages": talk}) == ["<think>3, 3</think>Six.<|im_end|>\n"]
    assert learned(template, {"messages": TALK}) == ["Four.<|im_end|>\n", "Six.<|im_end|>\n"], "these lose nothing"
    found = Labeller(tokenizer(template), template, {}).find({"messages": talk})
    assert found.changed == 1


def test_a_call_of_a_tool_is_said_by_the_assistant_and_its_result_is_not() -> None:
    template = (
        LOOP + "<|im_start|>{{ m.role }}\n{{ m.content }}{% for c in m.tool_calls or [] %}<call>{{ c.function.name }}"
    )
    template += "{% endfor %}<|im_end|>\n" + END + GENERATE + "<|im_start|>assistant\n{% endif %}"
    call = {"type": "function", "function": {"name": "sum", "arguments": {}}}
    talk = [
        TALK[1],
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "4"},
        TALK[2],
    ]
    assert learned(template, {"messages": talk}) == ["<call>sum<|im_end|>\n", "Four.<|im_end|>\n"]


# The marks of these begin one token earlier, with what the template writes before each answer and a model never says.
ONE_EARLIER = {"qwen2_5": "\u010a", "deepseekv3": "<\uff5cAssistant\uff5c>"}
SAME = ("llama3", "phi3", "gemma", "gemma3", "cohere", "cohere2", *ONE_EARLIER)


@pytest.mark.parametrize("name", SAME)
def test_the_same_is_learned_as_by_trls_own_marks(name: str) -> None:
    folder = Path(chat_template_utils.__file__).parent / "chat_templates"
    plain = (folder / f"{name}.jinja").read_text(encoding="utf-8")
    marked = (folder / f"{name}_training.jinja").read_text(encoding="utf-8")
    specials = ["<|im_start|>", "<|im_end|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>", "<|end|>"]
    specials += ["<|user|>", "<|assistant|>", "<|endoftext|>", "<start_of_turn>", "<end_of_turn>"]
    specials += ["<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>", "<|CHATBOT_TOKEN|>", "<|USER_TOKEN|>"]
    specials += ["<\uff5cend\u2581of\u2581sentence\uff5c>", "<\uff5cUser\uff5c>", "<\uff5cAssistant\uff5c>"]
    words = tokenizer(plain, specials)
    words.bos_token = "<s>"
    for talk in (TALK[1:3], TALK[1:]):
        ours = Labeller(words, plain, {}).row({"messages": talk})
        theirs = words.apply_chat_template(
            talk, chat_template=marked, return_dict=True, return_assistant_tokens_mask=True
        )
        assert ours["input_ids"] == theirs["input_ids"]
        labels = [
            token if mark else IGNORED
            for token, mark in zip(theirs["input_ids"], theirs["assistant_masks"], strict=True)
        ]
        if name in ONE_EARLIER:
            before = words.convert_tokens_to_ids(ONE_EARLIER[name])
            starts = [place for place, label in enumerate(labels) if label != IGNORED and labels[place - 1] == IGNORED]
            assert {labels[place] for place in starts} == {before}
            labels = [IGNORED if place in starts else label for place, label in enumerate(labels)]
        assert ours["labels"] == labels


def test_a_template_without_any_answer_as_it_would_be_said_is_refused() -> None:
    template = tagged("<|im_start|>", "\n", "<|im_end|>\n", content=SHORTENED)
    words = tokenizer(template)
    answer = {"role": "assistant", "content": "<think>2, 2</think>Four."}
    rows = Dataset.from_list([{"messages": [TALK[1], answer, TALK[3]]}])
    data = TrainingData(train=rows, eval=None, layout=RowLayout.CONVERSATION, thinks=False, notes=())
    with pytest.raises(UserError, match=r"training\.assistant_only_loss: .*writes every answer in another way"):
        tokenize_answers(data, words, {"assistant_only_loss": True})
    assert tokenize_answers(data, words, {}) is data
