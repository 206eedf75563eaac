"""One entry of a recipe's data section: its format, its layout, and the function that converts its rows."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from runner.errors import UserError
from runner.recipe.formats.columns import column_check, columns_read
from runner.recipe.formats.convert import Conversion, Converter, common_beginning, row_converter
from runner.recipe.formats.detection import (
    COLUMNS,
    FORMATS,
    OF_TURNS,
    describe_formats,
    detect_format,
    natural_layout,
)
from runner.recipe.formats.layouts import TURNS_OF, EntryLayout, NeedsPairs, Row, RowLayout, UnusableRow, in_strings
from runner.recipe.formats.reading import Reading
from runner.recipe.formats.reasoning import from_conversation, from_fields
from runner.recipe.formats.templates.guess import guess_template, in_yaml, propose_template
from runner.recipe.formats.templates.template import check_fields, fill_template, template_fields
from runner.recipe.problems import show
from runner.recipe.recipe import DataSource, Format, Method


class EntryFault(UserError):
    """An entry's settings do not fit each other or the rows.

    Args:
        key: the setting of the entry; None for the entry as a whole.
        where: the entry's place in the recipe.
    """

    def __init__(self, what: str, *, key: str | None = None, where: str, remedy: str | None = None) -> None:
        super().__init__(what, where=where if key is None else f"{where}.{key}", remedy=remedy)
        self.key = key


class EntryNeedsPairs(Exception):
    """A row of an entry can only be trained on as a pair of messages.

    Args:
        where: the entry's place in the recipe.
        need: why.
    """

    def __init__(self, where: str, need: NeedsPairs) -> None:
        super().__init__(str(need))
        self.where = where
        self.need = need


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One entry of a data section, recognized."""

    where: str
    """Its place in the recipe (``data.train.0``)."""
    source: DataSource
    """Its settings."""
    format: Format
    """Its format."""
    layout: RowLayout
    """The layout that its rows have on their own."""
    columns: tuple[str, ...]
    """The columns of its rows, those of its template included."""
    text_field: str = "text"
    """The name of its column of plain text."""
    needs_pairs: NeedsPairs | None = None
    """Why its rows can only be pairs of messages, if so."""
    taken: str | None = None
    """A sentence on what its rows are taken for, where they could be taken for something else."""
    numbers: bool = True
    """Whether a number is read where a format has text; a run of the first edition drops such rows."""
    guessed: bool = False
    """Whether its template is a guess by the names of the columns."""

    @property
    def thinks(self) -> bool:
        """Whether its answers are rewritten with their reasoning."""
        return bool(self.source.think)

    @property
    def in_mixture(self) -> EntryLayout:
        """What its mixture with others depends on."""
        return EntryLayout(where=self.where, layout=self.layout, thinks=self.thinks, needs_pairs=self.needs_pairs)

    def converter(
        self,
        layout: RowLayout,
        *,
        assistant_only: bool = False,
        turns: str = "all",
        structs: Collection[str] = frozenset(),
    ) -> Converter:
        """Return the function that converts a row as it was read.

        Args:
            layout: the layout of the mixture.
            assistant_only: whether the loss is on the assistant's turns alone.
            turns: which of them are learned (`turns_to_learn`).
            structs: columns that are Arrow's structs, which hold nulls for the keys of other rows.

        Returns:
            Raises `UnusableRow`, `NeedsPairs`, or `UnreadMeaning`.
        """
        source, think, template = self.source, self.source.think, self.source.template
        if isinstance(think, Mapping):
            return from_fields(think)
        made = frozenset(structs) - set(template or ())
        conversion = Conversion(
            assistant_only=assistant_only,
            turns=turns,
            last_answer_only=bool(think),
            structs=made,
            numbers=self.numbers,
        )
        as_turns = TURNS_OF.get(layout) if self.layout.is_conversational else None
        if think:
            convert = from_conversation(row_converter(self.format, RowLayout.CONVERSATION, conversion))
        elif as_turns is not None:
            convert = _flattened(row_converter(self.format, as_turns, conversion))
        else:
            convert = row_converter(self.format, layout, conversion)
        mentioned = set(source.filter or ())
        check = column_check(
            self.format, layout, () if template and not self.guessed else set(self.columns) - mentioned
        )

        def convert_checked(row: Mapping[str, Any]) -> list[Row]:
            check(row)
            return convert(prepare(row, template, self.text_field))

        return convert_checked

    def unread_columns(self, layout: RowLayout, also_read: Collection[str] = ()) -> list[str]:
        """Return the columns of which nothing is made, in order.

        Args:
            layout: the layout of the mixture.
            also_read: columns that something else reads.
        """
        if isinstance(self.source.think, Mapping):
            read = set(template_fields(self.source.think))
        else:
            read = columns_read(self.format, layout, self.columns, self.text_field)
            template = self.source.template or {}
            read |= {*template, *template_fields(template, self.columns)}
        read |= {*(self.source.filter or ()), *also_read}
        return [column for column in self.columns if column not in read]


