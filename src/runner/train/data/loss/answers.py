"""Conversations as tokens with the loss on the assistant's answers alone, with any chat template.

TRL does this itself where a template marks what the assistant says (`{% generation %}`), or is one of those that TRL
knows letter by letter. All others are tokenized here.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from runner.errors import UserError
from runner.recipe.formats.answers import answers_only
from runner.recipe.formats.layouts import Row
from runner.recipe.inputs.chat_template import marks_assistant
from runner.train.data.chat_template import named_template
from runner.train.data.loss.spans import AnswerSpans, Render, find_answers
from runner.train.data.mixture import TrainingData

logger = logging.getLogger(__name__)

IGNORED = -100
"""The label of a token that is not trained on."""


def tokenize_answers(
    data: TrainingData, tokenizer: PreTrainedTokenizerBase, training: Mapping[str, Any]
) -> TrainingData:
    """Return the data as tokens and labels, if the loss is to be on answers and TRL cannot place it.

    Args:
        data: the stage's.
        tokenizer: the model's.
        training: the recipe's `training`.

    Raises:
        UserError: the tokenizer cannot say where in a text its tokens stand, or no answer is found.
    """
    template = named_template(training.get("chat_template_path"))
    if template is None and training.get("chat_template_path"):
        return data  # another model's, which TRL fetches
    template = template or str(tokenizer.chat_template)
    if not data.conversational or not answers_only(training) or marks_assistant(template):
        return data
    if "input_ids" in data.train.column_names:
        return data
    labeller = Labeller(tokenizer, template, training.get("chat_template_kwargs") or {})
    train = labeller.tokenize("data.train", data.train)
    return replace(data, train=train, eval=None if data.eval is None else labeller.tokenize("data.eval", data.eval))


class Labeller:
    """Makes tokens and labels of conversations, with the loss on answers.

    Args:
        tokenizer: the model's.
        template: the chat template.
        arguments: the recipe's, for the template.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, template: str, arguments: Mapping[str, Any]) -> None:
        if not tokenizer.is_fast:
            raise UserError(
                "the model's tokenizer is written in Python, and does not say where in a text its tokens stand",
                where="training.assistant_only_loss",
                remedy="Leave it out and bring prompts and completions.",
            )
        self._tokenizer = tokenizer
        self._template = template
        self._arguments = arguments
        self._specials = tuple(tokenizer.get_added_vocab())
        self._changed = 0
        self._answers = 0

    def tokenize(self, where: str, rows: Dataset) -> Dataset:
        """Return rows as ``input_ids`` and ``labels``, and log how many answers are left out.

        Raises:
            UserError: no row has an answer that can be learned.
        """
        self._changed = self._answers = 0
        made = rows.map(
            self.row, remove_columns=rows.column_names, load_from_cache_file=False, desc=f"Finding answers in {where}"
        )
        if not self._answers:
            raise UserError(
                "the model's chat template writes every answer in another way than a model would say it",
                where="training.assistant_only_loss",
                remedy="Leave it out and bring prompts and completions, or write chat_template_path: FILE.jinja.",
            )
        if self._changed:
            logger.warning(
                f"{where}: {self._changed} of {self._changed + self._answers} answers are not trained on: the chat "
                "template writes them in another way once others follow (it drops their reasoning, perhaps)"
            )
        return made

    def row(self, row: Row) -> dict[str, list[int]]:
        """Return a row's tokens, and its labels."""
        found = self.find(row)
        self._changed += found.changed
        self._answers += len(found.spans)
        return self.labelled(found)

    def find(self, row: Row) -> AnswerSpans:
        """Return the text of a row, and where its answers stand."""
        given = {"tools": row.get("tools"), **self._arguments, **(row.get("chat_template_kwargs") or {})}
        if "messages" in row:
            return find_answers(self._render(), list(row["messages"]), given, specials=self._specials)
        prompt = list(row["prompt"])
        messages = [*prompt, *row["completion"]]
        return find_answers(self._render(), messages, given, specials=self._specials, first=len(prompt))

    def labelled(self, found: AnswerSpans) -> dict[str, list[int]]:
        """Return the tokens of a text, with those of its answers as labels."""
        # A template writes the special tokens itself.
        encoded = self._tokenizer(found.text, add_special_tokens=False, return_offsets_mapping=True)
        ids: list[int] = encoded["input_ids"]
        labels = [IGNORED] * len(ids)
        spans, next_span = found.spans, 0
        for place, (start, end) in enumerate(encoded["offset_mapping"]):
            while next_span < len(spans) and spans[next_span][1] <= start:
                next_span += 1
            if next_span < len(spans) and end > spans[next_span][0] and end > start:
                labels[place] = ids[place]
        return {"input_ids": ids, "labels": labels}

    def _render(self) -> Render:
        def render(messages: Sequence[Row], **given: Any) -> str:
            return str(
                self._tokenizer.apply_chat_template(
                    list(messages), tokenize=False, chat_template=self._template, **given
                )
            )

        return render
