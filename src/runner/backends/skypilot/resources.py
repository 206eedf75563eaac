"""From a recipe's `resources` and the machines that are asked for to those that SkyPilot may take. Pure."""

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from runner.backends.base import ResolvedResources, ResourceOptions
from runner.backends.registry import ANY
from runner.errors import UserError
from runner.exit_codes import INTERRUPTED
from runner.fit.accelerators import accelerator_name, catalog_name, split_count
from runner.planning.feasibility import Fits

_WITHOUT_SPOT = ("slurm",)
"""Clouds whose machines cannot be spot ones: SkyPilot refuses `use_spot` there."""

_WITHOUT_AUTOSTOP = ("slurm",)
_CAN_STOP = ("aws", "gcp", "azure")
"""Clouds on which SkyPilot can stop a machine that is not a spot one, and start it again."""

IDLE_MINUTES = 10
"""After which a cluster that runs were launched to is stopped, unless the recipe says otherwise."""

_CHOICES = ("any_of", "ordered")
_GPU_KEYS = ("accelerators", "gpus", "instance_type", "accelerator_args")
_PLACE_KEYS = ("infra", "cloud", "region", "zone")


def resolve_resources(
    recipe_resources: Mapping[str, Any], resource_options: ResourceOptions, *, fits: Fits = lambda name, count: None
) -> ResolvedResources:
    """Find out which machines would do.

    Args:
        recipe_resources: the recipe's `resources`.
        resource_options: the machines that are asked for.
        fits: says why the recipe does not fit on an accelerator.

    Raises:
        UserError: an unknown GPU or infra, or the recipe fits on none of the machines.
    """
    base = {key: value for key, value in recipe_resources.items() if key not in (*_CHOICES, *_GPU_KEYS, *_PLACE_KEYS)}
    notes: list[str] = []
    choice, entries = _entries(recipe_resources)
    entries = [_spelled(entry, notes) for entry in entries]
    if resource_options.gpus:
        wanted = [_accelerator(text, notes) for text in resource_options.gpus]
        entries = [{**_without(entry, _GPU_KEYS), "accelerators": gpu} for gpu in wanted for entry in entries]
    if resource_options.infra:
        infras = [checked_infra(infra) for infra in resource_options.infra]
        entries = [{"infra": infra, **_without(entry, _PLACE_KEYS)} for entry in entries for infra in infras]
    entries = _unique(entries)
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


def checked_infra(text: str) -> str:
    """Return an infra as it was written; SkyPilot knows which ones there are.

    Raises:
        UserError: it cannot be the name of one.
    """
    if re.fullmatch(r"(\*|[A-Za-z][\w-]*)(/\S+)?", text) is None:
        remedy = "write `aws`, `aws/us-east-1`, `k8s/CONTEXT` or `slurm/CLUSTER`; `sky check` lists what is set up"
        raise UserError(f"unknown infra {text!r}", where="--infra", remedy=remedy)
    return text


def only_on(machines: ResolvedResources, clouds: Sequence[str]) -> bool:
    """Whether every machine that would do is on one of these clouds."""
    return all(infra.partition("/")[0].lower() in clouds for infra in machines.infra.split(", "))


def with_autostop(machines: ResolvedResources) -> dict[str, Any]:
    """Return the `resources` for a cluster, which SkyPilot leaves running when the run has ended unless told otherwise.

    What the recipe says about `autostop` stands. Else an idle cluster is stopped, or removed where SkyPilot cannot stop
    one. Slurm has no autostop.
    """
    resources = dict(machines.resources)
    written = [resources, *(entry for choice in _CHOICES for entry in resources.get(choice) or ())]
    if any("autostop" in entry for entry in written) or only_on(machines, _WITHOUT_AUTOSTOP):
        return resources
    autostop: dict[str, Any] = {"idle_minutes": IDLE_MINUTES}
    if any(entry.get("use_spot") for entry in written) or not only_on(machines, _CAN_STOP):
        autostop["down"] = True
    return {**resources, "autostop": autostop}


