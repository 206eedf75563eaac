"""A run's model and its base, either of which answers in a conversation, piece by piece."""

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import StoppingCriteria, StoppingCriteriaList, TextIteratorStreamer
from transformers.models.auto.tokenization_auto import AutoTokenizer

from runner.recipe.formats.layouts import RowLayout
from runner.recipe.recipe import Recipe
from runner.runs.attempts import newest_hardware
from runner.runs.checkpoints.choice import no_model
from runner.runs.checkpoints.origins import first_start
from runner.runs.layout import run_key
from runner.runs.records import last_start, run_document, run_recipe, run_result
from runner.storage.commit import fetch
from runner.storage.store import Store
from runner.train.finite import require_finite_weights
from runner.train.models.loading import load_model

Message = Mapping[str, str]
"""``role`` and ``content``."""

_PLAIN = tuple(layout.value for layout in RowLayout if not layout.is_conversational)

_GREEDY: dict[str, Any] = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}


@dataclass(frozen=True, kw_only=True)
class TunedModel:
    """A fine-tuned model on this machine, and where it comes from."""

    recipe: Recipe
    """The stage that trained it."""
    folder: Path
    """The model or adapter, with its tokenizer."""
    base: str | None
    """The key of the artifact that the stage started from; None for the recipe's own model."""


class ModelPair:
    """The fine-tuned model and its base. If the run made an adapter, they share the base's weights.

    Args:
        store: the store that holds the run.
        run_id: a run that has succeeded.
        cache: a folder for downloaded artifacts and built-in models.
        with_base: whether the base answers too; without it, memory for one model is enough for any run.
        tuned: a model of the run to talk to; None for the one that it ended with.

    Raises:
        UserError: the run has no model, its base cannot be loaded on this machine, or its weights are not finite.
    """

    def __init__(
        self, store: Store, run_id: str, cache: Path, *, with_base: bool = True, tuned: TunedModel | None = None
    ) -> None:
        folder = cache / "chat" / run_id
        known = _ended_with(store, run_id, folder) if tuned is None else tuned
        self._load(store, run_id, folder, known, cache=cache, with_base=with_base)

    def _load(
        self, store: Store, run_id: str, folder: Path, known: TunedModel, *, cache: Path, with_base: bool
    ) -> None:
        recipe, tuned, base = known.recipe, known.folder, known.base
        require_finite_weights(tuned, run_id)
        if base is not None:
            recipe = _with_model(recipe, _fetch_artifact(store, run_key(run_id, base), folder))
        self._tokenizer = AutoTokenizer.from_pretrained(tuned)
        hardware = newest_hardware(store, run_id, known.recipe.stage_name)
        self.layout = None if hardware is None else hardware.get("layout")
        self._lock = threading.Lock()
        if (tuned / "adapter_config.json").is_file():
            model, _ = load_model(recipe, cache_dir=cache)
            self._tuned: Any = PeftModel.from_pretrained(model, str(tuned)).eval()
            self._base: Any = None
        else:
            self._tuned = load_model(_with_model(recipe, tuned), cache_dir=cache)[0].eval()
            self._base = load_model(recipe, cache_dir=cache)[0].eval() if with_base else None

    @property
    def is_plain(self) -> bool:
        """Whether it was trained on text without turns, so that a question goes to it as it is."""
        return self.layout in _PLAIN or self._tokenizer.chat_template is None

    def stream_answer(
        self,
        messages: Sequence[Message],
        *,
        base: bool,
        temperature: float,
        max_new_tokens: int,
        stop: threading.Event | None = None,
    ) -> Iterator[str]:
        """Yield the answer to a conversation as it grows: each text begins with the one before it.

        Args:
            messages: of user and assistant, the last one a user's.
            base: whether the base answers instead of the fine-tuned model.
            temperature: 0 for the most likely answer.
            max_new_tokens: the longest answer, in tokens.
            stop: set it to end the answer.
        """
        with self._lock:
            stops = [threading.Event(), *([stop] if stop else [])]
            yield from self._answer(messages, base, temperature, max_new_tokens, stops)

    def _answer(
        self,
        messages: Sequence[Message],
        base: bool,
        temperature: float,
        max_new_tokens: int,
        stops: Sequence[threading.Event],
    ) -> Iterator[str]:
        model = self._base if base and self._base is not None else self._tuned
        streamer: Any = TextIteratorStreamer(self._tokenizer, skip_prompt=True, skip_special_tokens=True)
        sampling = {"do_sample": True, "temperature": temperature} if temperature > 0 else _GREEDY
        tokens = self._encode(messages).to(model.device)
        errors: list[BaseException] = []

        def generate() -> None:
            as_base = self._tuned.disable_adapter() if base and self._base is None else contextlib.nullcontext()
            try:
                with as_base, torch.no_grad():
                    model.generate(
                        **tokens,
                        **sampling,
                        streamer=streamer,
                        max_new_tokens=max_new_tokens,
                        pad_token_id=self._tokenizer.pad_token_id or self._tokenizer.eos_token_id,
                        stopping_criteria=StoppingCriteriaList([_Stop(stops)]),
                    )
            except Exception as error:  # noqa: BLE001 (raised again in the thread that reads the answer)
                errors.append(error)
                streamer.end()

        thread = threading.Thread(target=generate, name="answer", daemon=True)
        thread.start()
        text = ""
        try:
            for piece in streamer:
                text += piece
                yield text
        finally:
            stops[0].set()  # the caller reads no further
            thread.join()
        if errors:
            raise errors[0]

    def _encode(self, messages: Sequence[Message]) -> Any:
        if self.is_plain:
            # Text goes on from what there is; a prompt was never trained with another one before it.
            shown = messages if self.layout in (None, RowLayout.TEXT.value) else messages[-1:]
            text = "".join(message["content"] for message in shown)
            encoded = self._tokenizer(text, return_tensors="pt")
        else:
            text = str(
                self._tokenizer.apply_chat_template(
                    [dict(message) for message in messages], tokenize=False, add_generation_prompt=True
                )
            )
            encoded = self._tokenizer(text, return_tensors="pt", add_special_tokens=False)
        encoded.pop("token_type_ids", None)
        return encoded


