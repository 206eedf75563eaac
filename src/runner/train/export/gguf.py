"""GGUF files for llama.cpp, made by its own converter and quantizer, each tried before it is declared good."""

import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase
from transformers.models.auto.modeling_auto import AutoModelForCausalLM
from transformers.models.auto.tokenization_auto import AutoTokenizer

from runner.errors import UserError
from runner.recipe.quantizations import GGUF_PACKAGES, LLAMA_FTYPE, UNQUANTIZED, Quantization, gguf_missing
from runner.train.export.errors import GgufFailed

logger = logging.getLogger(__name__)

_LONGEST_QUESTION = 256
"""Tokens of a prompt that a file is tried on; what comes after them is cut off."""
_CUT_UP = "I'll pay $1,234.50\n\n  for (a_b) - it's OK:\tyes?"
"""What pre-tokenizers differ over: contractions, digits, spaces, punctuation."""
_NEARLY_EXACT = 0.5
"""How far below the best a chosen token's logit may lie, in standard deviations of all logits. The converter is exact
up to the rounding of 16 bits, where a tie may fall the other way; a token chosen at random lies about four below."""


def require_gguf() -> None:
    """See that llama.cpp's tools are here.

    Raises:
        UserError: they are not.
    """
    missing = [name for name in GGUF_PACKAGES if find_spec(name) is None]
    if missing:
        raise gguf_missing(missing)


