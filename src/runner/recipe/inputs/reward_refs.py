"""The reward functions that a recipe names: built-in ones, or functions in Python files."""

import ast
import importlib.util
import pathlib
import sys
from collections.abc import Iterator

from runner.errors import UserError
from runner.files import read_whole
from runner.recipe.inputs.content import require_content
from runner.recipe.inputs.references import absolute
from runner.recipe.suggestions import closest

BUILTIN_REWARDS = ("exact-answer", "answer-format", "length")
TRL_REWARDS = (
    "accuracy_reward",
    "get_cosine_scaled_reward",
    "get_repetition_penalty_reward",
    "get_soft_overlong_punishment",
    "reasoning_accuracy_reward",
    "think_format_reward",
)
"""The names in `trl.rewards`."""
COMPARING_REWARDS = ("accuracy_reward", "get_cosine_scaled_reward", "reasoning_accuracy_reward")
"""Those that compare answers, by math-verify, with the column `solution`."""

FROM_TRL = ("prompts", "completions", "completion_ids", "trainer_state", "log_extra", "log_metric")
"""What `GRPOTrainer` passes to each reward function besides the columns of the data."""

_MAX_BYTES = 1 << 20


def split_reward(name: str) -> tuple[str | None, str]:
    """Split ``rewards.py:correct`` into file and function, and ``builtin:length`` into None and ``length``.

    TRL's names stand alone: ``accuracy_reward``.
    """
    file, colon, function = name.rpartition(":")
    return (None, function) if file == "builtin" or not colon else (file, function)


def resolve_reward(written: str, base: pathlib.Path) -> str:
    """Return the name with the file's absolute path.

    Args:
        written: the name in the recipe.
        base: the folder for relative paths.

    Raises:
        UserError: there is no such reward function, or TRL could not call it.
    """
    file, function = split_reward(written)
    if written in TRL_REWARDS:
        return written
    if file is None and ":" not in written:
        meant = closest(written, [*TRL_REWARDS, *BUILTIN_REWARDS])
        remedy = f"did you mean `{'' if meant in TRL_REWARDS else 'builtin:'}{meant}`?" if meant else None
        raise UserError(
            f"`{written}` is not a reward function",
            remedy=remedy or f"write `rewards.py:function`, `builtin:exact-answer`, or TRL's {', '.join(TRL_REWARDS)}",
        )
    if file is None:
        if function in BUILTIN_REWARDS:
            return written
        meant = closest(function, BUILTIN_REWARDS)
        available = f"available: {', '.join(f'builtin:{name}' for name in BUILTIN_REWARDS)}"
        raise UserError(
            f"there is no builtin reward `{function}`",
            remedy=f"did you mean `builtin:{meant}`?" if meant else available,
        )
    if not file or not function.isidentifier():
        raise UserError(
            f"`{written}` is not a reward function", remedy="write `rewards.py:function`, or `builtin:exact-answer`"
        )
    if file.startswith("inputs/"):
        return written
    path = absolute(file, base)
    if path.suffix != ".py" or not path.is_file():
        raise UserError(f"there is no Python file `{file}`", remedy=f"looked for {path}")
    _check(path, function)
    return f"{path}:{function}"


def required_columns(name: str) -> tuple[str, ...]:
    """Return the columns of the data that a resolved reward function cannot do without, without running its file.

    These are the parameters without a default that TRL itself does not pass. None of a file that cannot be read.
    """
    file, function = split_reward(name)
    if file is None:
        if name in TRL_REWARDS:
            needs = function.endswith("accuracy_reward") or function == "get_cosine_scaled_reward"
            return ("solution",) if needs else ()
        return ("answer",) if function == "exact-answer" else ()
    try:
        tree = ast.parse(read_whole(pathlib.Path(file), _MAX_BYTES))
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return ()
    found = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    written = next((node.args for node in reversed(found) if node.name == function), None)
    if written is None:
        return ()
    positional = [argument.arg for argument in (*written.posonlyargs, *written.args)]
    needed = positional[: len(positional) - len(written.defaults)]
    needed += [arg.arg for arg, default in zip(written.kwonlyargs, written.kw_defaults, strict=True) if default is None]
    return tuple(column for column in needed if column not in FROM_TRL)


def _check(path: pathlib.Path, function: str) -> None:
    """Check that the file defines the function and that TRL can call it, without running the file."""
    require_content(path)
    try:
        tree = ast.parse(read_whole(path, _MAX_BYTES))
    except OSError as error:
        raise UserError(f"{path.name} cannot be read: {error.strerror or error}") from error
    except (RecursionError, MemoryError) as error:  # what Python's parser raises for it
        raise UserError(f"{path.name} is not Python that can be read: it is nested too deeply") from error
    except (SyntaxError, ValueError) as error:
        words = f"line {error.lineno}: {error.msg}" if isinstance(error, SyntaxError) else str(error)
        raise UserError(f"{path.name} is not Python: {words}") from error
    _check_imports(path, tree)
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    if function not in functions and function in _other_names(tree):
        return  # a lambda, a `partial`, an imported function: the training looks at what it is
    if function not in functions:
        meant = closest(function, functions)
        defined = f"it defines {', '.join(functions)}" if functions else "it defines none"
        raise UserError(
            f"{path.name} defines no function `{function}`",
            remedy=f"did you mean `{meant}`?" if meant else defined,
        )
    if functions[function].args.kwarg is None:
        raise UserError(
            f"`{function}` in {path.name} cannot be called by TRL, which passes every column of the data",
            remedy=f"write `def {function}(completions, **kwargs):`",
        )


def _check_imports(path: pathlib.Path, tree: ast.Module) -> None:
    """Check that the file imports no file beside it, since it travels alone.

    Raises:
        UserError: it does.
    """
    for line, name in _imports(tree.body):
        first = name.partition(".")[0]
        if first and (not _is_beside(first, path.parent) or _is_installed(first, path.parent)):
            continue
        imported = f"`{name}`" if name else "a neighbour"
        raise UserError(
            f"line {line} of {path.name} imports {imported}, a file beside it that does not travel with it",
            remedy=f"put what it needs into {path.name}; it may import what is installed",
        )


def _is_beside(module: str, folder: pathlib.Path) -> bool:
    return (folder / f"{module}.py").is_file() or (folder / module / "__init__.py").is_file()


def _is_installed(module: str, folder: pathlib.Path) -> bool:
    """Whether a module can be imported from elsewhere than a folder, which may be the working directory."""
    if module in sys.stdlib_module_names:
        return True
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return False
    return spec is not None and not (spec.origin and pathlib.Path(spec.origin).is_relative_to(folder))


def _imports(body: list[ast.stmt]) -> Iterator[tuple[int, str]]:
    """Yield line and name of each import that is not guarded by a `try` or an `if`; relative ones have no name."""
    for node in body:
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, "" if node.level else node.module or ""
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from _imports(node.body)


def _other_names(tree: ast.Module) -> set[str]:
    """Return the names that a file assigns or imports, rather than defines as functions."""
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
        if isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return names
