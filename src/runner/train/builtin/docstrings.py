"""Training text that every machine has: the docstrings of Python's standard library."""

import ast
import functools
import inspect
import re
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import blake3

from runner.errors import UserError

Example: TypeAlias = dict[str, str]
"""A row with ``prompt`` and ``completion``."""

_Definition: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef

# Tests document nothing, and the codecs' texts are generated: the same sentence hundreds of times.
_SKIPPED = frozenset({"test", "tests", "idle_test", "encodings"})
# Short, so that batches have little padding: a step of the quickstart takes tens of milliseconds on one core.
_PROMPT_CHARACTERS = 100
_COMPLETION_CHARACTERS = (12, 160)


@functools.cache
def docstrings() -> tuple[Example, ...]:
    """Return examples from the running Python's docstrings: the name of a thing, and what it does.

    ``{"prompt": "Function shlex.split(s, comments, posix):", "completion": " Split the string *s* using …"}``: the
    completion is the docstring's first paragraph on one line, after a space, so that the tokens of prompt and
    completion never merge. The sources are read with `ast`, nothing is imported. The same Python gives the same
    examples in the same order, and no completion twice, so that nothing held out is trained on.

    Raises:
        UserError: this Python was installed without the sources of its library.
    """
    root = Path(sysconfig.get_path("stdlib"))
    completions: set[str] = set()
    examples = []
    for example in (example for source in _sources(root) for example in _module_examples(root, source)):
        if example["completion"] not in completions:
            completions.add(example["completion"])
            examples.append(example)
    if not examples:
        raise UserError(
            f"found no documentation strings in {root}",
            where="builtin:python-docstrings",
            remedy="Use a Python that has the sources of its standard library (not a zipped or bytecode-only one).",
        )
    return tuple(examples)


@functools.cache
def sources_digest() -> str:
    """Return a digest of all sources that `docstrings` reads, in a hundredth of its time."""
    root = Path(sysconfig.get_path("stdlib"))
    digest = blake3.blake3()
    for source in _sources(root):
        content = source.read_bytes()
        digest.update(f"{source.relative_to(root)} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def _sources(root: Path) -> list[Path]:
    """Return the library's source files in a fixed order, without what a site or a distributor added to the folder."""
    entries = (entry for entry in root.iterdir() if entry.name.removesuffix(".py") in sys.stdlib_module_names)
    files = (
        file
        for entry in entries
        for file in ([entry] if entry.suffix == ".py" else entry.rglob("*.py"))
        if file.is_file()
    )
    return sorted(
        (file for file in files if _SKIPPED.isdisjoint(file.relative_to(root).parts)),
        key=lambda file: file.relative_to(root).parts,
    )


def _module_examples(root: Path, source: Path) -> Iterator[Example]:
    try:
        tree = ast.parse(source.read_bytes())
    except SyntaxError:  # kept in the library on purpose, as material for its own tests
        return
    parts = source.relative_to(root).with_suffix("").parts
    module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    yield from _example(f"Module {module}:", tree)
    yield from _definitions(tree.body, module, inside_class=False)


def _definitions(body: list[ast.stmt], qualified: str, *, inside_class: bool) -> Iterator[Example]:
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield from _example(f"Class {qualified}.{node.name}:", node)
            yield from _definitions(node.body, f"{qualified}.{node.name}", inside_class=True)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            kind = "Method" if inside_class else "Function"
            yield from _example(f"{kind} {qualified}.{node.name}({_parameters(node.args)}):", node)


def _parameters(arguments: ast.arguments) -> str:
    """Return the parameters' names as in documentation, without defaults and annotations."""
    names = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args)]
    if arguments.vararg:
        names.append(f"*{arguments.vararg.arg}")
    elif arguments.kwonlyargs:
        names.append("*")
    names += [argument.arg for argument in arguments.kwonlyargs]
    if arguments.kwarg:
        names.append(f"**{arguments.kwarg.arg}")
    return ", ".join(names)


def _example(prompt: str, node: ast.Module | _Definition) -> Iterator[Example]:
    """Yield an example, if the docstring of `node` begins with a paragraph that reads like a sentence."""
    docstring = ast.get_docstring(node, clean=False)
    if docstring is None or len(prompt) > _PROMPT_CHARACTERS:
        return
    paragraph = re.split(r"\n\s*\n", inspect.cleandoc(docstring), maxsplit=1)[0]
    completion = " ".join(paragraph.split())
    shortest, longest = _COMPLETION_CHARACTERS
    if shortest <= len(completion) <= longest and completion[0].isalpha() and completion.isascii():
        yield {"prompt": prompt, "completion": f" {completion}"}
