"""YAML as it is read here: the scalars of YAML 1.2, and every other trap an error with its place and remedy."""

import contextlib
import json
import tracemalloc
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from runner.errors import UserError
from runner.recipe.loading import strict_yaml
from runner.recipe.loading.strict_yaml import MAX_NODES, parse_document, parse_value


def refused(text: str) -> UserError:
    with pytest.raises(UserError) as caught:
        parse_document(text, name="r.yaml")
    assert caught.value.remedy, caught.value
    return caught.value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2e-4", 2e-4),
        ("1E3", 1e3),
        (".5", 0.5),
        ("5.", 5.0),
        ("-0.1", -0.1),
        ("60", 60),
        ("-1", -1),
        ("010", "010"),
        ("0o17", 15),
        ("0x1F", 31),
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("off", "off"),
        ("y", "y"),
        ("True", True),
        ("false", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("2026-01-31", "2026-01-31"),
        ("12:30:45", "12:30:45"),
        ("1_000", "1_000"),
        ("0b11", "0b11"),
        ("'60'", "60"),
        ('"no"', "no"),
        ("train[:1%]", "train[:1%]"),
        ("=", "="),
        ("None", "None"),
        ("1.2.3", "1.2.3"),
        ("9" * 30, int("9" * 30)),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    """What PyYAML would turn into a date, a bool or an octal number stays what was written."""
    document = parse_document(f"key: {text}\n", name="r.yaml")
    assert document.data == {"key": value}
    assert type(document.data["key"]) is type(value)


def test_the_line_of_each_key_and_entry_is_known() -> None:
    """Errors name the line of the very setting."""
    document = parse_document("a: 1\nb:\n  - x: 1\n    y: 2\n  - x: 3\n", name="r.yaml")
    assert document.lines[("b",)] == 2
    assert document.lines[("b", 0, "y")] == 4
    assert document.lines[("b", 1)] == 5


def test_merge_keys_fill_in_what_is_not_written() -> None:
    """People share settings with `<<`: what is written beside it counts more, and of two sources the first."""
    text = "a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc: {<<: [*a, *b], x: 9}\n"
    assert parse_document(text, name="r.yaml").data["c"] == {"x": 9, "y": 1, "z": 2}


def test_aliases_give_copies() -> None:
    """Changing one place afterwards does not change the other."""
    data = parse_document("a: &a [1]\nb: *a\n", name="r.yaml").data
    data["a"].append(2)
    assert data["b"] == [1]


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("a: 1\nb: 2\na: 3\n", "r.yaml:3:1", "`a` appears here and in line 1"),
        ("a: {b: 1, b: 2}\n", "r.yaml:1:11", "`b` appears here and in line 1"),
        ("a: &x {}\nb: {<<: *x, <<: *x}\n", "r.yaml:2:13", "`<<` appears here"),
        ("a: 1\n\tb: 2\n", "r.yaml:2", "indented with a tab"),
        ("a:\n\t- 1\n", "r.yaml:2:1", "indented with a tab"),
        ("a: b: c\n", "r.yaml:1:5", "mapping values"),
        ("a: [1, 2\n", "r.yaml:2:1", "expected ',' or ']'"),
        ("a: 'x\n", "r.yaml:2:1", "quoted scalar"),
        ("a: @x\n", "r.yaml:1:4", "cannot start any token"),
        ("a: *.jsonl\n", "r.yaml:1:5", "while scanning an alias"),
        ("a: & b\n", "r.yaml:1:5", "while scanning an anchor"),
        ("a: *x\n", "r.yaml:1:4", "`*x` refers to nothing"),
        ("a: &x [*x]\n", "r.yaml:1:8", "contains itself"),
        ("a: &x {b: {c: *x}}\n", "r.yaml:1:15", "contains itself"),
        ("a: {<<: 1}\n", "r.yaml:1:5", "takes a mapping"),
        ("a: !!int 1\n", "r.yaml:1:4", "tag"),
        ("a: !!python/object/apply:os.system [id]\n", "r.yaml:1:4", "tag"),
        ("--- !x\na: 1\n", "r.yaml:1:5", "tag"),
        ("a: 1\n---\nb: 2\n", "r.yaml:2", "second document"),
        ("%YAML 1.1\n---\na: 1\n", "r.yaml:1", "directive"),
        ("1: x\n", "r.yaml:1:1", "a number, and keys are text"),
        ("true: x\n", "r.yaml:1:1", "keys are text"),
        ("? [a]\n: x\n", "r.yaml:1:3", "keys are text"),
        ("null: x\n", "r.yaml:1:1", "empty, and keys are text"),
        ("a: .inf\n", "r.yaml:1:4", "not a finite number"),
        ("a: .NaN\n", "r.yaml:1:4", "not a finite number"),
        ("a: 1e999\n", "r.yaml:1:4", "not a finite number"),
        (f"a: {'9' * 5000}\n", "r.yaml:1:4", "5000 digits"),
        ("a: x\x07\n", "r.yaml:1", "control character (U+0007)"),
        ("- a\n", "r.yaml:1", "a list where"),
        ("just text\n", "r.yaml:1", "text where"),
        ("", "r.yaml", "holds no settings"),
        ("# only a comment\n---\n", "r.yaml", "holds no settings"),
        ('a: "C:\\data"\n', "r.yaml:1:7", "escape"),
        ("a: \ud800\n", "r.yaml", "Unicode"),
    ],
)
def test_a_mistake_has_its_place(text: str, where: str, what: str) -> None:
    """One message: file, line and column, what is wrong, and what to do."""
    error = refused(text)
    assert (error.where or "").startswith(where)
    assert what in error.what


