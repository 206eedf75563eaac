"""Convert the rows of local data as the training will, to find what is wrong with them before anything is paid for."""

import dataclasses
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.errors import UserError
from runner.recipe.formats.answers import answers_only, turns_to_learn
from runner.recipe.formats.columns import UnreadMeaning, unread_sentence
from runner.recipe.formats.dropped import DroppedRows
from runner.recipe.formats.entries import EntryNeedsPairs
from runner.recipe.formats.layouts import (
    EntryLayout,
    NeedsPairs,
    RowLayout,
    UnusableRow,
    check_loss_settings,
    common_layout,
)
from runner.recipe.formats.selection import row_filter
from runner.recipe.inputs.datasets import SourceFacts
from runner.recipe.inputs.local_rows import LocalRow, rows_of, word_of
from runner.recipe.problems import Problem, RecipePath
from runner.recipe.recipe import ExactMatch, Format, Json
from runner.recipe.rows.folders import left_out_sentence

_LAYOUTS: Mapping[Format | None, RowLayout] = {
    "messages": RowLayout.CONVERSATION,
    "sharegpt": RowLayout.CONVERSATION,
    "text": RowLayout.TEXT,
}
"""The layout of formats that have only one."""


@dataclass(frozen=True, kw_only=True)
class ConvertedRows:
    """What became of the rows of the entries that this machine can read."""

    notes: tuple[str, ...] = ()
    """Sentences on them: rows that are dropped and why, columns that are not read, formats that are mixed."""
    rows: int = 0
    """How many rows were read."""


def convert_rows(
    facts: Sequence[SourceFacts],
    training: Mapping[str, Json],
    answer: str | None,
    problems: list[Problem],
    *,
    whole: bool = False,
) -> ConvertedRows:
    """Convert the rows of all entries that this machine can read, in bounded memory.

    Args:
        facts: all entries of a recipe or stage.
        training: its `training`.
        answer: the column that `evaluate.exact_match` reads, if any.
        problems: new ones are appended.
        whole: read every row; otherwise only the first ones, which have been read already.
    """
    try:
        return _convert(facts, training, answer, whole=whole)
    except _RowsFault as fault:
        problems.append(Problem((*fault.at, "path"), fault.what, fault.remedy))
    except UserError as error:
        problems.append(Problem(tuple((error.where or "data").split(".")), error.what, error.remedy))
    return ConvertedRows()


class _RowsFault(UserError):
    """An entry's rows cannot be used."""

    def __init__(self, what: str, *, at: RecipePath, remedy: str | None = None) -> None:
        super().__init__(what, where=".".join(map(str, at)), remedy=remedy)
        self.at = at


def _convert(
    facts: Sequence[SourceFacts], training: Mapping[str, Json], answer: str | None, *, whole: bool
) -> ConvertedRows:
    needs: dict[str, NeedsPairs] = {}
    while True:
        notes: list[str] = []
        current = [
            source
            if source.entry is None
            else dataclasses.replace(
                source, entry=dataclasses.replace(source.entry, needs_pairs=needs.get(source.entry.where))
            )
            for source in facts
        ]
        layout = _layout(current, training, notes)
        if layout is None:
            return ConvertedRows()
        try:
            count = 0
            notes[:0] = [source.entry.taken for source in current if source.entry and source.entry.taken]
            for source in current:
                if source.entry is None:
                    continue
                folder = Path(source.entry.source.path)
                if source.files and folder.is_dir() and (sentence := left_out_sentence(folder, source.entry.where)):
                    notes.append(sentence)
                if source.rows and (source.files or not whole):
                    rows = _read(source) if whole and not source.whole else source.rows
                    read, dropped = _convert_entry(source, rows, layout, training)
                    count += read
                    if dropped.total:
                        notes.append(dropped.sentence(read))
                unread = source.entry.unread_columns(layout, also_read=() if answer is None else (answer,))
                if sentence := unread_sentence(source.entry.where, unread):
                    notes.append(sentence)
            return ConvertedRows(notes=tuple(notes), rows=count)
        except EntryNeedsPairs as need:
            needs[need.where] = need.need


def _read(source: SourceFacts) -> Iterator[LocalRow]:
    """Yield all rows of an entry.

    Raises:
        _RowsFault: a row cannot be read.
    """
    try:
        yield from rows_of(list(source.files))
    except UserError as error:
        raise _RowsFault(f"{error.where}: {error.what}", at=source.path, remedy=error.remedy) from error


def _layout(facts: Sequence[SourceFacts], training: Mapping[str, Json], notes: list[str]) -> RowLayout | None:
    """Return the layout of the mixture, as far as its entries are known; None if nothing is."""
    mixed = []
    for source in facts:
        if source.entry is not None:
            mixed.append(source.entry.in_mixture)
        elif source.format in _LAYOUTS:
            mixed.append(EntryLayout(where=".".join(map(str, source.path)), layout=_LAYOUTS[source.format]))
    if not any(source.entry is not None for source in facts):
        return None
    layout = common_layout(mixed, notes)
    if len(mixed) == len(facts):
        check_loss_settings(training, layout, mixed)
    return layout


def _convert_entry(
    source: SourceFacts, rows: Iterable[LocalRow], layout: RowLayout, training: Mapping[str, Json]
) -> tuple[int, DroppedRows]:
    """Convert the rows of one entry; return how many there are, and those that cannot be used."""
    entry = source.entry
    assert entry is not None
    convert = entry.converter(
        layout, assistant_only=answers_only(training), turns=turns_to_learn(training), structs=source.structs
    )
    keeps = row_filter(entry.source.filter)
    dropped = DroppedRows(entry.where)
    count = 0
    first: LocalRow | None = None
    for row in rows:
        if entry.source.filter and not keeps(row.row):
            continue
        count += 1
        try:
            convert(row.row)
        except UnusableRow as fault:
            if not dropped.total:
                first = row
            dropped.add(str(fault), row.number)
        except NeedsPairs as need:
            raise EntryNeedsPairs(entry.where, need) from need
        except UnreadMeaning as unread:
            raise _RowsFault(f"{_place(row)}: {unread}", at=source.path, remedy=unread.remedy) from unread
    if first is not None:
        dropped.word = word_of(first.file) if first.file.is_file() else "row"
        dropped.file = os.path.relpath(first.file, entry.source.path) if len(source.files) > 1 else None
    if dropped.total == count and first is not None:
        what = f"no row of {entry.source.path} can be used as {entry.format}: {dropped.reasons()}"
        raise _RowsFault(what, at=source.path)
    return count, dropped


def _place(row: LocalRow) -> str:
    return f"{row.file}, {word_of(row.file) if row.file.is_file() else 'row'} {row.number}"


def answer_column(exact_match: ExactMatch | Mapping[str, Json] | None) -> str | None:
    """Return the column that `evaluate.exact_match` reads besides those of the format."""
    if exact_match is None:
        return None
    named = exact_match.answer if isinstance(exact_match, ExactMatch) else exact_match.get("answer")
    return str(named) if named else "answer"
