"""Ollama's Modelfile: its template renders what the model's own does, and answers end where the model ends them."""

from pathlib import Path
from typing import Any

import pytest
import trl
from transformers import AutoTokenizer

from runner.train.builtin.catalog import materialize
from runner.train.export.modelfile import OtherForm, go_template, modelfile, recognise, stop_words, write_modelfile
from support.go_template import go_render, template_of

FAMILIES = {
    "builtin": (None, "<|im_end|>"),
    "qwen2_5": ("qwen2_5", "<|im_end|>"),
    "qwen3": ("qwen3", "<|im_end|>"),
    "qwen3_6": ("qwen3_6", "<|im_end|>"),
    "llama3": ("llama3", "<|eot_id|>"),
    "llama3_2": ("llama3_2", "<|eot_id|>"),
    "gemma": ("gemma", "<end_of_turn>"),
    "gemma3": ("gemma3", "<end_of_turn>"),
    "phi3": ("phi3", "<|end|>"),
    "phi3_5": ("phi3_5", "<|end|>"),
    "cohere": ("cohere", "<|END_OF_TURN_TOKEN|>"),
    "deepseek_r1_distill": ("deepseek_r1_distill", "<｜end▁of▁sentence｜>"),  # noqa: RUF001
    "glm4moe": ("glm4moe", "<|user|>"),
    "gptoss": ("gptoss", "<|end|>"),
    "lfm2": ("lfm2", "<|im_end|>"),
    "llama2": (
        "{% if messages[0].role == 'system' %}{% set system = '<<SYS>>\n' + messages[0].content + '\n<</SYS>>\n\n' %}"
        "{% set messages = messages[1:] %}{% else %}{% set system = '' %}{% endif %}{% for m in messages %}"
        "{% if m.role == 'user' %}{{ bos_token + '[INST] ' + (system if loop.first else '') + m.content + ' [/INST]' }}"
        "{% else %}{{ ' ' + m.content + ' ' + eos_token }}{% endif %}{% endfor %}",
        "</s>",
    ),
    "words": (
        "{% for m in messages %}{{ '### ' + m.role + ': \"' + m.content + '\"\n\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '### assistant: \"' }}{% endif %}",
        '"',
    ),
}
"""By name: TRL's copy of the family's template, or one of the same form written here; and what ends an answer."""

PLACED = (
    "{% for m in messages %}{% if m.role == 'user' %}{{ '[INST] ' + ('last: ' if loop.last else '') + m.content "
    "+ '[/INST]' }}{% elif m.role == 'assistant' %}{{ m.content + eos_token }}{% endif %}{% endfor %}"
)
"""A template that treats the last question otherwise."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(materialize("builtin:tiny-llama", tmp_path_factory.mktemp("builtin")))


@pytest.fixture
def tokenizer(model: Path) -> Any:
    return AutoTokenizer.from_pretrained(model)


def with_template(tokenizer: Any, template: str | None) -> Any:
    if template is not None:
        file = Path(trl.__file__).parent / "chat_templates" / f"{template[:40]}.jinja"
        tokenizer.chat_template = file.read_text() if template.isidentifier() else template
    return tokenizer


def conversation(questions: int, *, system: bool) -> list[dict[str, str]]:
    messages = [{"role": "system", "content": "Answer in one {{ word }}."}] if system else []
    for number in range(questions):
        messages.append({"role": "user", "content": f'What is {number} + {number}?\n\nSay "it".'})
        messages.append({"role": "assistant", "content": f"It is {2 * number}."})
    return messages[:-1]


def rendered(tokenizer: Any, messages: list[dict[str, str]], **options: Any) -> str:
    """What the model's own template makes, without the BOS token that llama.cpp adds to every text."""
    text = str(tokenizer.apply_chat_template(messages, tokenize=False, **options))
    adds_bos = tokenizer("a")["input_ids"][0] == tokenizer.bos_token_id
    return text.removeprefix(tokenizer.bos_token) if adds_bos else text


@pytest.mark.parametrize("family", FAMILIES)
def test_the_go_template_renders_what_the_models_own_does(family: str, tokenizer: Any, tmp_path: Path) -> None:
    template, end = FAMILIES[family]
    with_template(tokenizer, template)
    assert write_modelfile(tmp_path / "small-q8_0.gguf", tmp_path, tokenizer) is None
    text = (tmp_path / "Modelfile").read_text()
    assert "\nFROM ./small-q8_0.gguf\n" in text
    takes_system = family != "gemma"
    for system in (False, True) if takes_system else (False,):
        for questions in (1, 2, 5):
            messages = conversation(questions, system=system)
            expected = rendered(tokenizer, messages, add_generation_prompt=True)
            assert go_render(template_of(text), messages) == expected, (system, questions)
    stops = [line.removeprefix("PARAMETER stop ") for line in text.splitlines() if line.startswith("PARAMETER stop ")]
    assert {stop.strip('"') or '"' for stop in stops} >= {tokenizer.eos_token, end}, stops


def test_an_answer_that_was_begun_stays_open(tokenizer: Any) -> None:
    """As transformers' `continue_final_message` leaves it."""
    messages = [*conversation(1, system=True), {"role": "assistant", "content": "It is"}]
    expected = rendered(tokenizer, messages, continue_final_message=True)
    assert go_render(go_template(recognise(tokenizer)), messages) == expected


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (PLACED, "renders a message otherwise by its place"),
        ("{% for m in messages %}{{ m.role }}{% endfor %}", "the content of a user message is left out"),
        ("{{ messages[-1].content }}", "the content of a user message is left out"),
        (
            "{% if messages | length > 1 %}{{ raise_exception('one at a time') }}{% endif %}{{ messages[0].content }}",
            "refuses a question and an answer (one at a time)",
        ),
    ],
)
def test_a_template_of_another_form_is_left_out_in_one_line(
    template: str, said: str, tokenizer: Any, tmp_path: Path
) -> None:
    with_template(tokenizer, template)
    with pytest.raises(OtherForm):
        recognise(tokenizer)
    why = write_modelfile(tmp_path / "small.gguf", tmp_path, tokenizer)
    assert why is not None
    assert said in why
    text = (tmp_path / "Modelfile").read_text()
    assert 'TEMPLATE "' not in text
    (line,) = [line for line in text.splitlines() if line.startswith("# No TEMPLATE: ")]
    assert said in line
    assert f'PARAMETER stop "{tokenizer.eos_token}"' in text


def test_a_model_without_a_template_has_none(tokenizer: Any, tmp_path: Path) -> None:
    tokenizer.chat_template = None
    assert write_modelfile(tmp_path / "small.gguf", tmp_path, tokenizer) is None
    assert "TEMPLATE" not in (tmp_path / "Modelfile").read_text()


def test_sampling_and_further_eos_tokens_come_from_the_generation_config(tokenizer: Any) -> None:
    turns = recognise(tokenizer)
    assert stop_words(tokenizer, turns, eos_ids=[tokenizer.bos_token_id])[:2] == ["</s>", "<s>"]
    given = {"do_sample": True, "temperature": 0.6, "top_k": 20, "repetition_penalty": 1.1, "top_p": None}
    text = modelfile("a.gguf", turns, stops=[], generation=given)
    assert [line for line in text.splitlines() if line.startswith("PARAMETER")] == [
        "PARAMETER temperature 0.6",
        "PARAMETER top_k 20",
        "PARAMETER repeat_penalty 1.1",
    ]
    assert "PARAMETER" not in modelfile("a.gguf", turns, stops=[], generation={**given, "do_sample": False})
