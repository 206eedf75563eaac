"""What runs and sweeps have cost, for people."""

from collections.abc import Sequence
from typing import Protocol

from runner.reports.tables import Column, duration, fitting_table
from runner.runs.measured.spending import in_dollars
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


def attempts_table(
    attempts: Sequence[tuple[int, str, float, int, float | None, float | None]], width: int | None
) -> str:
    """A run's attempts: number, how each ended, seconds, machines, dollars for an hour of one, dollars."""
    columns = [
        Column(title="ATTEMPT", cells=[str(row[0]) for row in attempts], right=True),
        Column(title="ENDED", cells=[printable(row[1]) for row in attempts]),
        Column(title="TIME", cells=[duration(row[2]) for row in attempts], right=True),
        Column(title="MACHINES", cells=[str(row[3]) for row in attempts], right=True),
        Column(title="$/H", cells=["-" if row[4] is None else f"{row[4]:.2f}" for row in attempts], right=True),
        Column(
            title="COST", cells=["no price" if row[5] is None else in_dollars(row[5]) for row in attempts], right=True
        ),
    ]
    return fitting_table(columns, width)