class _Stop(StoppingCriteria):
    def __init__(self, stops: Sequence[threading.Event]) -> None:
        self._stops = stops

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
        stopped = any(stop.is_set() for stop in self._stops)
        return torch.full((input_ids.shape[0],), stopped, dtype=torch.bool, device=input_ids.device)


def _ended_with(store: Store, run_id: str, folder: Path) -> TunedModel:
    """Fetch the model that a run ended with.

    Raises:
        UserError: it has none.
    """
    recipe = run_recipe(run_document(store, run_id))
    result = run_result(store, run_id)
    artifacts = {} if result is None else dict(result.get("artifacts", {}))
    if "model" not in artifacts:
        raise no_model(store, run_id)
    model = _fetch_artifact(store, run_key(run_id, artifacts["model"]), folder)
    stages = None if result is None else result.get("stages")
    if result is None or not recipe.stages or not stages:
        return TunedModel(recipe=recipe.in_order[-1], folder=model, base=first_start(store, run_id)["base"])
    return TunedModel(recipe=recipe.stages[len(stages) - 1], folder=model, base=last_start(run_id, result)["base"])


def _with_model(recipe: Recipe, folder: Path) -> Recipe:
    model = {key: value for key, value in recipe.model.items() if key != "model_revision"}
    return Recipe.from_mapping({**recipe.to_mapping(), "model": {**model, "model_name_or_path": str(folder)}})


def _fetch_artifact(store: Store, prefix: str, folder: Path) -> Path:
    """Return the local copy of an artifact, verified; download it once."""
    target = folder / prefix.rstrip("/").replace("/", "-")
    if not target.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        fetch(store, prefix, target)
    return target
