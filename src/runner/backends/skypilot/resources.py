"""From a recipe's `resources` and the command line's wishes to the machines that SkyPilot may take. Pure."""

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runner.errors import UserError
from runner.exit_codes import INTERRUPTED
from runner.fit.accelerators import parse_accelerators
from runner.planning.feasibility import Fits
from runner.runs.launches import HERE

ANY = "*"
"""SkyPilot's word for an infra of its own choice."""


_WITHOUT_SPOT = ("slurm",)
"""Clouds whose machines cannot be spot ones: SkyPilot refuses `use_spot` there."""

_CHOICES = ("any_of", "ordered")
_GPU_KEYS = ("accelerators", "gpus", "instance_type", "accelerator_args")
_PLACE_KEYS = ("infra", "cloud", "region", "zone")


@dataclass(frozen=True, kw_only=True)
class ResourceOptions:
    """What the command line says about machines; what it leaves open is the recipe's to say."""

    gpus: tuple[str, ...] = ()
    """``a100:8`` each, in any case: any of them."""
    infra: tuple[str, ...] = ()
    """``aws``, ``aws/us-east-1``, ``slurm/CLUSTER``, ``k8s/CONTEXT`` each: any of them."""
    nodes: int | None = None
    """How many machines."""
    use_spot: bool | None = None
    """Whether spot machines are taken."""
    max_hourly_cost: float | None = None
    """The most that one hour of one machine may cost, in US dollars."""

    @property
    def any(self) -> bool:
        """Whether anything is wished for."""
        return self != ResourceOptions()


@dataclass(frozen=True, kw_only=True)
class ResolvedResources:
    """What SkyPilot is asked for."""

    resources: Mapping[str, Any]
    """SkyPilot's `resources`."""
    num_nodes: int
    """How many machines."""
    infra: str
    """The infras, with commas; ``*`` where SkyPilot chooses."""
    accelerators: Mapping[str, float] | None
    """Each accelerator that would do, and how many; None: a machine without."""
    notes: tuple[str, ...]
    """What was left out of what was asked for, and why."""


def resolve_resources(
    recipe_resources: Mapping[str, Any], resource_options: ResourceOptions, *, fits: Fits = lambda name, count: None
) -> ResolvedResources:
    """Which machines would do.

    Args:
        recipe_resources: the recipe's `resources`.
        resource_options: the command line's.
        fits: which of them the recipe fits on.

    Raises:
        UserError: a name that is none, or nothing is left.
    """
    base = {key: value for key, value in recipe_resources.items() if key not in (*_CHOICES, *_GPU_KEYS, *_PLACE_KEYS)}
    choice, entries = _entries(recipe_resources)
    if resource_options.gpus:
        wanted = [_accelerator(text) for text in resource_options.gpus]
        entries = [{**_without(entry, _GPU_KEYS), "accelerators": gpu} for gpu in wanted for entry in entries]
    if resource_options.infra:
        infras = [checked_infra(one) for one in resource_options.infra]
        entries = [{"infra": infra, **_without(entry, _PLACE_KEYS)} for entry in entries for infra in infras]
    entries = _unique(entries)
    notes: list[str] = []
    entries = list(_that_fit(entries, fits, notes))
    if resource_options.max_hourly_cost is not None:
        base["max_hourly_cost"] = resource_options.max_hourly_cost
    if resource_options.use_spot is not None:
        base["use_spot"] = resource_options.use_spot
        entries = [_without(entry, ("use_spot",)) for entry in entries]
    if base.get("use_spot") and all(_cloud(entry) in _WITHOUT_SPOT for entry in entries):
        if resource_options.use_spot:
            raise UserError("there are no spot machines there", where="--spot", remedy="leave it out")
        del base["use_spot"]
    base["job_recovery"] = _recovery(base.get("job_recovery"))
    resources = {**entries[0], **base} if len(entries) == 1 else {**base, choice: entries}
    infra = [entry.get("infra") or entry.get("cloud") or ANY for entry in entries]
    return ResolvedResources(
        resources=resources,
        num_nodes=resource_options.nodes or 1,
        infra=", ".join(dict.fromkeys(infra)),
        accelerators=dict(counts for entry in entries for counts in _counts(entry)) or None,
        notes=tuple(notes),
    )


def place_of(resource_options: ResourceOptions, cluster: str | None) -> str | None:
    """Which of `HERE` is meant; None: machines of SkyPilot's.

    Raises:
        UserError: both are asked for.
    """
    here = [one for one in resource_options.infra if one in HERE]
    asked = [
        name
        for name, is_asked in (
            ("--gpu", bool(resource_options.gpus)),
            ("--nodes", resource_options.nodes is not None),
            ("--spot", resource_options.use_spot is not None),
            ("--max-hourly-cost", resource_options.max_hourly_cost is not None),
            ("--cluster", cluster is not None),
            ("--infra", len(resource_options.infra) > len(here)),
        )
        if is_asked
    ]
    if here and (asked or len(here) > 1):
        other = asked[0] if asked else "--infra"
        remedy = f"leave out one of the two; {other} is for machines that SkyPilot finds"
        raise UserError(f"a run on this machine takes no {other}", where=f"--infra {here[0]}", remedy=remedy)
    if here:
        return here[0]
    return None if asked else "local"