def check_gguf(model: Any, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """See that llama.cpp's tools are here and know this model and its tokenizer; to be called before training.

    Args:
        model: before or after an adapter was put on.
        tokenizer: its own.
        folder: an empty folder, for a while.

    Raises:
        UserError: they do not.
    """
    require_gguf()
    config = model.config.to_dict()
    config.pop("quantization_config", None)  # a GGUF file is made of the unquantized weights
    (folder / "config.json").write_text(json.dumps({**config, "architectures": [type(model).__name__]}, default=str))
    tokenizer.save_pretrained(folder)
    try:
        _convert(folder, folder / "vocabulary.gguf", "f16", name="check", more=["--vocab-only"])
    except GgufFailed as error:
        raise UserError(
            f"llama.cpp's converter does not take this model: {error}",
            where="export.gguf",
            remedy="leave export.gguf out; `runner export RUN --gguf` can make it later, with a converter that does",
        ) from error


class GgufMaker:
    """Makes GGUF files of one model.

    Args:
        model: the model's folder, in 16 or 32 bits, with its tokenizer.
        name: names the files, and the model in them.
        prompts: what each file is tried on, besides texts of our own.
        folder: for what is needed in between only.
    """

    def __init__(self, model: Path, *, name: str, prompts: Sequence[str], folder: Path) -> None:
        self._model = model
        self._name = name
        self._prompts = prompts
        self._folder = folder
        self._reference: Any = None

    def make(self, quantization: Quantization, folder: Path) -> None:
        """Write ``<name>-<quantization>.gguf`` into `folder`.

        Raises:
            GgufFailed: it could not be made, or does not answer as it should.
        """
        file = folder / f"{self._name}-{quantization}.gguf"
        if quantization in UNQUANTIZED:
            _convert(self._model, file, quantization, name=self._name)
        else:
            said = _llama_cpp("quantize", str(self._whole()), str(file), str(LLAMA_FTYPE[quantization])).stderr
            for line in said.splitlines():
                if "fallback quantization" in line:
                    note = "their rows are no multiple of 256, so llama.cpp took the next larger type for them"
                    logger.info(f"{quantization}: {line.rpartition('WARNING: ')[2]}: {note}")
        self._try(file, quantization)

    def _whole(self) -> Path:
        """The model as a GGUF file of 16 bits, made once."""
        file = self._folder / "whole.gguf"
        if not file.exists():
            bits = "bf16" if _dtype(self._model) == "bfloat16" else "f16"
            self._folder.mkdir(parents=True, exist_ok=True)
            part = file.with_suffix(".part")
            _convert(self._model, part, bits, name=self._name)
            part.rename(file)
        return file

    def _try(self, file: Path, quantization: Quantization) -> None:
        """Load a file and see that it cuts texts up as the tokenizer does, generates, and says what the model says."""
        tokenizer, model = self._judge()
        texts = [*self._prompts, _CUT_UP]
        questions = [
            {"text": text, "tokens": tokenizer(text)["input_ids"][:_LONGEST_QUESTION]}
            for text in texts
            if tokenizer(text)["input_ids"]
        ]
        answers = json.loads(_llama_cpp("answer", str(file), questions=questions).stdout)
        worst = 0.0
        for question, answer in zip(questions, answers, strict=True):
            if answer["tokens"] != tokenizer(question["text"], add_special_tokens=False)["input_ids"]:
                problem = (
                    f"{quantization}: llama.cpp cuts {question['text'][:40]!r} into other tokens than the tokenizer"
                )
                if _pre_tokenizer(self._model) is not None:
                    raise GgufFailed(problem)
                logger.warning(problem)
            if not answer["new_tokens"]:
                raise GgufFailed(f"{quantization}: it generates nothing after {question['text'][:40]!r}")
            worst = max(worst, _distance(model, question["tokens"], answer["new_tokens"]))
        if not worst <= _NEARLY_EXACT and quantization in (*UNQUANTIZED, "q8_0"):  # also when it is not a number
            raise GgufFailed(
                f"{quantization}: it says what the model would not (a token {worst:.1f} standard deviations below the "
                "model's own)"
            )
        megabytes = file.stat().st_size / 1e6
        logger.info(f"{quantization}: {megabytes:,.1f} MB; it loads, and says {answers[0]['text']!r}")

    def _judge(self) -> tuple[Any, Any]:
        if self._reference is None:
            model = AutoModelForCausalLM.from_pretrained(self._model, dtype="auto")
            self._reference = (AutoTokenizer.from_pretrained(self._model), model.eval())
        return self._reference  # type: ignore[no-any-return] # transformers' classes


def _distance(model: Any, tokens: list[int], new: list[int]) -> float:
    """How far below the model's own choice the worst of the new tokens lies, in standard deviations of its logits."""
    with torch.no_grad():
        logits = model(torch.tensor([tokens + new], device=model.device)).logits[0, len(tokens) - 1 : -1].float()
    chosen = logits.gather(1, torch.tensor(new, device=logits.device)[:, None])[:, 0]
    return float(((logits.max(dim=-1).values - chosen) / logits.std(dim=-1)).max())


def _convert(model: Path, file: Path, bits: str, *, name: str, more: Sequence[str] = ()) -> None:
    """Run llama.cpp's converter. A tokenizer of one's own is declared to it, where its kind can be seen."""
    declared = _pre_tokenizer(model)
    declaration = [] if declared is None else ["--pre-tokenizer", declared]
    # By a name that is always the same: the converter reads sizes and versions out of the folder's, which is random.
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        named = Path(folder, "model")
        named.symlink_to(model.resolve(), target_is_directory=True)
        _llama_cpp("convert", str(named), str(file), "--type", bits, "--name", name, *declaration, *more)


def _pre_tokenizer(model: Path) -> str | None:
    """llama.cpp's name of a tokenizer's pre-tokenizer, for those that it does not know by their tokens.

    It recognizes published tokenizers by how they cut up one text. A byte-level one with GPT-2's own rule for words, as
    `tokenizers` trains them, is what it calls ``gpt-2``. None: it is something else.
    """
    try:
        tokenizer = json.loads((model / "tokenizer.json").read_bytes())
    except (OSError, ValueError):
        return None
    rule = tokenizer.get("pre_tokenizer") or {}
    plain = rule.get("type") == "ByteLevel" and rule.get("use_regex", True) and not rule.get("add_prefix_space")
    return "gpt-2" if plain and tokenizer.get("normalizer") is None else None


def _dtype(model: Path) -> str:
    config = json.loads((model / "config.json").read_bytes())
    return str(config.get("dtype") or config.get("torch_dtype"))


def _llama_cpp(*arguments: str, questions: Any = None) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-P", "-m", "runner.train.export.llama_cpp", "--parent", str(os.getpid()), *arguments]
    done = subprocess.run(
        command,
        input=None if questions is None else json.dumps(questions),
        stdin=subprocess.DEVNULL if questions is None else None,
        capture_output=True,
        text=True,
        errors="replace",
        # The trained model has the GPU's memory; a conversion needs none.
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
    )
    if done.returncode != 0:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        logger.info("\n".join(lines[-20:]))
        reason = lines[-1] if lines else f"it ended with {done.returncode} and said nothing"
        raise GgufFailed(reason.removeprefix("ERROR:hf-to-gguf:").removeprefix("NotImplementedError: "))
    return done
