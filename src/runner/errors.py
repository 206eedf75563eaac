"""The one error that a person is shown as a message instead of a traceback, and the walk to an error's causes."""

from collections.abc import Iterator


class UserError(Exception):
    """A mistake of the caller's: what is wrong, where, and what to write instead.

    Turned into a message and exit code 2 in one place (`runner.cli.main`). Everything else that escapes is our bug and
    keeps its traceback.

    Args:
        what: what is wrong, with the offending value, as a sentence without a final full stop.
        where: the file, the path in the recipe (``training.learning_rate``) or the key in the store.
        remedy: what to write or do instead.
    """

    def __init__(self, what: str, *, where: str | None = None, remedy: str | None = None) -> None:
        self.what = what
        self.where = where
        self.remedy = remedy
        super().__init__(str(self))

    def __str__(self) -> str:
        message = f"{self.where}: {self.what}" if self.where else self.what
        return f"{message}\n  {self.remedy}" if self.remedy else message


def causes(error: BaseException | None, *, contexts: bool = False) -> Iterator[BaseException]:
    """Yield an error and then what it was raised from, the newest first; each once, even if they form a ring.

    Args:
        error: where to begin; None yields nothing.
        contexts: follow ``__context__`` too (an error raised while another was handled), where ``__cause__`` is unset.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (error.__context__ if contexts else None)
