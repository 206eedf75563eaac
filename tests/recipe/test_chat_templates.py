"""Chat templates by name: what they write, to the letter, and which part of it the loss sees."""

from pathlib import Path

import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from runner.recipe.chat_templates import template_file, template_names

TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "One?"},
    {"role": "assistant", "content": "Uno."},
    {"role": "user", "content": "Two?"},
    {"role": "assistant", "content": "Dos."},
]

WRITTEN = {
    "chatml": "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nOne?<|im_end|>\n<|im_start|>assistant\n"
    "Uno.<|im_end|>\n<|im_start|>user\nTwo?<|im_end|>\n<|im_start|>assistant\nDos.<|im_end|>\n",
    "gemma": "<s><start_of_turn>user\nBe brief.\n\nOne?<end_of_turn>\n<start_of_turn>model\nUno.<end_of_turn>\n"
    "<start_of_turn>user\nTwo?<end_of_turn>\n<start_of_turn>model\nDos.<end_of_turn>\n",
    "llama3": "<s><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nOne?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nUno.<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nTwo?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nDos.<|eot_id|>",
    "mistral": "<s>[INST] Be brief.\n\nOne? [/INST] Uno.</s>[INST] Two? [/INST] Dos.</s>",
    "phi3": "<|system|>\nBe brief.<|end|>\n<|user|>\nOne?<|end|>\n<|assistant|>\nUno.<|end|>\n"
    "<|user|>\nTwo?<|end|>\n<|assistant|>\nDos.<|end|>\n</s>",
    "zephyr": "<|system|>\nBe brief.</s>\n<|user|>\nOne?</s>\n<|assistant|>\nUno.</s>\n"
    "<|user|>\nTwo?</s>\n<|assistant|>\nDos.</s>\n",
}
ANSWERS = {
    "chatml": ["Uno.<|im_end|>", "Dos.<|im_end|>"],
    "gemma": ["Uno.<end_of_turn>", "Dos.<end_of_turn>"],
    "llama3": ["Uno.<|eot_id|>", "Dos.<|eot_id|>"],
    "mistral": [" Uno.</s>", " Dos.</s>"],
    "phi3": ["Uno.<|end|>", "Dos.<|end|>"],
    "zephyr": ["Uno.</s>", "Dos.</s>"],
}
PROMPTS = {
    "chatml": "<|im_start|>assistant\n",
    "gemma": "<start_of_turn>model\n",
    "llama3": "<|start_header_id|>assistant<|end_header_id|>\n\n",
    "mistral": " [/INST]",
    "phi3": "<|assistant|>\n",
    "zephyr": "<|assistant|>\n",
}


def rendered(name: str, talk: list[dict[str, str]], *, prompt: bool = False) -> tuple[str, list[str]]:
    file = template_file(name)
    assert file is not None
    texts, spans = render_jinja_template(
        conversations=[talk],
        chat_template=file.read_text(),
        return_assistant_tokens_mask=True,
        add_generation_prompt=prompt,
        bos_token="<s>",
        eos_token="</s>",
    )
    return texts[0], [texts[0][start:end] for start, end in spans[0]]


def test_every_template_is_written_down_here() -> None:
    assert template_names() == sorted(WRITTEN) == sorted(ANSWERS) == sorted(PROMPTS)


@pytest.mark.parametrize("name", sorted(WRITTEN))
def test_a_conversation_is_written_to_the_letter_and_the_answers_are_marked(name: str) -> None:
    text, answers = rendered(name, TALK)
    assert text == WRITTEN[name]
    assert answers == ANSWERS[name]


@pytest.mark.parametrize("name", sorted(WRITTEN))
def test_a_prompt_is_the_beginning_of_the_conversation_that_goes_on_from_it(name: str) -> None:
    prompt, _ = rendered(name, TALK[:4], prompt=True)
    assert prompt.endswith(PROMPTS[name])
    assert WRITTEN[name].startswith(prompt)


def test_no_name_leaves_the_folder() -> None:
    assert template_file("../chat_templates/chatml") is None
    assert template_file("chatml.jinja") is None
    assert isinstance(template_file("gemma"), Path)