def _flattened(convert: Converter) -> Converter:
    """Return a conversion to turns as one to strings."""
    return lambda row: [in_strings(made) for made in convert(row)]


def prepare(row: Mapping[str, Any], template: Mapping[str, Any] | None, text_field: str) -> Mapping[str, Any]:
    """Return a row with the template's columns added, and its column of plain text named ``text``.

    Raises:
        UnusableRow: the template cannot be filled in.
    """
    if template:
        row = {**row, **fill_template(template, row)}
    if text_field != "text" and text_field in row:
        row = {("text" if name == text_field else name): value for name, value in row.items() if name != "text"}
    return row


def check_settings(source: DataSource, where: str, method: Method) -> None:
    """Refuse settings of an entry that contradict each other or the method, whatever its rows are.

    Raises:
        EntryFault: with the setting.
    """
    think = source.think
    if source.format is not None and source.format not in FORMATS[method]:
        formats = ", ".join(FORMATS[method])
        what = f"{show(source.format)} is not a format for {method}"
        raise EntryFault(what, key="format", where=where, remedy=f"write {formats}")
    if think and method != "sft":
        what = f"it writes answers, which {method} does not train on"
        raise EntryFault(what, key="think", where=where, remedy="leave it out")
    if isinstance(think, Mapping):
        for key, value in (("template", source.template), ("format", source.format)):
            if value is not None:
                raise EntryFault("`think` says how rows are read", key=key, where=where, remedy="keep one of the two")
    elif think and source.format not in (None, *OF_TURNS):
        what = f"{show(source.format)} holds no conversations, which `think: true` needs"
        raise EntryFault(
            what, key="format", where=where, remedy='write `think: {prompt: "{question}", reasoning: "{solution}"}`'
        )


def check_templates(source: DataSource, where: str, columns: Sequence[str] | None) -> None:
    """Refuse a template that cannot be filled in.

    Args:
        source: the entry.
        where: its place in the recipe.
        columns: those of its rows; None if they are not known.

    Raises:
        EntryFault: with the setting.
    """
    key, texts = ("think", source.think) if isinstance(source.think, Mapping) else ("template", source.template or {})
    try:
        fields = template_fields(texts, columns or ())
        check_fields(texts, columns)
    except UserError as error:
        raise EntryFault(error.what, key=key, where=where, remedy=error.remedy) from error
    for setting, names in ((key, fields), ("filter", source.filter or ())):
        missing = [name for name in names if columns is not None and name not in columns]
        if missing:
            what = f"{source.path} has no field {' and '.join(map(show, missing))}"
            remedy = f"its fields: {', '.join(map(str, columns or ()))}"
            raise EntryFault(what, key=setting, where=where, remedy=remedy)