def describe_autostop(resources: Mapping[str, Any], machines: ResolvedResources, cluster: str) -> str:
    """Say what becomes of a cluster when the run on it has ended.

    Args:
        resources: as `with_autostop` returned them.
        machines: where the run may run.
        cluster: its name.
    """
    by_hand = f"`sky down {cluster}` removes it"
    if only_on(machines, _WITHOUT_AUTOSTOP):
        return f"cluster {cluster} stays when the run has ended, since Slurm has no autostop: {by_hand}"
    autostop = resources.get("autostop")
    if autostop is None and any("autostop" in entry for choice in _CHOICES for entry in resources.get(choice) or ()):
        return f"cluster {cluster}: its autostop is the recipe's; {by_hand}"
    if autostop is None or autostop is False or autostop == {}:
        return f"cluster {cluster} stays, and costs, when the run has ended (`resources.autostop`): {by_hand}"
    own = isinstance(autostop, Mapping)
    minutes = autostop.get("idle_minutes") if own else None if autostop is True else autostop
    after = "when it is idle" if minutes is None else f"after {minutes}{'' if _has_unit(minutes) else ' minutes'} idle"
    what = "removed" if own and autostop.get("down") else "stopped"
    return f"cluster {cluster} is {what} {after}; `resources: {{autostop: …}}` in the recipe changes that; {by_hand}"


def _has_unit(minutes: Any) -> bool:
    return isinstance(minutes, str) and not minutes.isdecimal()


def with_image(machines: ResolvedResources, image: str | None) -> ResolvedResources:
    """Return the machines with a container image; with None, as they are."""
    if image is None:
        return machines
    resources = {**machines.resources, "image_id": f"docker:{image}"}
    return dataclasses.replace(machines, resources=resources)


def _entries(resources: Mapping[str, Any]) -> tuple[str, list[dict[str, Any]]]:
    """The recipe's candidates, each with one accelerator, and whether their order counts."""
    where = {key: resources[key] for key in _PLACE_KEYS if key in resources}
    gpu = {key: resources[key] for key in _GPU_KEYS if key in resources}
    choice = next((name for name in _CHOICES if name in resources), None)
    listed = [{**where, **gpu, **entry} for entry in resources[choice]] if choice else [{**where, **gpu}]
    entries = [alternative for entry in listed for alternative in _one_accelerator_each(entry)]
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


def _accelerator(text: str, notes: list[str]) -> str:
    """Return a GPU and its number in SkyPilot's spelling, and note what is not obvious about it."""
    written, count = split_count(text, where="--gpu")
    name = accelerator_name(written, where="--gpu")
    if catalog_name(written) == name:
        notes.append(f"{name} goes to SkyPilot as it stands: runner has no facts about it, so nothing says if it fits")
    if ":" not in text and f"{name}:{count}".lower() not in (text.lower(), f"{text}:1".lower()):
        notes.append(f"`{text}` is read as {name}:{count}")
    return f"{name}:{count}"


def _spelled(entry: dict[str, Any], notes: list[str]) -> dict[str, Any]:
    """Return a candidate of the recipe with its GPU in SkyPilot's spelling; what is not known goes as it stands."""
    written = entry.get("accelerators")
    if not written:
        return entry
    text, _, number = str(written).partition(":")
    try:
        name, count = split_count(text)
        spelled = accelerator_name(name)
    except UserError as error:
        if error.remedy and error.remedy.startswith("did you mean"):
            notes.append(f"warning: resources.accelerators: {error.what}; {error.remedy.partition('?')[0]}?")
        return entry
    if count > 1 and number not in ("", "1"):
        return entry
    if spelled.lower() != text.lower():
        notes.append(f"resources.accelerators: `{text}` is read as {spelled}:{count if count > 1 else number or 1}")
        return {**entry, "accelerators": f"{spelled}:{count if count > 1 else number or 1}"}
    return entry


def _that_fit(entries: Sequence[dict[str, Any]], fits: Fits, notes: list[str]) -> Iterator[dict[str, Any]]:
    """Those that the recipe fits on.

    Raises:
        UserError: it fits on none.
    """
    fitting = 0
    for entry in entries:
        reasons = [f"{name}:{count:g}: {why}" for name, count in _counts(entry) if (why := fits(name, count))]
        if not reasons:
            fitting += 1
            yield entry
        notes.extend(f"left out {reason}" for reason in reasons)
    if not fitting:
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