def checked_infra(text: str) -> str:
    """An infra as it was written, if it can be one. Which there are is SkyPilot's affair.

    Raises:
        UserError: it cannot.
    """
    if re.fullmatch(r"(\*|[A-Za-z][\w-]*)(/\S+)?", text) is None:
        remedy = "write `aws`, `aws/us-east-1`, `k8s/CONTEXT` or `slurm/CLUSTER`; `sky check` lists what is set up"
        raise UserError(f"{text!r} is no infra", where="--infra", remedy=remedy)
    return text


def only_on(machines_: ResolvedResources, clouds: Sequence[str]) -> bool:
    """Whether every machine that would do is on one of these clouds."""
    return all(infra.partition("/")[0].lower() in clouds for infra in machines_.infra.split(", "))


def with_image(machines_: ResolvedResources, image: str | None) -> ResolvedResources:
    """The machines with the container image that runs there; None: as they are."""
    if image is None:
        return machines_
    resources = {**machines_.resources, "image_id": f"docker:{image}"}
    return dataclasses.replace(machines_, resources=resources)


def _entries(resources: Mapping[str, Any]) -> tuple[str, list[dict[str, Any]]]:
    """The recipe's candidates, each with one accelerator, and whether their order counts."""
    place = {key: resources[key] for key in _PLACE_KEYS if key in resources}
    gpu = {key: resources[key] for key in _GPU_KEYS if key in resources}
    choice = next((name for name in _CHOICES if name in resources), None)
    listed = [{**place, **gpu, **entry} for entry in resources[choice]] if choice else [{**place, **gpu}]
    entries = [one for entry in listed for one in _one_accelerator_each(entry)]
    in_order = any(isinstance(entry.get("accelerators", entry.get("gpus")), list) for entry in listed)
    return choice or ("ordered" if in_order else "any_of"), entries


def _one_accelerator_each(entry: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """SkyPilot's ways of naming several accelerators, taken apart. A list means: in this order."""
    value = entry.get("accelerators", entry.get("gpus"))
    rest = _without(entry, ("accelerators", "gpus"))
    if isinstance(value, Mapping):
        names = [f"{name}:{1 if count is None else count:g}" for name, count in value.items()]
    elif isinstance(value, list):
        names = [str(name) for name in value]
    else:
        names = [str(value)] if value else []
    if not names:
        yield rest
    for name in names:
        yield {**rest, "accelerators": name if ":" in name else f"{name}:1"}


def _accelerator(text: str) -> str:
    accelerator, count = parse_accelerators(text, where="--gpu")
    return f"{accelerator.name}:{count}"


def _that_fit(entries: Sequence[dict[str, Any]], fits: Fits, notes: list[str]) -> Iterator[dict[str, Any]]:
    """Those that the recipe fits on.

    Raises:
        UserError: it fits on none.
    """
    left = 0
    for entry in entries:
        reasons = [f"{name}:{count:g}: {why}" for name, count in _counts(entry) if (why := fits(name, count))]
        if not reasons:
            left += 1
            yield entry
        notes.extend(f"left out {reason}" for reason in reasons)
    if not left:
        raise UserError(
            "the recipe fits on none of them:" + "".join(f"\n  {note.removeprefix('left out ')}" for note in notes),
            where="--gpu",
            remedy="`runner plan RECIPE` shows where it fits",
        )


def _counts(entry: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    if entry.get("accelerators"):
        name, _, count = str(entry["accelerators"]).partition(":")
        number = float(count) if re.fullmatch(r"\d+(\.\d+)?", count) else 1.0
        yield name, int(number) if number.is_integer() else number


def _cloud(entry: Mapping[str, Any]) -> str:
    return str(entry.get("infra") or entry.get("cloud") or ANY).partition("/")[0].lower()


def _recovery(written: str | Mapping[str, Any] | None) -> dict[str, Any]:
    """The recipe's own `job_recovery`, which starts an attempt again that was told to stop."""
    recovery = {"strategy": written} if isinstance(written, str) else dict(written or {})
    codes: Any = recovery.get("recover_on_exit_codes", [])
    codes = codes if isinstance(codes, list) else [codes]
    return recovery | {"recover_on_exit_codes": sorted({*codes, INTERRUPTED})}


def _without(mapping: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    return {key: value for key, value in mapping.items() if key not in keys}


def _unique(entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [entry for index, entry in enumerate(entries) if entry not in entries[:index]]
