"""A chat with a fine-tuned model, as a Gradio Space: this file is the Space's ``app.py``.

It stands alone (runner is not installed there), and reads ``space.json`` beside it:
``model`` (a repository of the hub, or a folder beside this file), ``revision``, ``title`` and ``plain`` (the model goes
on with what is said, without a chat template). Try it on your own machine: ``python app.py``. If the model's repository
is private, the Space needs a secret of its own, ``HF_TOKEN``, that may read it.
"""

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

import gradio
import torch
from transformers import TextIteratorStreamer
from transformers.models.auto.modeling_auto import AutoModelForCausalLM
from transformers.models.auto.tokenization_auto import AutoTokenizer

_MOST_TOKENS = 2048
_MOST_CHARACTERS = 100_000


class Chat:
    """The model and its tokenizer; it answers one conversation at a time.

    Args:
        model: a repository of the hub, or a folder.
        revision: the repository's commit.
        plain: whether the model goes on with what is said, without a chat template.
    """

    def __init__(self, model: str, *, revision: str | None, plain: bool) -> None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self._tokenizer: Any = AutoTokenizer.from_pretrained(model, revision=revision)
        # An adapter's folder or repository too: transformers loads its base, and the adapter onto it.
        loaded: Any = AutoModelForCausalLM.from_pretrained(model, revision=revision, dtype="auto")
        self._model = loaded.to(device).eval()
        self._plain = plain or self._tokenizer.chat_template is None
        self._lock = threading.Lock()

    def answer(
        self, message: str, history: list[dict[str, Any]], temperature: float, max_new_tokens: float
    ) -> Iterator[str]:
        """Yield the answer as it grows.

        Args:
            message: what was asked.
            history: the conversation before, as gradio keeps it.
            temperature: 0 for the most likely answer.
            max_new_tokens: the longest answer, in tokens.
        """
        messages = [*map(_plain, history), {"role": "user", "content": message}]
        if sum(len(turn["content"]) for turn in messages) > _MOST_CHARACTERS:
            raise gradio.Error(f"more than {_MOST_CHARACTERS:,} characters: begin a new conversation")
        sampling: dict[str, Any] = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
        if temperature > 0:
            sampling = {"do_sample": True, "temperature": float(min(temperature, 2))}
        streamer: Any = TextIteratorStreamer(self._tokenizer, skip_prompt=True, skip_special_tokens=True)
        errors: list[Exception] = []

        def generate() -> None:
            try:
                with torch.no_grad():
                    self._model.generate(
                        **self._encode(messages),
                        **sampling,
                        streamer=streamer,
                        max_new_tokens=int(min(max(max_new_tokens, 1), _MOST_TOKENS)),
                        pad_token_id=self._tokenizer.pad_token_id or self._tokenizer.eos_token_id,
                    )
            except Exception as error:  # noqa: BLE001 (raised again in the thread that reads the answer)
                errors.append(error)
                streamer.end()

        with self._lock:
            thread = threading.Thread(target=generate, daemon=True)
            thread.start()
            text = ""
            for piece in streamer:
                text += piece
                yield text
            thread.join()
        if errors:
            raise gradio.Error(f"the model cannot answer this: {errors[0]}") from errors[0]
        if not text:
            yield "*(nothing)*"  # gradio draws no bubble around an empty answer

    def _encode(self, messages: list[dict[str, str]]) -> Any:
        if self._plain:
            encoded = self._tokenizer(messages[-1]["content"], return_tensors="pt")
        else:
            text = self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
            encoded = self._tokenizer(text, return_tensors="pt", add_special_tokens=False)
        encoded.pop("token_type_ids", None)
        return encoded.to(self._model.device)


def _plain(message: dict[str, Any]) -> dict[str, str]:
    """Return a message as chat templates take it: gradio adds keys, and gives the content as a list of parts."""
    content = message["content"]
    if isinstance(content, list):
        content = "".join(str(part.get("text", "")) for part in content)
    return {"role": str(message["role"]), "content": str(content)}


def page(folder: Path) -> Any:
    """Load the model that ``space.json`` in `folder` names, and return the page."""
    settings = json.loads((folder / "space.json").read_text(encoding="utf-8"))
    local = folder / settings["model"]
    model = str(local) if local.is_dir() else settings["model"]
    chat = Chat(model, revision=settings["revision"], plain=settings["plain"])
    return gradio.ChatInterface(
        chat.answer,
        title=settings["title"],
        api_name="chat",
        additional_inputs=[
            gradio.Slider(0, 2, 0.7, step=0.05, label="temperature"),
            gradio.Slider(1, _MOST_TOKENS, 256, step=1, label="token limit"),
        ],
        analytics_enabled=False,
    )


if __name__ == "__main__":
    page(Path(__file__).resolve().parent).queue(max_size=32).launch()
