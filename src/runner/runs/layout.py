"""Names in the store: which key holds what, for every run.

::

    runs/<run_id>/
      run.json                          resolved recipe with sources; never changes
      inputs/<digest>/<name>            local files that the recipe names, by their BLAKE3 digest
      start.json                        what a warm start starts from, as artifacts of its own; created if absent
      submission.json                   how the run was first started: the engine, by names only
      launches/<n>.json                 each time that it was handed to SkyPilot: its job's name
      launches/<n>.job.json             which job that has become
      launches/<n>.ended.json           SkyPilot has given up on it, and why
      launches/<n>.prices.json          what the machines cost that SkyPilot may take for it
      budget/<n>.json                   what its owner says of money, after the launch; the newest counts
      cancel.json                       somebody asked for the run to be cancelled
      finish.json                       somebody asked for it to stop training and keep the model that it has
      attempts/<n>.json                 claim: created if absent, before anything else is done
      attempts/<n>.restored.json        what the attempt continues from; written before its first step
      attempts/<n>.heartbeat.json       overwritten; a hint, never the truth
      attempts/<n>.price.json           what an hour of one of its machines costs; absent where it has no price
      attempts/<n>.hardware-<stage>.json   what it was computed with: device, precision, attention, optimizer, kernels
      attempts/<n>.fit-<stage>.json     how a stage was fitted to the GPU that the attempt found
      attempts/<n>.machine.json         the head's machine: GPUs, driver, versions of all that is installed
      attempts/<n>.inputs-<stage>.json  what model and data a stage was trained with: commits and fingerprints
      attempts/<n>.ended.json           how the attempt ended
      attempts/<n>/go.json              several machines: who takes part, and what each must know; created if absent
      attempts/<n>/<rank>-<nonce>.json  a machine that wants to; then its .heartbeat, and its .ended
      checkpoints/<stage>-<step>-<token>/   files, then manifest.json last
      metrics/<token>-<seq>.jsonl
      logs/<token>-<seq>.txt
      system/<token>-<seq>.jsonl        samples of GPUs and machine; those of machine r are numbered from 1000000 r
      artifacts/<name>/<token>/         same commit rule as a checkpoint; ``export-9f3c`` made by `runner export`
      result.json                       the terminal state; created if absent
      reopened/<n>.json                 its owner goes on with the run that failed; created if absent
      reopened/<n>.result.json          how it ended then: takes the place of ``result.json``
      reopened/<n>.cancel.json, .finish.json   as ``cancel.json`` and ``finish.json``, since it was reopened
      replaced/<n>.json                 another reward file takes the place of one of the inputs, from an attempt on
      evaluations/<id>.json             what `runner eval` has measured, before the end or after it; never changes
      claims/<n>.json                   `launch --once` is about to start the run again; created if absent
      notified/<reopened>-<event>-<attempt>.json   webhooks are told of that event; created before, so that it is once
      marks/<n>.json                    tags and notes that people have put on it; created if absent
    marked/<run_id>.json                the run may have marks: one listing finds all that have; written before them
    ci/<run_id>/<n>.json                a CI job has left the run, to be reported when it has ended; created if absent
    ci/<run_id>/<n>.done.json           that was done
    listed/ended-runs.json.gz           what was read of runs that have ended, for listings: a hint, overwritten
    removing/runs/<run_id>.json         the run is being deleted: written first, and deleted last
    removing/sweeps/<sweep_id>.json     the same of a sweep

A run that is a trial of a sweep may lack ``inputs/``: they are then the sweep's, once for all of its trials, under
``sweeps/<sweep_id>/inputs/<digest>/<name>``.

A *token* names one attempt for ever: its number and four random characters (``0002-9f3c``). Keys carry it so that two
attempts that are alive at the same time never write the same key, even in a store that ignores conditional writes.
"""

import re
from dataclasses import dataclass
from string import ascii_lowercase, digits

RUNS = "runs/"
SWEEPS = "sweeps/"
RUN = "run.json"
RESULT = "result.json"
START = "start.json"
SUBMISSION = "submission.json"
CANCEL = "cancel.json"
FINISH = "finish.json"
REOPENED = "reopened/"
REPLACED = "replaced/"
BUDGET = "budget/"
CLAIMS = "claims/"
CI = "ci/"
MARKS = "marks/"
MARKED = "marked/"
LISTED = "listed/ended-runs.json.gz"
REMOVING = "removing/"

RUN_VARIABLE = "RUNNER_RUN"
"""The variable that brings a run's ``run.json`` (as YAML) to an attempt, should the store not have it yet."""

_RUN_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
_TOKEN = re.compile(r"(?P<number>[0-9]{4,12})-(?P<nonce>[0-9a-z]{4})")
_CHECKPOINT = re.compile(r"(?P<stage>[a-z0-9_]+)-(?P<step>[0-9]{1,15})-(?P<token>[0-9]{4,12}-[0-9a-z]{4})")


EXPORT_TOKEN = re.compile(r"export-[0-9a-z]{4}")
"""Stands for an attempt's token in the keys of artifacts that were made after the run had ended."""


def new_nonce(length: int) -> str:
    """Return random lower-case letters and digits, which tell apart two writers of the same name."""
    import secrets  # not above: it imports hashlib, which a listing of runs does not need

    return "".join(secrets.choice(ascii_lowercase + digits) for _ in range(length))


def export_token(nonce: str) -> str:
    """The token of an export, from four random letters and digits."""
    return f"export-{nonce}"


