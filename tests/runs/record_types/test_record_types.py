"""Each field of each record is documented, and each type can be checked."""

import ast
import importlib
from pathlib import Path
from typing import is_typeddict

import pytest

from runner.runs import record_types
from runner.runs.layout import artifact_prefix, run_key
from runner.runs.record_types.check import Mismatch, check_for
from runner.runs.record_types.rules import ArtifactKey, ArtifactName, Checkpoint, JobName, Line, RunId, Time, Token

FOLDER = Path(next(iter(record_types.__path__)))
MODULES = ("attempt", "marks", "node", "result", "run")


@pytest.mark.parametrize("module", MODULES)
def test_every_field_has_a_line(module: str) -> None:
    for node in ast.parse((FOLDER / f"{module}.py").read_text()).body:
        if not isinstance(node, ast.ClassDef):
            continue
        assert ast.get_docstring(node), node.name
        for field, after in zip(node.body, [*node.body[1:], None], strict=True):
            if isinstance(field, ast.AnnAssign):
                assert isinstance(after, ast.Expr), f"{node.name}: {ast.unparse(field)}"


@pytest.mark.parametrize("module", MODULES)
def test_every_type_can_be_checked(module: str) -> None:
    found = vars(importlib.import_module(f"runner.runs.record_types.{module}")).values()
    kinds = [kind for kind in found if is_typeddict(kind)]
    assert kinds
    for kind in kinds:
        with pytest.raises(Mismatch, match="not a map"):
            check_for(kind)(None, "")


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (RunId, ["a", "a-1.b_c"], ["", "A", ".a", "a/b", "..", "a" * 101, "a\n"]),
        (Token, ["0001-abcd", "12345-0000"], ["1-abcd", "0001-ABCD", "0001-abcd\n", "export-abcd", "\u0661000-abcd"]),
        (Checkpoint, ["sft-000010-0001-abcd"], ["sft-10-0001-abcd", "latest", "../x", "sft-000010-0001-abcd/"]),
        (ArtifactName, ["model", "gguf-q4_k_m"], ["", "..", ".", "a/b", "a\\b", "a\x1b", "/a"]),
        (
            ArtifactKey,
            [artifact_prefix("r", "model", "0001-abcd").removeprefix(run_key("r", ""))],
            [
                "",
                "/",
                "artifacts/model/0001-abcd",
                "artifacts/../x/",
                "artifacts/model/../",
                "/artifacts/model/x/",
                "x/a/b/",
            ],
        ),
        (JobName, ["run", "run-9-2", "a.b_c"], ["", "-a", "9a", "a b", "a;b", "$(a)"]),
        (
            Time,
            ["2026-01-01T00:00:00+00:00", "2026-01-01T00:00:00Z"],
            ["2026-01-01T00:00:00", "2026-01-01", "then", ""],
        ),
        (Line, ["", "größer"], ["\x1b", "a\nb", "\u202e", "\x9b"]),
    ],
)
def test_rules_take_what_we_write_and_nothing_else(kind: object, good: list[str], bad: list[str]) -> None:
    check = check_for(kind)
    for text in good:
        check(text, "x")
    for text in bad:
        with pytest.raises(Mismatch):
            check(text, "x")
