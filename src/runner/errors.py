"""The error that users see as a message instead of a traceback, and the walk to an error's causes."""

from collections.abc import Iterator

from runner.redaction import hide_tokens
from runner.terminal import visible


class UserError(Exception):
    """A mistake of the user: what is wrong, where, and what to write instead. What looks like a token is hidden.

    `runner.cli.main` turns it into a message and exit code 2. Any other exception that gets there is a bug in runner
    and keeps its traceback.

    Args:
        what: what is wrong, with the offending value, as a sentence without a final full stop.
        where: the file, the path in the recipe (``training.learning_rate``) or the key in the store.
        remedy: what to write or do instead.
    """

    def __init__(self, what: str, *, where: str | None = None, remedy: str | None = None) -> None:
        # What a file, a recipe or a store says may hold anything.
        self.what = visible(hide_tokens(what))
        self.where = None if where is None else visible(hide_tokens(where))
        self.remedy = None if remedy is None else visible(hide_tokens(remedy))
        super().__init__(str(self))

    def __str__(self) -> str:
        message = f"{self.where}: {self.what}" if self.where else self.what
        return f"{message}\n  {self.remedy}" if self.remedy else message


def causes(error: BaseException | None, *, contexts: bool = False) -> Iterator[BaseException]:
    """Yield an error and then its causes, the newest first; each once, even if they form a ring.

    Args:
        error: None yields nothing.
        contexts: also follow ``__context__`` (the error that was being handled) if ``__cause__`` is not set.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (error.__context__ if contexts else None)