def is_run_id(text: str) -> bool:
    """Whether `text` can be a run's id: lower-case letters, digits, ``.``, ``_`` and ``-``, at most 100."""
    return _RUN_ID.fullmatch(text) is not None


def run_prefix(run_id: str) -> str:
    """The folder of one run, with a slash at its end."""
    return f"{RUNS}{run_id}/"


def run_key(run_id: str, name: str) -> str:
    """The key of `name` (``run.json``, ``inputs/…``) inside one run."""
    return f"{RUNS}{run_id}/{name}"


def sweep_key(sweep_id: str, name: str) -> str:
    """The key of `name` (``sweep.json``, ``inputs/…``) inside one sweep."""
    return f"{SWEEPS}{sweep_id}/{name}"


def marked_key(run_id: str) -> str:
    """The key that says that a run may have marks."""
    return f"{MARKED}{run_id}.json"


def removing_key(run_id: str) -> str:
    """The key that says that a run is being deleted."""
    return f"{REMOVING}{RUNS}{run_id}.json"


def removing_sweep_key(sweep_id: str) -> str:
    """The key that says that a sweep is being deleted."""
    return f"{REMOVING}{SWEEPS}{sweep_id}.json"


def attempt_key(run_id: str, number: int, kind: str = "") -> str:
    """The key of an attempt's record; `kind` is empty for the claim, else ``restored``, ``heartbeat``, ``ended``."""
    return run_key(run_id, f"attempts/{number:04d}{'.' + kind if kind else ''}.json")


def numbered_key(run_id: str, folder: str, number: int, kind: str = "") -> str:
    """The key of a numbered record in one of a run's folders (`REOPENED`, `REPLACED`); `kind` as in `attempt_key`."""
    return run_key(run_id, f"{folder}{number:04d}{'.' + kind if kind else ''}.json")


def life_key(run_id: str, name: str, *, reopened: int) -> str:
    """The key of `RESULT`, `CANCEL` or `FINISH` in a life of a run.

    Args:
        run_id: the run.
        name: which of them.
        reopened: how often the run was reopened before that life.
    """
    return numbered_key(run_id, REOPENED, reopened, name.removesuffix(".json")) if reopened else run_key(run_id, name)


def notified_key(run_id: str, event: str, *, reopened: int, attempt: int) -> str:
    """The key that says that webhooks are told of an event; `reopened` as in `life_key`."""
    return run_key(run_id, f"notified/{reopened}-{event}-{attempt:04d}.json")


def node_key(run_id: str, number: int, node: str, kind: str = "") -> str:
    """The key of a record about one of an attempt's machines; `kind` as in `attempt_key`.

    `node` is ``<rank>-<nonce>``, or ``go`` for what the head tells all of them.
    """
    return run_key(run_id, f"attempts/{number:04d}/{node}{'.' + kind if kind else ''}.json")


def attempt_token(number: int, nonce: str) -> str:
    """The name of an attempt in keys: ``0002-9f3c``."""
    return f"{number:04d}-{nonce}"


def is_token(text: str) -> bool:
    """Whether `text` can be an attempt's token."""
    return _TOKEN.fullmatch(text) is not None


def token_number(token: str) -> int:
    """The number of the attempt that `token` names.

    Raises:
        ValueError: `token` is no attempt's token.
    """
    match = _TOKEN.fullmatch(token)
    if match is None:
        raise ValueError(f"not an attempt's token: {token!r}")
    return int(match["number"])


@dataclass(frozen=True, order=True)
class CheckpointName:
    """A checkpoint's folder name, taken apart. Orders by name; the lineage knows the order of stages."""

    stage: str
    """The stage it belongs to (the method's name for a run without stages)."""
    step: int
    """Optimizer steps taken in that stage when it was saved."""
    token: str
    """The attempt that wrote it."""

    def __str__(self) -> str:
        return f"{self.stage}-{self.step:06d}-{self.token}"

    @classmethod
    def parse(cls, text: str) -> "CheckpointName | None":
        """Take a folder name apart; None if it is no checkpoint's."""
        match = _CHECKPOINT.fullmatch(text)
        return None if match is None else cls(match["stage"], int(match["step"]), match["token"])


def checkpoint_prefix(run_id: str, name: CheckpointName) -> str:
    """The folder of one checkpoint, with a slash at its end."""
    return run_key(run_id, f"checkpoints/{name}/")


def artifact_prefix(run_id: str, name: str, token: str) -> str:
    """The folder of one artifact as one attempt made it, with a slash at its end."""
    return run_key(run_id, f"artifacts/{name}/{token}/")


def chunk_key(run_id: str, kind: str, token: str, sequence: int) -> str:
    """The key of one piece of an attempt's ``metrics``, ``logs`` or ``system`` records, which `kind` is."""
    extension = {"metrics": "jsonl", "logs": "txt", "system": "jsonl"}[kind]
    return run_key(run_id, f"{kind}/{token}-{sequence:06d}.{extension}")


IMAGE_VARIABLE = "RUNNER_IMAGE"
"""The variable that tells an attempt which container image it is in, for the record of its machine; where runs are
launched, it names the image of remote runs that ``--image`` does not name."""

SECRET_NAMES = "RUNNER_SECRET_NAMES"
"""The variable that tells an attempt which variables hold secrets (their names, with commas), so that it keeps the
values out of its logs."""

OWN_VARIABLES = (RUN_VARIABLE, SECRET_NAMES)
"""Variables that nobody else may set."""
