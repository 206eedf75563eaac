"""HTML that is put together from escaped parts: a text that is not `Markup` is never taken for HTML."""

import html
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from runner.redaction import hide_tokens
from runner.terminal import visible

_WIDEST = 32
"""Characters of a column of a sortable table."""
_VOID = ("meta", "link", "input", "br")


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


Content = str | Iterable["Content"] | None
"""Text (escaped), `Markup` (as it is), several of them, or nothing."""


def text(content: Content) -> Markup:
    """Return content as HTML: texts are escaped, without tokens and control characters."""
    if content is None:
        return Markup()
    if isinstance(content, Markup):
        return content
    if isinstance(content, str):
        return Markup(html.escape(visible(hide_tokens(content))))
    return Markup("".join(text(part) for part in content))


def tag(name: str, *content: Content, **attributes: str | bool | None) -> Markup:
    """Return an element.

    Args:
        name: its name.
        content: what is in it.
        attributes: an underscore at the end is left out (``class_``), others become hyphens; None and
            False: it has none; True: it has it without a value.
    """
    written = []
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        shown = key.rstrip("_").replace("_", "-")
        written.append(f" {shown}" if value is True else f' {shown}="{text(value)}"')
    start = f"<{name}{''.join(written)}>"
    return Markup(start if name in _VOID else f"{start}{text(content)}</{name}>")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell of a table that is more than text."""

    content: Content
    sort: float | None = None
    """What it is sorted by; None: its text."""
    class_: str | None = None


def table(
    caption: str,
    headers: Sequence[str],
    rows: Iterable[Sequence[Content | Cell]],
    *,
    right: Sequence[int] = (),
    sortable: bool = False,
    even: bool = False,
    identity: str | None = None,
    attributes: Sequence[Mapping[str, str]] = (),
) -> Markup:
    """Return a table that becomes one card for each row where the page is narrow.

    Roles are written out, since a table that is laid out otherwise loses them.

    Args:
        caption: what it shows, for those who do not see it.
        headers: the columns' titles.
        rows: the cells of each row; the first is the row's own title.
        right: columns of numbers.
        sortable: whether the titles are buttons that sort.
        even: whether all columns are equally wide.
        identity: its id.
        attributes: of each row; none if it is empty.
    """
    titles = []
    for index, header in enumerate(headers):
        shown = tag("button", header, type="button") if sortable else header
        class_ = "number" if index in right else None
        titles.append(tag("th", shown, role="columnheader", scope="col", class_=class_))
    body = []
    texts = []
    for number, row in enumerate(rows):
        cells = []
        texts.append([str(cell.content if isinstance(cell, Cell) else cell) for cell in row])
        for index, value in enumerate(row):
            cell = value if isinstance(value, Cell) else Cell(content=value)
            classes = " ".join(filter(None, ("number" if index in right else "", cell.class_)))
            cells.append(
                tag(
                    "th" if index == 0 else "td",
                    tag("span", cell.content),
                    role="rowheader" if index == 0 else "cell",
                    scope="row" if index == 0 else None,
                    data_label=headers[index],
                    data_sort=None if cell.sort is None else f"{cell.sort:.9g}",
                    class_=classes or None,
                )
            )
        body.append(tag("tr", cells, role="row", **(attributes[number] if attributes else {})))
    parts = (
        tag("caption", caption),
        tag("thead", tag("tr", titles, role="row"), role="rowgroup"),
        tag("tbody", body, role="rowgroup"),
    )
    classes = " ".join(filter(None, ("sortable" if sortable else "", "even" if even else "")))
    style = f"--columns:{_widths(headers, texts)}" if sortable else None
    return tag("table", parts, role="table", id=identity, class_=classes or None, style=style)


def _widths(headers: Sequence[str], texts: Iterable[Sequence[str]]) -> str:
    """The widths of a table's columns. They are known beforehand, so that a row is laid out only where it is seen."""
    columns = zip(*[[f"{header} ▲" for header in headers], *texts], strict=True)
    *widths, last = (max(map(len, column)) for column in columns)
    return " ".join([f"{min(width, _WIDEST) + 2}ch" for width in widths] + [f"minmax({min(last, _WIDEST)}ch,1fr)"])


def filter_of(identity: str, hint: str) -> Markup:
    """Return what filters and sorts a sortable table. It shows itself where the page's script runs.

    Args:
        identity: the table's.
        hint: what may be written into it, by an example.
    """
    search = tag("input", type="search", placeholder=hint, spellcheck="false", autocomplete="off")
    order = tag("select", tag("option", "the best first", value=""))
    parts = (
        tag("label", "Filter ", search),
        tag("label", "Order ", order),
        tag("button", "Clear", type="button"),
        tag("output", aria_live="polite"),
    )
    return tag("div", parts, class_="filter", role="search", data_filters=identity, hidden=True)


def json_block(identity: str, value: object) -> Markup:
    """Return JSON that a script of the page reads. No text in it can end the element, or begin a comment."""
    data = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    for letter in "<>&\u2028\u2029":
        data = data.replace(letter, f"\\u{ord(letter):04x}")
    return Markup(f'<script type="application/json" id="{text(identity)}">{data}</script>')
