"""Lists of records that a program gets, and what makes a `pandas.DataFrame` of them."""

import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from runner.errors import UserError

T = TypeVar("T")


class Table(list[T], Generic[T]):
    """A list whose items are rows of a table.

    Args:
        items: what the list holds.
        row: turns an item into its columns.
    """

    def __init__(self, items: Iterable[T], row: Callable[[T], Mapping[str, Any]]) -> None:
        super().__init__(items)
        self._row = row

    def to_pandas(self) -> Any:
        """Return a `pandas.DataFrame` with one row for each item.

        Raises:
            UserError: pandas is not installed.
        """
        return data_frame([self._row(item) for item in self])


def data_frame(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Return rows as a `pandas.DataFrame`; it has the columns of all rows, in the order in which they first occur.

    Raises:
        UserError: pandas is not installed.
    """
    try:
        pandas = importlib.import_module("pandas")
    except ImportError as error:
        raise UserError(
            "pandas is not installed", where="to_pandas()", remedy="`pip install pandas`, or use the list as it is"
        ) from error
    columns = list(dict.fromkeys(column for row in rows for column in row))
    return pandas.DataFrame([dict(row) for row in rows], columns=columns)
