"""GGUF files for llama.cpp, made by its own converter and quantizer, and each tried after it is made."""

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
from runner.train.export.modelfile import MODELFILE, write_modelfile

logger = logging.getLogger(__name__)

_MAX_QUESTION_TOKENS = 256
"""The length at which a prompt that a file is tried on is cut off."""
_PRE_TOKENIZER_TEXT = "I'll pay $1,234.50\n\n  for (a_b) - it's OK:\tyes?"
"""A text that pre-tokenizers split differently: contractions, digits, spaces, punctuation."""
_LOGIT_TOLERANCE = 0.5
"""How far a chosen token's logit may be below the best, in standard deviations of all logits. The converter is exact up
to the rounding of 16 bits, which may decide a tie the other way; a token chosen at random is about four below."""


def require_gguf() -> None:
    """Check that llama.cpp's tools are installed.

    Raises:
        UserError: they are not.
    """
    missing = [name for name in GGUF_PACKAGES if find_spec(name) is None]
    if missing:
        raise gguf_missing(missing)


def check_gguf(model: Any, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Check before training that llama.cpp's tools are installed and support this model and its tokenizer.

    Args:
        model: the model, without or with an adapter.
        tokenizer: its tokenizer.
        folder: an empty folder for temporary files.

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
        prompts: texts that each file is tried on, besides one of our own.
        folder: a folder for intermediate files.
    """

    def __init__(self, model: Path, *, name: str, prompts: Sequence[str], folder: Path) -> None:
        self._model = model
        self._name = name
        self._prompts = prompts
        self._folder = folder
        self._reference: Any = None

    def make(self, quantization: Quantization, folder: Path) -> None:
        """Write ``<name>-<quantization>.gguf`` into `folder`, with a `Modelfile` for Ollama beside it.

        Raises:
            GgufFailed: it could not be made, or does not answer as it should.
        """
        file = folder / f"{self._name}-{quantization}.gguf"
        if quantization in UNQUANTIZED:
            _convert(self._model, file, quantization, name=self._name)
        else:
            output = _llama_cpp(
                "quantize", str(self._unquantized_file()), str(file), str(LLAMA_FTYPE[quantization])
            ).stderr
            for line in output.splitlines():
                if "fallback quantization" in line:
                    note = "their rows are not multiples of 256, so llama.cpp took the next larger type for them"
                    logger.info(f"{quantization}: {line.rpartition('WARNING: ')[2]}: {note}")
        self._try(file, quantization)
        why = write_modelfile(file, self._model, self._reference_model()[0])
        if why is not None:
            logger.info(f"{MODELFILE} for Ollama: without a TEMPLATE, since {why}")

    def _unquantized_file(self) -> Path:
        """Return the model as a GGUF file of 16 bits, made once."""
        file = self._folder / "unquantized.gguf"
        if not file.exists():
            bits = "bf16" if _dtype(self._model) == "bfloat16" else "f16"
            self._folder.mkdir(parents=True, exist_ok=True)
            part = file.with_suffix(".part")
            _convert(self._model, part, bits, name=self._name)
            part.rename(file)
        return file

    def _try(self, file: Path, quantization: Quantization) -> None:
        """Load a file and check that it tokenizes like the tokenizer, generates, and chooses tokens like the model."""
        tokenizer, model = self._reference_model()
        texts = [*self._prompts, _PRE_TOKENIZER_TEXT]
        questions = [
            {"text": text, "tokens": tokenizer(text)["input_ids"][:_MAX_QUESTION_TOKENS]}
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
        if not worst <= _LOGIT_TOLERANCE and quantization in (*UNQUANTIZED, "q8_0"):  # also when it is not a number
            raise GgufFailed(
                f"{quantization}: it says what the model would not (a token {worst:.1f} standard deviations below the "
                "model's own)"
            )
        megabytes = file.stat().st_size / 1e6
        logger.info(f"{quantization}: {megabytes:,.1f} MB; it loads, and says {answers[0]['text']!r}")

    def _reference_model(self) -> tuple[Any, Any]:
        if self._reference is None:
            model = AutoModelForCausalLM.from_pretrained(self._model, dtype="auto")
            self._reference = (AutoTokenizer.from_pretrained(self._model), model.eval())
        return self._reference  # type: ignore[no-any-return] # transformers' classes


def _distance(model: Any, tokens: list[int], new: list[int]) -> float:
    """Return how far the worst new token is below the model's own choice, in standard deviations of its logits."""
    with torch.no_grad():
        logits = model(torch.tensor([tokens + new], device=model.device)).logits[0, len(tokens) - 1 : -1].float()
    chosen = logits.gather(1, torch.tensor(new, device=logits.device)[:, None])[:, 0]
    return float(((logits.max(dim=-1).values - chosen) / logits.std(dim=-1)).max())


def _convert(model: Path, file: Path, bits: str, *, name: str, more: Sequence[str] = ()) -> None:
    """Run llama.cpp's converter, and tell it the pre-tokenizer if `_pre_tokenizer` recognizes it."""
    pre_tokenizer = _pre_tokenizer(model)
    declaration = [] if pre_tokenizer is None else ["--pre-tokenizer", pre_tokenizer]
    # Under a fixed name: the converter reads sizes and versions from the folder's name, which is random.
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        link = Path(folder, "model")
        link.symlink_to(model.resolve(), target_is_directory=True)
        _llama_cpp("convert", str(link), str(file), "--type", bits, "--name", name, *declaration, *more)


def _pre_tokenizer(model: Path) -> str | None:
    """Return llama.cpp's name for a pre-tokenizer that it does not recognize itself; None if it is none that we know.

    llama.cpp recognizes published tokenizers by how they tokenize one text. A byte-level one with GPT-2's rule for
    words, as `tokenizers` trains them, is its ``gpt-2``.
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
        # The trained model takes up the GPU's memory, and a conversion needs none.
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
    )
    if done.returncode != 0:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        logger.info("\n".join(lines[-20:]))
        reason = lines[-1] if lines else f"it ended with {done.returncode} and said nothing"
        raise GgufFailed(reason.removeprefix("ERROR:hf-to-gguf:").removeprefix("NotImplementedError: "))
    return done
