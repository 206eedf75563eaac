"""One attempt at a run: claim it, start the training processes, watch over them, and write down how it ended.

``python -m runner.train.entrypoint --store URL --run RUN_ID --work-dir DIR``

Light on purpose (no torch): it answers signals at once, goes on writing heartbeats while the training process computes,
and still runs to record why when that process crashes or is killed. Exit codes: 0 succeeded; 1 failed or cancelled; 2 a
mistake of the caller's; 75 interrupted, can be resumed.

Of several machines (`runner.train.agent.nodes.topology`) each runs this. The head's claims the attempt; the others'
join it (`runner.train.agent.nodes.node_agent`).
"""

import argparse
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from runner.exit_codes import FAILED, SUCCEEDED
from runner.paths import cache_folder
from runner.process import die_with_parent, die_with_stdin
from runner.recipe.recipe import Watchdog
from runner.redaction import Redactor
from runner.runs.layout import SECRET_NAMES
from runner.runs.record_types.money import PriceRecord
from runner.runs.records import result_and_reopenings, run_result
from runner.storage.open import open_store
from runner.storage.retry import after, retrying
from runner.storage.store import Store
from runner.train.agent.hangs.reach import reach_store
from runner.train.agent.head_agent import HeadAgent
from runner.train.agent.log import LOGGER, as_it_is, set_up_logging
from runner.train.agent.money.price import Money, find_money
from runner.train.agent.nodes.node_agent import NodeAgent
from runner.train.agent.nodes.topology import detect_topology
from runner.train.agent.notifying.attempt_news import tell_missed_end
from runner.train.agent.notifying.webhooks import Webhooks, find_webhooks
from runner.train.agent.records.ending import exit_code_of_call
from runner.train.agent.records.run_record import load_or_register_run
from runner.train.agent.setup import AgentSetup, Spawn, training_environment
from runner.train.agent.timing import DEFAULT_TIMING, Timing

_log = logging.getLogger(f"{LOGGER}.entrypoint")


