"""Read ``parameters:`` of a sweep's file: nested names, and each parameter's distribution, by W&B's schema.

Source: ``schema.json`` and ``schema.py`` of sweeps 0.3.0.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from runner.recipe.problems import Problem, RecipePath, show
from runner.recipe.recipe import Json
from runner.recipe.suggestions import closest
from runner.sweeps.space.distributions import KEYS, REPLACED, Distribution

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_ALL_KEYS = ("distribution", "parameters", *dict.fromkeys(key for need, may in KEYS.values() for key in (*need, *may)))


@dataclass(frozen=True)
class Written:
    """One parameter as the file has it."""

    name: str
    """Its dotted name: of a nested one, with the names around it."""
    at: RecipePath
    """Where it stands in the file."""
    distribution: Distribution


@dataclass
class ReadParameters:
    """The parameters in W&B's order (sorted at each level), and what is to be said of them."""

    parameters: list[Written] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_parameters(tree: Json) -> ReadParameters:
    """Read the mapping under ``parameters:``; what is wrong is in `ReadParameters.problems`."""
    result = ReadParameters()
    _read_level(tree, ("parameters",), (), result)
    places: dict[str, RecipePath] = {}
    for parameter in result.parameters:
        if parameter.name in places:
            what = f"`{parameter.name}` is written twice, flat and nested"
            result.problems.append(Problem(parameter.at, what, "keep one of the two"))
        places[parameter.name] = parameter.at
    return result


def _read_level(tree: Json, at: RecipePath, names: tuple[str, ...], result: ReadParameters) -> None:
    if not isinstance(tree, dict):
        what = f"a mapping of parameters expected, not {show(tree)}"
        result.problems.append(Problem(at, what, "write `training.learning_rate: {values: [1e-4, 2e-4]}`"))
        return
    if not tree:
        result.problems.append(
            Problem(at, "there is no parameter", "write `training.learning_rate: {min: 1e-5, max: 1e-3}`")
        )
    for key, value in sorted(tree.items()):
        path = (*at, key)
        if not _NAME.fullmatch(key):
            what = f"{show(key)} cannot name a parameter"
            remedy = "write letters, digits, `_`, `.` and `-`, a letter or `_` first"
            result.problems.append(Problem(path, what, remedy))
        elif not isinstance(value, dict):
            remedy = f"write `{{values: {_short(value)}}}`" if isinstance(value, list) else ""
            result.problems.append(
                Problem(
                    path,
                    f"a mapping expected, not {show(value)}",
                    remedy or f"write `{{value: {_short(value)}}}` for a constant, or `{{values: […]}}`",
                )
            )
        elif "parameters" in value:
            if others := [other for other in value if other != "parameters"]:
                what = f"`parameters` is beside {_listed(others)}: nested parameters have nothing beside them"
                result.problems.append(Problem(path, what, "leave one of the two out"))
            _read_level(value["parameters"], (*path, "parameters"), (*names, key), result)
        else:
            _read_parameter(value, path, ".".join((*names, key)), result)


def _read_parameter(config: Mapping[str, Json], at: RecipePath, name: str, result: ReadParameters) -> None:
    has_kind = "distribution" in config
    kind = config["distribution"] if has_kind else _kind(config)
    problems = list(_unknown_keys(config, at))
    if kind is None and not has_kind:
        problems += [] if problems else [_no_kind(config, at)]
    elif not isinstance(kind, str) or (kind not in KEYS and kind not in REPLACED):
        problems.append(_no_such_distribution(kind, at))
    else:
        target = REPLACED.get(kind, kind)
        problems = [*problems, *_wrong_keys(config, target, kind, at)] or list(_wrong_values(config, kind, at))
        if not problems:
            settings = {**KEYS[target][1], **{key: value for key, value in config.items() if key != "distribution"}}
            if kind in REPLACED:
                settings |= _ends_of_exponents(config, kind)
                if not 0 < settings["min"] < settings["max"] < math.inf:
                    what = f"`{kind}` takes exponents of e, and these give no range of numbers"
                    problems.append(Problem(at, what, f"write `distribution: {target}` with the values themselves"))
                result.notes.append(_note_on_exponents(name, kind, config, settings))
            result.parameters.append(Written(name, at, Distribution(target, settings)))
    result.problems += problems


