"""What is made on the spot: real text, a working tokenizer, the same bytes each time."""

import hashlib
import os
import subprocess
import sys

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from runner.errors import UserError
from runner.recipe.inputs.references import BUILTIN_DATA, BUILTIN_MODELS
from runner.train.builtin.catalog import builtin_dataset, materialize
from runner.train.builtin.docstrings import docstrings


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return materialize("builtin:tiny-llama", tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def tokenizer(folder):
    return AutoTokenizer.from_pretrained(folder)


def bytes_of(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_there_are_thousands_of_examples_and_no_completion_twice():
    examples = docstrings()
    assert len(examples) > 3000
    assert len({example["completion"] for example in examples}) == len(examples)


def test_an_example_asks_what_something_does_and_answers_in_its_own_words():
    assert {
        "prompt": "Function shlex.quote(s):",
        "completion": " Return a shell-escaped version of the string *s*.",
    } in docstrings()


def test_keyword_only_and_collecting_parameters_stand_as_in_a_signature():
    prompts = {example["prompt"] for example in docstrings()}
    assert "Function textwrap.wrap(text, width, **kwargs):" in prompts
    assert "Function heapq.merge(*iterables, key, reverse):" in prompts


def test_each_completion_is_one_line_after_a_space():
    """So that its first token never melts into the prompt's last."""
    for example in docstrings():
        assert example["completion"][0] == " " != example["completion"][1]
        assert "\n" not in example["completion"]
        assert example["prompt"].endswith(":")


def test_another_process_finds_the_same_examples():
    program = (
        "import hashlib; from runner.train.builtin.docstrings import docstrings;"
        "print(hashlib.sha256(repr(docstrings()).encode()).hexdigest())"
    )
    other = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, "PYTHONHASHSEED": "7"}, capture_output=True, check=True
    )
    assert other.stdout.decode().strip() == hashlib.sha256(repr(docstrings()).encode()).hexdigest()


def test_the_model_is_made_of_the_same_bytes_twice(folder, tmp_path):
    assert bytes_of(materialize("builtin:tiny-llama", tmp_path)) == bytes_of(folder)


@pytest.mark.thorough
def test_two_processes_at_once_leave_one_whole_folder_of_the_same_bytes_and_nothing_else(folder, tmp_path):
    program = (
        "import sys, pathlib; from runner.train.builtin.catalog import materialize;"
        "print(materialize('builtin:tiny-llama', pathlib.Path(sys.argv[1])).name)"
    )
    others = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for seed in ("7", "8")
    ]
    # The last line: DeepSpeed speaks to standard output when it is imported.
    assert [other.communicate(timeout=600)[0].split()[-1] for other in others] == [folder.name] * 2
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]
    assert bytes_of(tmp_path / folder.name) == bytes_of(folder)


def test_it_is_made_once_and_found_from_then_on(folder):
    before = folder.stat().st_ino
    assert materialize("builtin:tiny-llama", folder.parent) == folder
    assert folder.stat().st_ino == before


def test_what_was_cut_short_is_never_taken_for_a_model(tmp_path, folder, monkeypatch):
    def cut_short(unfinished):
        (unfinished / "config.json").write_text("{")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("runner.train.builtin.tiny_llama.save_tiny_llama", cut_short)
    with pytest.raises(OSError, match="No space left"):
        materialize("builtin:tiny-llama", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_making_it_leaves_torchs_random_stream_alone(tmp_path):
    import torch

    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    materialize("builtin:tiny-llama", tmp_path)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("text", ["Return the sum.", "größer \U0001f600\n\tx  y", "<s>", ""])
def test_any_text_comes_back_from_the_tokenizer(tokenizer, text):
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_the_prompts_tokens_are_the_beginning_of_the_whole_texts(tokenizer):
    for example in docstrings()[::50]:
        prompt = tokenizer(example["prompt"])["input_ids"]
        assert tokenizer(example["prompt"] + example["completion"])["input_ids"][: len(prompt)] == prompt


def test_messages_go_through_the_chat_template_with_the_answer_marked(tokenizer):
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Return"}]
    text = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nReturn<|im_end|>\n"
    assert tokenizer.apply_chat_template(messages, tokenize=False) == text
    encoded = tokenizer.apply_chat_template(messages, return_dict=True, return_assistant_tokens_mask=True)
    marked = [token for token, mask in zip(encoded["input_ids"], encoded["assistant_masks"], strict=True) if mask]
    assert tokenizer.decode(marked) == "Return<|im_end|>"


def test_the_model_loads_and_knows_its_special_tokens(folder, tokenizer):
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert model.config.model_type == "llama"
    assert model.config.vocab_size == len(tokenizer)
    assert model.generation_config.eos_token_id == [
        tokenizer.eos_token_id,
        tokenizer.convert_tokens_to_ids("<|im_end|>"),
    ]


@pytest.mark.parametrize("make", [lambda path, folder: builtin_dataset(path, where="data.train.0.path"), materialize])
def test_an_unknown_name_is_a_mistake_that_lists_what_there_is(make, tmp_path):
    with pytest.raises(UserError, match="builtin:"):
        make("builtin:nothing", tmp_path)


def test_what_a_recipe_may_name_is_what_can_be_made(tmp_path):
    for name in BUILTIN_DATA:
        assert builtin_dataset(f"builtin:{name}", where="data.train.0.path")
    for name in BUILTIN_MODELS:
        assert materialize(f"builtin:{name}", tmp_path).is_dir()