def main(arguments: Sequence[str] | None = None) -> int:
    """Make one attempt; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m runner.train.entrypoint")
    parser.add_argument("--store", required=True, help="URL of the store")
    parser.add_argument("--run", required=True, help="id of the run")
    parser.add_argument("--work-dir", type=Path, required=True, help="a local folder of the run's own")
    parser.add_argument("--parent", type=int, help="process id of the supervisor to die with")
    parser.add_argument("--until-step", type=int, metavar="N", help="pause at this optimizer step of the last stage")
    parser.add_argument("--give-up-after", type=int, metavar="N", help="attempts in a row that got no further")
    parser.add_argument("--until-stdin-closes", action="store_true", help="die when standard input ends")
    options = parser.parse_args(arguments)
    if options.parent is not None:
        die_with_parent(options.parent)
    if options.until_stdin_closes:
        die_with_stdin()
    redact = Redactor.of_environment(os.environ, os.environ.get(SECRET_NAMES, "").split(","))
    set_up_logging(redact=redact)
    return exit_code_of_call(
        lambda: run_attempt(
            open_store(options.store),
            options.run,
            options.work_dir,
            redact=redact,
            give_up_after=options.give_up_after,
            until_step=options.until_step,
        ),
        _log,
    )


def start_worker(arguments: Sequence[str], events: int) -> "subprocess.Popen[bytes]":
    """Start `runner.train.worker` with its standard input and output piped, and `events` left open in it."""
    return subprocess.Popen(
        # -P: a `datasets.py` in the working directory must not be taken for the library.
        [sys.executable, "-P", "-u", "-m", "runner.train.worker", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=[events],
        env=training_environment(os.environ),
        # The agent passes signals on; a Ctrl-C of the terminal, which goes to a whole group, must not come twice.
        process_group=0,
    )


def run_attempt(
    store: Store,
    run_id: str,
    work_dir: Path,
    *,
    spawn: Spawn = start_worker,
    redact: Callable[[str], str] = as_it_is,
    timing: Timing = DEFAULT_TIMING,
    give_up_after: int | None = None,
    until_step: int | None = None,
    schedule_steps: int | None = None,
    price: PriceRecord | None = None,
) -> int:
    """Make an attempt on this machine, which leads it or takes part, unless the run has ended; return the exit code.

    With `until_step`, everything is as in the full run up to that step: schedule, data, evaluations. There a checkpoint
    is committed, and the attempt ends as interrupted and ``paused``, for a later one to go on. If the run ends before
    that step or at it, it ends as it would.

    Args:
        store: the store that holds the run.
        run_id: the run's id.
        work_dir: a folder on this machine that all attempts of the run share.
        spawn: starts a training process.
        redact: hides secrets in what is printed and recorded.
        timing: pauses and patience.
        give_up_after: attempts in a row without a newer checkpoint after which no more are made; None: the caller
            counts them.
        until_step: pause at this optimizer step of the run's last (or only) stage; None: train to the end.
        price: what an hour of this machine costs; None: the attempt finds out.
        schedule_steps: the step at which the learning rate's schedule ends, for a sweep whose schedules are a rung's;
            None: at the last step.

    Raises:
        UserError: the store does not know the run, or a variable of the environment is not what it should be.
        Damaged: a record of the run cannot be trusted.
        StoreNotReached: it stayed away, and nobody would count another attempt.
        StoreUnavailable: the store stayed away before the attempt began.
    """
    run, (result, reopened) = reach_store(
        lambda: (load_or_register_run(store, run_id), result_and_reopenings(store, run_id)),
        timing=timing,
        counted_by_caller=give_up_after is None,
    )
    recipe = run["recipe"]
    # A sweep says itself when it ends: nobody wants to hear from hundreds of trials.
    webhooks = Webhooks() if run.get("sweep") is not None else find_webhooks(recipe, os.environ)
    if result is not None:
        tell_missed_end(store, run, result, reopened=reopened, webhooks=webhooks, patience_seconds=timing.notify)
        _log.info("run %s has %s already", run_id, result["state"])
        return SUCCEEDED if result["state"] == "succeeded" else FAILED
    money = Money(price=price)
    if price is None:
        money = retrying(lambda: find_money(store, run), until=after(timing.store))
    stages = recipe.get("stages") or []
    first = stages[0] if stages else recipe
    use_cpu = bool(first.get("training", {}).get("use_cpu"))
    watchdog: Any = recipe.get("watchdog") or {}
    hide_urls = Redactor(webhooks.urls)
    setup = AgentSetup(
        store=store,
        run_id=run_id,
        work_dir=work_dir,
        topology=detect_topology(os.environ, use_cpu=use_cpu),
        spawn=spawn,
        arguments=_worker_arguments(store, run_id, work_dir, timing, until_step, schedule_steps),
        until_step=until_step,
        reopened=reopened,
        money=money,
        watchdog=Watchdog(**watchdog),
        webhooks=webhooks,
        recipe_name=run["name"],
        redact=lambda text: hide_urls(redact(text)),
        timing=timing,
    )
    if not setup.topology.is_head:
        return NodeAgent(setup, result=lambda: run_result(store, run_id)).run()
    return HeadAgent(setup, stages=[stage["stage"] for stage in stages], give_up_after=give_up_after).run()


def _worker_arguments(
    store: Store, run_id: str, work_dir: Path, timing: Timing, until_step: int | None, schedule_steps: int | None
) -> list[str]:
    return [
        *("--store", store.url, "--run", run_id, "--work-dir", str(work_dir), "--cache-dir", str(cache_folder())),
        *("--finish-seconds", str(timing.finish), "--grace-seconds", str(timing.preemption_grace)),
        *("--parent", str(os.getpid())),
        *(() if until_step is None else ("--until-step", str(until_step))),
        *(() if schedule_steps is None else ("--schedule-steps", str(schedule_steps))),
    ]


if __name__ == "__main__":
    sys.exit(main())