def bomb(levels: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(bomb(20), id="a billion laughs"),
        pytest.param("a: &a [" + "x," * 5000 + "]\nb: [" + "*a," * 200_000 + "]", id="wide"),
        pytest.param(
            "a: &a {" + ",".join(f"k{n}: 1" for n in range(900)) + "}\nb: {<<: [" + "*a," * 200_000 + "]}", id="<<"
        ),
        pytest.param("[" * 1_000_000, id="deep lists"),
        pytest.param("{" * 1_000_000, id="deep mappings"),
        pytest.param('{"a":' * 200_000, id="deep, with keys"),
        pytest.param("- " * 500_000, id="deep block lists"),
        pytest.param("\n".join(f"a{n}: &a{n} [{f'*a{n - 1}' if n else ''}]" for n in range(5000)), id="a chain"),
        pytest.param("a: [" + "1," * 500_000 + "]", id="many values"),
        pytest.param("a: '" + "x\n\n" * 300_000, id="an open quote"),
    ],
)
def test_no_text_grows_beyond_a_small_multiple_of_itself(text: str) -> None:
    """An alias bomb is refused before it explodes, however it is built."""
    tracemalloc.start()
    try:
        refused(text)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 64 << 20


def test_aliases_below_the_limit_are_no_bomb() -> None:
    """A few thousand values shared by reference are a recipe like any other."""
    data = parse_document("a: &a [" + "x, " * 900 + "]\nb: [" + "*a, " * 10 + "]\n", name="r.yaml").data
    assert sum(map(len, data["b"])) == 9000 < MAX_NODES


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("train[:1%]", "train[:1%]"),
        ("[q_proj, v_proj]", ["q_proj", "v_proj"]),
        ("{T4: 1}", {"T4": 1}),
        ("a #b", "a #b"),
        ("'a #b'", "a #b"),
        ("", None),
        (" no ", "no"),
    ],
)
def test_a_value_is_read_as_in_a_recipe(text: str, value: object) -> None:
    """What follows `--set key=` is YAML, and a shell's word has no comments."""
    assert parse_value(text, name="--set") == value


def test_without_libyaml_the_same_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyYAML's own parser stands in where the C library is not built in."""
    monkeypatch.setattr(strict_yaml, "_LOADER", yaml.SafeLoader)
    text = "a: 2e-4\nb: no\nc: [x, {d: 'e'}]\n"
    assert parse_document(text, name="r.yaml").data == {"a": 2e-4, "b": "no", "c": ["x", {"d": "e"}]}
    refused("a: 1\na: 2\n")
    refused("a: x\x07\n")
    refused("[" * 100_000)


# JSON writes other characters as two surrogates, which YAML does not take.
TEXT = st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"]), max_size=100)  # keys end at 1024
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4), max_leaves=12
)
INDICATORS = [
    "b: ",
    "- ",
    ": ",
    "[",
    "]",
    "{",
    "}",
    ", ",
    "&x ",
    "*x",
    "!t ",
    "<<: ",
    "'",
    '"',
    "|",
    ">",
    "#",
    "%",
    "@",
    "? ",
]
OTHERS = [
    "a",
    "\n",
    "  ",
    "\t",
    "---\n",
    "...\n",
    "\0",
    "\x07",
    "\ud800",
    "é",
    "1e9",
    ".inf",
    "0x",
    "\ufeff",
    "~",
    "\\",
    "\x85",
]
PIECES = st.sampled_from([*INDICATORS, *OTHERS])


@given(st.lists(PIECES, max_size=40).map("".join) | st.text(max_size=60))
@example("a: &x\nb: *x")
@example("&x a: *x")
@settings(deadline=None, max_examples=400)
def test_any_text_is_a_mapping_or_an_error(text: str) -> None:
    """Nothing but `UserError` escapes, whatever the file holds."""
    try:
        document = parse_document(text, name="r.yaml")
    except UserError:
        return
    assert isinstance(document.data, dict)
    assert all(isinstance(key, str) for key in document.data)


@given(st.dictionaries(TEXT, VALUES, min_size=1, max_size=5))
@settings(deadline=None)
def test_what_yaml_1_2_writes_is_read_back(data: dict[str, Any]) -> None:
    """JSON is YAML 1.2: every value survives being written as JSON and read here."""
    assert parse_document(json.dumps(data), name="r.yaml").data == data


@given(st.text(max_size=40) | st.lists(PIECES, max_size=20).map("".join))
@settings(deadline=None)
def test_any_value_is_read_or_an_error(text: str) -> None:
    """`--set` takes any word that a shell hands over."""
    value: object = None
    with contextlib.suppress(UserError):
        value = parse_value(text, name="--set")
    assert isinstance(value, dict | list | str | bool | int | float | None)


@pytest.mark.parametrize("text", ["9" * 251, "1." + "0" * 300, "0x" + "f" * 5000, "0o" + "7" * 5000])
def test_a_number_has_a_bounded_number_of_digits(text: str) -> None:
    """Python takes any, and what computes with it later does not."""
    assert "digits" in refused(f"a: {text}").what
