"""Rules for `resources.job_recovery`: which ends of a run SkyPilot may answer with another machine."""

from collections.abc import Iterator, Mapping

from runner.exit_codes import FAILED, INTERRUPTED, MISTAKE, SUCCEEDED
from runner.recipe.problems import Problem
from runner.recipe.recipe import Json
from runner.recipe.rules.context import RuleContext

_MEANINGS = {
    SUCCEEDED: "that the run succeeded",
    FAILED: "that the run failed or was cancelled",
    MISTAKE: "a mistake in the recipe or its data",
}


def job_recovery(context: RuleContext) -> Iterator[Problem]:
    """Refuse to start a run again, on another machine that is paid for, that has ended for good."""
    resources = context.recipe.resources
    yield from _at(("resources",), resources)
    for choice in ("any_of", "ordered"):
        for index, entry in enumerate(resources.get(choice) or ()):
            if isinstance(entry, Mapping):
                yield from _at(("resources", choice, index), entry)


def _at(path: tuple[str | int, ...], resources: Mapping[str, Json]) -> Iterator[Problem]:
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