def recognize_entry(
    source: DataSource,
    where: str,
    *,
    columns: Sequence[str],
    rows: Iterable[Mapping[str, Any]],
    text_field: str,
    method: Method,
    reading: Reading | None = None,
) -> Entry:
    """Recognize the format of an entry by its first rows.

    Args:
        source: the entry.
        where: its place in the recipe, for errors.
        columns: those of its rows, as read.
        rows: its rows, as read; may be iterated more than once, and no more of them is read than is needed.
        text_field: the name of the column of plain text.
        method: the training method, which decides between formats.
        reading: what decides where the format leaves it open; None for a recipe of today and a model that is not known.

    Raises:
        EntryFault: the columns fit no format, or not what the recipe says of them.
    """
    check_settings(source, where, method)
    check_templates(source, where, columns)
    if isinstance(source.think, Mapping):
        return Entry(
            where=where,
            source=source,
            format="prompt_completion",
            layout=RowLayout.MESSAGE_PAIR,
            columns=tuple(columns),
        )
    reading = reading or Reading()
    template = source.template or {}
    prepared = _Prepared(rows, template, text_field)
    first = prepared.first(where)
    made = tuple(dict.fromkeys([*columns, *template]))
    named = {"text" if column == text_field else column for column in made}
    row: Mapping[str, Any] = {**dict.fromkeys(named), **first}
    detected = detect_format(row, method)
    name = source.format or detect_format(template, method) or detected
    guess = None
    if not template and source.think is None and (name is None or (name == "preference" and "prompt" not in named)):
        guess = guess_template(first, method, as_turns=reading.chat_template() is not False)
    if name is None and guess is None:
        raise EntryFault(
            f"the columns fit no format: {', '.join(made) or 'none'}",
            where=where,
            remedy=f"write `{propose_template(first, method)}` with the columns that are meant, or rename them to "
            f"fit a format ({describe_formats(method)})",
        )
    if guess is not None and (name is None or "prompt" in guess):
        entry = recognize_entry(
            replace(source, template=guess),
            where,
            columns=columns,
            rows=rows,
            text_field=text_field,
            method=method,
            reading=reading,
        )
        turns = reading.only_if if entry.layout.is_conversational else ""
        said = (
            f"{where}: the columns fit no format by their names; they are taken by "
            f"`template: {in_yaml(guess)}`{turns}. Another template in the entry replaces it."
        )
        return replace(entry, taken=said, guessed=True)
    assert name is not None
    missing = [column for column in COLUMNS[name] if column not in named]
    if missing and not (name in OF_TURNS and {"messages", "conversations"} & named):
        needed = " and ".join(f"`{column}`" for column in missing)
        raise EntryFault(
            f"format `{name}` needs {needed}; the columns are: {', '.join(made)}",
            key="format" if source.format else None,
            where=where,
            remedy=f"write `format: {detected}`, which they fit" if detected else "rename the columns",
        )
    taken: str | None = None
    if name == "alpaca":
        name, taken = _alpaca(where, reading)
    layout = natural_layout(name, prepared)
    if layout is RowLayout.PREFERENCE and "prompt" not in named:
        if not common_beginning(str(row["chosen"]), str(row["rejected"])):
            raise EntryFault(
                f"format `preference` needs `prompt` (or answers that begin with it); the columns are: "
                f"{', '.join(made)}",
                where=where,
                remedy='write `template: {prompt: "{question}"}`, with the column that holds it',
            )
        taken = f"{where}: there is no column `prompt`; what `chosen` and `rejected` both begin with is the prompt."
    if source.think and layout is not RowLayout.CONVERSATION:
        raise EntryFault(
            f"true, and {source.path} holds no conversations ({name})",
            key="think",
            where=where,
            remedy='write `think: {prompt: "{question}", reasoning: "{solution}"}`, with its fields',
        )
    layout = RowLayout.MESSAGE_PAIR if source.think else layout
    return Entry(
        where=where,
        source=source,
        format=name,
        layout=layout,
        columns=made,
        text_field=text_field,
        taken=taken,
        numbers=reading.edition > 1,
    )


def _alpaca(where: str, reading: Reading) -> tuple[Format, str | None]:
    """Return the format that `alpaca` stands for, and the sentence that says so; None in the first edition."""
    if reading.alpaca_as_turns:
        return "alpaca", (
            f"{where}: rows of alpaca are taken as turns, through the chat template{reading.only_if}; "
            "`format: stanford_alpaca` takes Alpaca's own wording."
        )
    if reading.edition == 1:
        return "stanford_alpaca", None
    return (
        "stanford_alpaca",
        f"{where}: rows of alpaca are taken in Alpaca's own wording: the model has no chat template.",
    )


class _Prepared:
    """Rows with the template filled in, as far as it can be."""

    def __init__(self, rows: Iterable[Mapping[str, Any]], template: Mapping[str, Any], text_field: str) -> None:
        self._rows = rows
        self._template = template
        self._text_field = text_field

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        for row in self._rows:
            try:
                yield prepare(row, self._template, self._text_field)
            except UnusableRow:
                continue

    def first(self, where: str) -> Mapping[str, Any]:
        """Return the first row.

        Raises:
            EntryFault: the template can be filled in from no row.
        """
        first = next(iter(self), None)
        if first is not None:
            return first
        reason = "there are no rows"
        for row in self._rows:
            try:
                prepare(row, self._template, self._text_field)
            except UnusableRow as error:
                reason = f"no row can be used: it is one {error}"
                break
        raise EntryFault(reason, key="template", where=where, remedy="name fields that hold text or numbers")
