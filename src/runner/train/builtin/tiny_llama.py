"""A small Llama and its tokenizer, made from `docstrings`, for a first run without a network."""

from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerFast
from transformers.models.llama import LlamaConfig, LlamaForCausalLM

from runner.train.builtin.docstrings import docstrings

VOCABULARY = 2048
CONTEXT = 512

_BEGIN, _END, _PADDING, _TURN_START, _TURN_END = "<s>", "</s>", "<pad>", "<|im_start|>", "<|im_end|>"
_SEED = 42

# ChatML, as Qwen and many others have it: messages work with the built-in model as with a real one.
# `assistant_only_loss` needs the generation marks.
_CHAT_TEMPLATE = (
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message['role'] + '\\n' }}"
    "{%- if message['role'] == 'assistant' %}"
    "{%- generation %}{{- message['content'] + '<|im_end|>' }}{%- endgeneration %}"
    "{%- else %}{{- message['content'] + '<|im_end|>' }}{%- endif %}"
    "{{- '\\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)


def save_tiny_llama(folder: Path) -> None:
    """Write the model with its random weights and its tokenizer to `folder`. The same Python writes the same bytes."""
    tokenizer = _tokenizer()
    tokenizer.save_pretrained(folder)
    _model(tokenizer).save_pretrained(folder)


def _tokenizer() -> PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer, trained on the docstrings: it can encode any text."""
    bpe = Tokenizer(BPE())
    bpe.pre_tokenizer = ByteLevel(add_prefix_space=False)
    bpe.decoder = ByteLevelDecoder()
    trainer = BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[AddedToken(token, special=True) for token in (_BEGIN, _END, _PADDING, _TURN_START, _TURN_END)],
        initial_alphabet=sorted(ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator((example["prompt"] + example["completion"] for example in docstrings()), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token=_BEGIN,
        eos_token=_END,
        pad_token=_PADDING,
        extra_special_tokens=[_TURN_START, _TURN_END],
        chat_template=_CHAT_TEMPLATE,
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )


def _model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        model = LlamaForCausalLM(config)
    # A turn's end ends a generation too, since a chat never shows the model the text's end.
    model.generation_config.eos_token_id = [tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids(_TURN_END)]
    return model
