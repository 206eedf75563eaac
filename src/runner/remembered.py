"""What a person has settled once for all launches: one TOML file below XDG_CONFIG_HOME, and variables that win over it.

For each setting, an option counts first, then its variable, then the recipe, then the file, then the default.
"""

import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from runner import paths
from runner.errors import UserError

Kind = Literal["text", "list", "dollars"]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A setting that can be remembered."""

    variable: str
    """The environment variable that says the same."""
    kind: Kind
    """What it holds."""
    about: str
    """What it is for, in a phrase."""
    example: str
    """A value, as it is typed."""


SETTINGS: Mapping[str, Setting] = {
    "store": Setting(variable="RUNNER_STORE", kind="text", about="where runs live", example="s3://my-bucket/runner"),
    "infra": Setting(variable="RUNNER_INFRA", kind="list", about="where launches go", example="aws,gcp/us-central1"),
    "gpu": Setting(variable="RUNNER_GPU", kind="list", about="GPUs of launches that go elsewhere", example="L4,A10G"),
    "image": Setting(
        variable="RUNNER_IMAGE",
        kind="text",
        about="the image of launches that go elsewhere",
        example="registry.example.com/team/runner@sha256:…",
    ),
    "project": Setting(
        variable="WANDB_PROJECT", kind="text", about="the project of W&B that runs are logged to", example="my-project"
    ),
    "max-cost": Setting(
        variable="RUNNER_MAX_COST", kind="dollars", about="the most that a run may cost, in US dollars", example="20"
    ),
}
"""By name, which is the key in the file."""

_REMEDY = "`runner config list` shows all, `runner config set NAME VALUE` writes one"

Value = str | float | tuple[str, ...]


def config_file() -> Path:
    """Return the file; it may not exist."""
    return paths.config_folder() / "config.toml"


def read_file() -> dict[str, Value]:
    """Return what the file says.

    Raises:
        UserError: it cannot be read, is not TOML, or says something else than settings.
    """
    file = config_file()
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror or error}", where=str(file)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"is not TOML: {error}", where=str(file), remedy=_REMEDY) from error
    return {name: _checked(name, value, where=f"{file}: {name}") for name, value in data.items()}


def in_environment(name: str, environ: Mapping[str, str] | None = None) -> Value | None:
    """Return what a setting's variable says; None if it is not set, or empty.

    Raises:
        UserError: it is not a value of this setting.
    """
    variable = SETTINGS[name].variable
    text = (os.environ if environ is None else environ).get(variable)
    return parsed(name, text, where=variable) if text else None


def remembered(name: str) -> Value | None:
    """Return what counts if no option says it, and neither does the recipe: the variable's value, else the file's.

    Raises:
        UserError: one of them is not as it has to be.
    """
    value = in_environment(name)
    return read_file().get(name) if value is None else value


def default_store() -> str:
    """Return the store of commands that are given none by option or variable: the file's, or else runner's own folder.

    Raises:
        UserError: the file is not as it has to be.
    """
    return str(read_file().get("store") or paths.default_store())


def parsed(name: str, text: str, *, where: str) -> Value:
    """Return a setting's value as it was typed: lists are separated by commas.

    Raises:
        UserError: there is no such setting, or it cannot have that value; `where` names the place.
    """
    if _known(name, where).kind == "list":
        return _checked(name, [item.strip() for item in text.split(",") if item.strip()], where=where)
    if SETTINGS[name].kind == "dollars":
        try:
            return _checked(name, float(text.removeprefix("$")), where=where)
        except ValueError:
            return _checked(name, text, where=where)
    return _checked(name, text.strip(), where=where)


def write_file(values: Mapping[str, Value]) -> Path:
    """Replace what the file says; returns the file.

    Raises:
        UserError: it cannot be written.
    """
    file = config_file()
    lines = ["# What `runner config` remembers: https://toml.io. Options, variables and recipes win over it."]
    lines += [f"{name} = {json.dumps(values[name], ensure_ascii=False)}" for name in SETTINGS if name in values]
    part = file.with_name(f"{file.name}.{os.getpid()}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part.write_text("\n".join(lines) + "\n", encoding="utf-8")
        part.replace(file)
    except OSError as error:
        what = f"cannot be written: {error.strerror or error}"
        raise UserError(what, where=str(file), remedy="XDG_CONFIG_HOME names another folder") from error
    return file


def setting_named(name: str, *, where: str) -> str:
    """Return a setting's name as it stands in the file: `max_cost` is taken for ``max-cost``.

    Raises:
        UserError: there is no such setting.
    """
    name = name.replace("_", "-")
    _known(name, where)
    return name


def _known(name: str, where: str) -> Setting:
    if name not in SETTINGS:
        import difflib

        near = difflib.get_close_matches(name, SETTINGS, n=1)
        remedy = f"did you mean `{near[0]}`?" if near else f"there are {', '.join(SETTINGS)}"
        raise UserError(f"there is no setting `{name}`", where=where, remedy=remedy)
    return SETTINGS[name]


def _checked(name: str, value: Any, *, where: str) -> Value:
    setting = _known(name, where)
    if setting.kind == "dollars":
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf"):
            return float(value)
        wanted = "an amount above 0"
    elif setting.kind == "list":
        items = [value] if isinstance(value, str) else value
        if isinstance(items, list) and items and all(isinstance(item, str) and item for item in items):
            return tuple(items)
        wanted = "a list of names"
    else:
        if isinstance(value, str) and value and value.isprintable():
            return value
        wanted = "a text"
    raise UserError(f"is not {wanted}", where=where, remedy=f"write `runner config set {name} {setting.example}`")
