"""Rules for `resources:` and `sky:`: pairs, variables, and which ends SkyPilot may answer with another machine."""

from collections.abc import Iterator, Mapping

from runner.exit_codes import FAILED, INTERRUPTED, MISTAKE, SUCCEEDED
from runner.recipe.problems import Problem
from runner.recipe.recipe import Json
from runner.recipe.rules.context import RuleContext, problem_at

_MEANINGS = {
    SUCCEEDED: "that the run succeeded",
    FAILED: "that the run failed or was cancelled",
    MISTAKE: "a mistake in the recipe or its data",
}


def resources(context: RuleContext) -> Iterator[Problem]:
    """Refuse both settings of a pair of which SkyPilot accepts only one."""
    for first, second in (("any_of", "ordered"), ("accelerators", "gpus"), ("infra", "cloud")):
        if first in context.recipe.resources and second in context.recipe.resources:
            yield problem_at(f"resources.{second}", f"`{first}` is set as well", "keep one of the two")


def own_variables(context: RuleContext) -> Iterator[Problem]:
    """Refuse variables that tell an attempt which run it is of, and which values are secrets."""
    for key in ("envs", "secrets"):
        for name in context.recipe.sky.get(key) or ():
            if name.startswith("RUNNER_"):
                yield Problem(("sky", key, name), "variables that begin with RUNNER_ are runner's own", "leave it out")


def job_recovery(context: RuleContext) -> Iterator[Problem]:
    """Refuse to start a run again, on another machine that is paid for, that has ended for good."""
    resources = context.recipe.resources
    yield from _recovery_at(("resources",), resources)
    for choice in ("any_of", "ordered"):
        for index, entry in enumerate(resources.get(choice) or ()):
            if isinstance(entry, Mapping):
                yield from _recovery_at(("resources", choice, index), entry)


def _recovery_at(path: tuple[str | int, ...], resources: Mapping[str, Json]) -> Iterator[Problem]:
    recovery = resources.get("job_recovery")
    if not isinstance(recovery, Mapping):
        return
    written = recovery.get("recover_on_exit_codes", ())
    for code in written if isinstance(written, list | tuple) else [written]:
        if code in _MEANINGS:
            yield Problem(
                (*path, "job_recovery", "recover_on_exit_codes"),
                f"exit code {code} means {_MEANINGS[code]}: SkyPilot would start it again, and pay for it, without end",
                f"leave {code} out; {INTERRUPTED} (interrupted) is added by itself",
            )
    if recovery.get("max_restarts_on_errors"):
        yield Problem(
            (*path, "job_recovery", "max_restarts_on_errors"),
            f"it starts a run again that has failed for good; what may go better the next time ends with {INTERRUPTED}",
            "leave it out; attempts are made again by themselves, up to ten times in a row without a newer checkpoint",
        )
