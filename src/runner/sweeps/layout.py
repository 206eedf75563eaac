"""Names in the store: which key holds what, for every sweep.

::

    sweeps/<sweep_id>/
      sweep.json                           what is searched and where it runs; never changes
      inputs/<digest>/<name>               local files that the recipe names; the trials' runs refer to them
      journal/<n>.json                     what has happened, entry after entry; created if absent
      snapshots/<n>.json                   the state after entry n, so that readers need not begin at the first
      workers/<worker>.heartbeat.json      the only key that is overwritten; a hint, never the truth
      notified/ended-<n>.json              webhooks are told of the end that the journal's entry n is; created before
      launches/<n>.json                    each time that workers were started, and with what

A trial is a run of its own: ``runs/<sweep_id>-<number>/``.
"""

from runner.runs.layout import is_run_id

SWEEPS = "sweeps/"
SWEEP = "sweep.json"

SLOTS_VARIABLE = "RUNNER_SLOTS"
"""The variable that tells a worker how many there are on its machine."""

LONGEST_SWEEP_ID = 90
"""Characters: a run's id has 100 at most, and the id of a trial's run adds a hyphen and its number."""


def sweep_prefix(sweep_id: str) -> str:
    """The folder of one sweep, with a slash at its end."""
    return f"{SWEEPS}{sweep_id}/"


def sweep_key(sweep_id: str, name: str) -> str:
    """The key of `name` (``sweep.json``, ``inputs/…``) inside one sweep."""
    return f"{SWEEPS}{sweep_id}/{name}"


def journal_key(sweep_id: str, number: int) -> str:
    """The key of an entry of the journal; entries are counted from 1."""
    return sweep_key(sweep_id, f"journal/{number:04d}.json")


def snapshot_key(sweep_id: str, number: int) -> str:
    """The key of the state after an entry."""
    return sweep_key(sweep_id, f"snapshots/{number:04d}.json")


def worker_key(sweep_id: str, worker: str) -> str:
    """The key of a worker's heartbeat."""
    return sweep_key(sweep_id, f"workers/{worker}.heartbeat.json")


def notified_sweep_key(sweep_id: str, entry: int) -> str:
    """The key that says that webhooks are told that the sweep has ended, with an entry of the journal."""
    return sweep_key(sweep_id, f"notified/ended-{entry:04d}.json")


def trial_run_id(sweep_id: str, number: int) -> str:
    """The id of a trial's run; trials are counted from 0."""
    return f"{sweep_id}-{number:04d}"


def is_sweep_id(text: str) -> bool:
    """Whether `text` can be a sweep's id: a run's id that leaves room for the number of a trial."""
    return is_run_id(text) and len(text) <= LONGEST_SWEEP_ID
