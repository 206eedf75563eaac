"""Talk to a run's model from Python. Public as `runner.Run.chat`."""

from dataclasses import dataclass
from types import TracebackType
from typing import Self

from runner.control.chat import ChatProcess


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the models said to one question; printed, it is the fine-tuned model's answer."""

    text: str
    """The fine-tuned model's."""
    base: str | None
    """The answer of the model that it was made from; None if that was not asked."""

    def __str__(self) -> str:
        return self.text


class Chat:
    """A conversation with a run's model, which a process of its own has loaded. Must be closed; ``with`` does it.

    Args:
        process: has the models.
        with_base: whether the base answers too.
    """

    def __init__(self, process: ChatProcess, *, with_base: bool) -> None:
        self._process = process
        self._with_base = with_base
        self._tuned: list[dict[str, str]] = []
        self._base: list[dict[str, str]] = []

    def ask(self, text: str, *, temperature: float | None = None, max_new_tokens: int | None = None) -> Answer:
        """Say something, and return what the models answer; they remember the conversation.

        Args:
            text: what is said.
            temperature: 0 for the most likely answer; None for what `Run.chat` was given.
            max_new_tokens: the longest answer, in tokens; None for what `Run.chat` was given.

        Raises:
            UserError: the process has ended, or the models cannot answer.
        """
        answers = []
        for messages, base in ((self._tuned, False), (self._base, True)):
            if base and not self._with_base:
                continue
            asked = [*messages, {"role": "user", "content": text}]
            answer = self._process.answer(asked, base=base, temperature=temperature, max_new_tokens=max_new_tokens)
            # Only now: a question that was cut off is not part of the conversation.
            messages[:] = [*asked, {"role": "assistant", "content": answer}]
            answers.append(answer)
        return Answer(text=answers[0], base=answers[1] if self._with_base else None)

    def clear(self) -> None:
        """Begin a new conversation."""
        self._tuned.clear()
        self._base.clear()

    def close(self) -> None:
        """End the process and free the models' memory."""
        self._process.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
