"""What runs and sweeps have cost, for people."""

from collections.abc import Callable, Sequence
from typing import Protocol

from runner.reports.tables import Column, duration, fitting_table
from runner.runs.measured.spending import AttemptSpending, in_dollars
from runner.terminal import printable


class Priced(Protocol):
    """A row of the table."""

    @property
    def seconds(self) -> float:
        """The time of the machines."""

    @property
    def dollars(self) -> float | None:
        """What they cost; None: they have no price."""

    @property
    def unpriced_seconds(self) -> float:
        """The time of the machines that have no price."""


def amount(row: Priced) -> str:
    """What it cost: ``$1.20``; ``$1.20+`` if a part of it has no price, ``no price`` if nothing has one."""
    if row.dollars is None:
        return "no price" if row.seconds else "-"
    return in_dollars(row.dollars) + ("+" if row.unpriced_seconds else "")


def cost_table(
    titles: Sequence[str], cells: Sequence[Sequence[str]], priced: Sequence[Priced], width: int | None
) -> str:
    """A table: what each row is, and then its time and its cost.

    Args:
        titles: of the columns that say what it is.
        cells: of these columns, by row.
        priced: the rows.
        width: characters in a line; None: any.
    """
    named = [
        Column(title=title, cells=[printable(row[index]) for row in cells], optional=index > 1)
        for index, title in enumerate(titles)
    ]
    time = Column(title="MACHINE TIME", cells=[duration(row.seconds) for row in priced], right=True)
    cost = Column(title="COST", cells=[amount(row) for row in priced], right=True)
    return fitting_table([*named[:2], time, cost, *named[2:]], width)


def attempts_table(attempts: Sequence[AttemptSpending], width: int | None) -> str:
    """A run's attempts: how each ended, its time, how much of that was useful, and what it has cost."""

    def right(title: str, cell: Callable[[AttemptSpending], str]) -> Column:
        return Column(title=title, cells=[cell(attempt) for attempt in attempts], right=True)

    columns = [
        right("ATTEMPT", lambda attempt: str(attempt.number)),
        Column(title="ENDED", cells=[printable(attempt.outcome) for attempt in attempts]),
        right("TIME", lambda attempt: duration(attempt.seconds)),
        right("USEFUL", lambda attempt: "-" if attempt.useful_seconds is None else duration(attempt.useful_seconds)),
        right("MACHINES", lambda attempt: str(attempt.machines)),
        right("$/H", lambda attempt: "-" if attempt.price is None else f"{attempt.price:.2f}"),
        right("COST", lambda attempt: "no price" if attempt.dollars is None else in_dollars(attempt.dollars)),
    ]
    return fitting_table(columns, width)