def _ends_of_exponents(config: Mapping[str, Any], kind: str) -> dict[str, float]:
    """Return the ends of what is drawn. Of `inv_log_uniform`, the exponents are those of the value's inverse."""
    low, high = (config["min"], config["max"]) if kind != "inv_log_uniform" else (-config["max"], -config["min"])
    try:
        return {"min": math.exp(low), "max": math.exp(high)}
    except OverflowError:
        return {"min": 0.0, "max": math.inf}


def _note_on_exponents(name: str, kind: str, config: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    of = "exponents of e" if kind != "inv_log_uniform" else "exponents of e, of the inverse,"
    note = (
        f"{name}: `{kind}` takes {of} and W&B refuses it since sweeps 0.3: read as `{REPLACED[kind]}` from "
        f"{settings['min']:.6g} to {settings['max']:.6g}"
    )
    if 0 < config["min"] <= 1:
        note += f"; write `{REPLACED[kind]}` if {config['min']:g} and {config['max']:g} are meant as the ends"
    return note


def _kind(config: Mapping[str, Json]) -> str | None:
    """Return the distribution that W&B chooses from the keys; None if it refuses."""
    keys = set(config)
    if keys == {"value"}:
        return "constant"
    if keys == {"values"}:
        return "categorical"
    if keys == {"values", "probabilities"}:
        return "categorical_w_probabilities"
    if keys == {"min", "max"}:
        return "int_uniform" if all(_is_whole(config[key]) for key in ("min", "max")) else "uniform"
    return None


def _no_kind(config: Mapping[str, Json], at: RecipePath) -> Problem:
    keys = set(config)
    if "q" in keys and {"min", "max"} <= keys:
        remedy = "write `distribution: q_uniform`, or `q_log_uniform_values`"
    elif keys & {"mu", "sigma"}:
        remedy = "write `distribution: normal`, `log_normal`, or one of them with `q_` before it"
    elif keys & {"a", "b"}:
        remedy = "write `distribution: beta`"
    elif keys & {"min", "max"}:
        remedy = f"write `{'max' if 'min' in keys else 'min'}` too"
    elif "probabilities" in keys:
        remedy = "write `values` too"
    else:
        remedy = "write `values: […]`, `value: …`, or `min: …` and `max: …`"
    what = f"no distribution has {_listed(list(config))} alone" if keys else "there is nothing to draw from"
    if len(keys) > 1 and "q" not in keys and not keys & {"mu", "sigma", "a", "b"}:
        what, remedy = f"no distribution has {_listed(list(config))} together", "keep what belongs to one of them"
    return Problem(at, what, remedy)


def _unknown_keys(config: Mapping[str, Json], at: RecipePath) -> Iterator[Problem]:
    for key in config:
        if key not in _ALL_KEYS:
            meant = closest(key, _ALL_KEYS)
            remedy = f"did you mean `{meant}`?" if meant else f"a parameter has {', '.join(_ALL_KEYS)}"
            if isinstance(config[key], dict):
                remedy = "write nested parameters under `parameters:`"
            yield Problem((*at, key), "a parameter has no such key", remedy)


def _no_such_distribution(kind: Json, at: RecipePath) -> Problem:
    meant = closest(kind.lower(), KEYS) if isinstance(kind, str) else None
    remedy = f"did you mean `{meant}`?" if meant else f"there are {', '.join(KEYS)}"
    return Problem((*at, "distribution"), f"there is no distribution {show(kind)}", remedy)


def _wrong_keys(config: Mapping[str, Json], target: str, kind: str, at: RecipePath) -> Iterator[Problem]:
    need, may = KEYS[target]
    for key in need:
        if key not in config:
            yield Problem(at, f"`{kind}` needs `{key}`", f"write `{key}: …`")
    for key in config:
        if key in _ALL_KEYS and key not in (*need, *may, "distribution"):
            remedy = "leave it out"
            if kind == "categorical" and key == "probabilities":
                remedy = "write `distribution: categorical_w_probabilities`, or leave `distribution` out"
            elif key == "q" and f"q_{target}" in KEYS:
                remedy = f"write `distribution: q_{target}`"
            yield Problem((*at, key), f"`{kind}` has no `{key}`", remedy)


def _wrong_values(config: Mapping[str, Json], kind: str, at: RecipePath) -> Iterator[Problem]:
    """Check the values under keys that the distribution has."""
    numbers = {key: config[key] for key in ("min", "max", "q", "mu", "sigma", "a", "b") if key in config}
    wrong = [key for key, value in numbers.items() if not _is_number(value)]
    for key in wrong:
        value = numbers[key]
        remedy = f"write {value}, without quotes" if isinstance(value, str) and _reads_as_number(value) else None
        yield Problem((*at, key), f"a number expected, not {show(value)}", remedy)
    if not wrong:
        yield from _wrong_numbers(numbers, kind, at)
    if "values" in config:
        yield from _wrong_choices(config["values"], config.get("probabilities"), at)


def _wrong_numbers(numbers: Mapping[str, Any], kind: str, at: RecipePath) -> Iterator[Problem]:
    if kind == "int_uniform":
        for key, value in numbers.items():
            if not _is_whole(value):
                what = f"`int_uniform` draws whole numbers, and {show(value)} is not one"
                yield Problem((*at, key), what, f"write {int(value)}" if value == int(value) else "write a whole one")
    if "min" in numbers and numbers["min"] >= numbers["max"]:
        low, high = numbers["min"], numbers["max"]
        remedy = f"write `{{value: {low}}}`" if low == high else "exchange them"
        yield Problem(at, f"min {low} is not below max {high}", remedy)
    if kind.endswith("log_uniform_values") and numbers["min"] <= 0:
        what = f"{numbers['min']} has no logarithm"
        remedy = "write a minimum above 0" + (
            "" if numbers["min"] == 0 or numbers["max"] > 0 else f"; `{kind.removesuffix('_values')}` takes exponents"
        )
        yield Problem((*at, "min"), what, remedy)
    for key in ("q", "sigma", "a", "b"):
        if key in numbers and numbers[key] <= 0:
            remedy = "write a number above 0" + (", or a constant: `{value: …}`" if key == "sigma" else "")
            yield Problem((*at, key), f"{numbers[key]} is not above 0", remedy)


def _wrong_choices(values: Json, probabilities: Json, at: RecipePath) -> Iterator[Problem]:
    if not isinstance(values, list) or not values:
        remedy = "write at least one" if isinstance(values, list) else f"write a list: [{_short(values)}]"
        yield Problem((*at, "values"), f"a list of values expected, not {show(values)}", remedy)
        return
    if probabilities is None:
        return
    path = (*at, "probabilities")
    if not isinstance(probabilities, list) or not all(_is_number(one) and one >= 0 for one in probabilities):
        yield Problem(path, "a list of numbers of at least 0 expected", f"write {len(values)} of them")
    elif len(probabilities) != len(values):
        what = f"there are {len(probabilities)} for {len(values)} values"
        yield Problem(path, what, f"write {len(values)} of them")
    elif not math.isclose(sum(probabilities), 1, rel_tol=1e-5, abs_tol=1e-8):
        yield Problem(path, f"their sum is {sum(probabilities):g}", "write numbers whose sum is 1")


def _is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: Json) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _reads_as_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _listed(keys: list[str]) -> str:
    return " and ".join(f"`{key}`" for key in keys)


def _short(value: Json) -> str:
    text = str(value)
    return text if len(text) <= 40 else "…"
