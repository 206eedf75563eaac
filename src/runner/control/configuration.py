"""What was settled once for all: look at it with where it comes from, change it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from runner import paths
from runner.remembered import (
    SETTINGS,
    Value,
    config_file,
    in_environment,
    parsed,
    read_file,
    setting_named,
    write_file,
)

_DEFAULTS: Mapping[str, str] = {
    "infra": "local; with --gpu, whichever SkyPilot chooses",
    "gpu": "the recipe's",
    "image": "none: machines are set up from the pinned lock",
    "project": "W&B's own",
    "max-cost": "no limit",
}
"""What counts if nobody says anything, in words; the default store is a folder."""


@dataclass(frozen=True, kw_only=True)
class Effective:
    """A setting as it counts here, where no option and no recipe says otherwise."""

    name: str
    """The setting's."""
    value: Value | None
    """Its value; None for the default."""
    source: str
    """What says so: a variable's name, the file's path, or ``default``."""
    hidden: Value | None
    """What the file says, if a variable wins over it."""
    recipe_wins: bool
    """Whether a recipe that says something else counts more."""

    @property
    def text(self) -> str:
        """The value as it is shown; the default in words."""
        if self.value is None:
            return _DEFAULTS.get(self.name) or paths.default_store()
        return as_text(self.value)


def effective() -> Iterator[Effective]:
    """Yield every setting as it counts here.

    Raises:
        UserError: a variable or the file is not as it has to be.
    """
    file = read_file()
    for name in SETTINGS:
        value, source, hidden = in_environment(name), SETTINGS[name].variable, file.get(name)
        if value is None:
            value, source, hidden = file.get(name), str(config_file()) if name in file else "default", None
        recipe_wins = name in ("infra", "gpu", "image") and source == str(config_file())
        yield Effective(name=name, value=value, source=source, hidden=hidden, recipe_wins=recipe_wins)


def set_value(name: str, text: str) -> Value:
    """Remember a value; returns it.

    Raises:
        UserError: there is no such setting, it cannot have that value, or the file cannot be read or written.
    """
    where = "runner config set"
    name = setting_named(name, where=where)
    value = parsed(name, text, where=f"{where} {name}")
    write_file({**read_file(), name: value})
    return value


def unset_value(name: str) -> bool:
    """Forget a value; returns whether there was one.

    Raises:
        UserError: there is no such setting, or the file cannot be read or written.
    """
    name = setting_named(name, where="runner config unset")
    values = read_file()
    if name not in values:
        return False
    write_file({key: value for key, value in values.items() if key != name})
    return True


def as_text(value: Value) -> str:
    """Return a value as it is typed."""
    return ",".join(value) if isinstance(value, tuple) else f"{value:g}" if isinstance(value, float) else value
