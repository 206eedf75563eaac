"""The contents of a new run's ``run.json``."""

from collections.abc import Mapping
from typing import Any, Protocol, cast

from runner import __version__
from runner.runs.record_types.run import CodeRecord, RunDocument, RunLineage, TrialOfSweep


class Machines(Protocol):
    """The machines that a run is to get elsewhere, as `runner.backends.base.ResolvedResources` has them."""

    @property
    def resources(self) -> Mapping[str, Any]:
        """SkyPilot's `resources`."""

    @property
    def num_nodes(self) -> int:
        """How many machines."""

    @property
    def accelerators(self) -> Mapping[str, float] | None:
        """Each accelerator that would do, and how many; None for a machine without."""


def run_json(
    *,
    run_id: str,
    recipe: Mapping[str, Any],
    settings: Mapping[str, Any],
    recipe_digest: str,
    git_revision: str | None,
    created_at: str,
    infra: str = "local",
    image: str | None = None,
    machines: Machines | None = None,
    sweep: TrialOfSweep | None = None,
    lineage: RunLineage | None = None,
    code: CodeRecord | None = None,
) -> RunDocument:
    """Build the contents of ``run.json``.

    Args:
        run_id: the run.
        recipe: from `prepare`, as are `settings` and `recipe_digest`.
        settings: every setting with its source.
        recipe_digest: what makes two runs of one recipe equal.
        git_revision: of the recipe's folder.
        created_at: ISO 8601, UTC.
        infra: where the run is to run.
        image: by digest or id, for an infra that runs images.
        machines: the machines that are asked for; None for this machine.
        sweep: which trial of which sweep the run is, if it is one.
        lineage: the run that it comes from; None: as the recipe's model says.
        code: the code around the recipe.
    """
    # In the order in which every run.json has them: rendered tasks hold this document, and are compared as text.
    document: dict[str, Any] = {
        "version": 1,
        "run_id": run_id,
        "name": recipe["name"],
        "recipe": recipe,
        "settings": settings,
        "digest": recipe_digest,
        "infra": infra,
        "accelerators": machines.accelerators if machines else None,
    }
    if machines is not None:
        document |= {"resources": machines.resources, "num_nodes": machines.num_nodes}
    document |= {
        "image": image,
        "runner_version": __version__,
        "git_revision": git_revision,
        "created_at": created_at,
    }
    if sweep is not None:
        document["sweep"] = dict(sweep)
    if lineage is None and (model := recipe.get("model") or {}).get("run") is not None:
        lineage = {"kind": "warm_start", "run_id": model["run"], "checkpoint": model.get("checkpoint")}
    if lineage is not None:
        document["lineage"] = dict(lineage)
    if code is not None:
        document["code"] = dict(code)
    return cast(RunDocument, document)
