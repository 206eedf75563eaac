"""An agent at a run, with training processes of a line of Python that speak to it as the real ones do."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from runner.recipe.recipe import Watchdog
from runner.storage.local import LocalStore
from runner.train.agent.head_agent import HeadAgent
from runner.train.agent.log import as_it_is
from runner.train.agent.nodes.topology import Topology
from runner.train.agent.notifying.webhooks import Webhooks
from runner.train.agent.setup import AgentSetup
from runner.train.agent.timing import Timing

USUAL, NOBODY = Watchdog(), Webhooks()
TIMING = Timing(
    stacks=1.5, beat=0.05, look=0.05, poll=0.01, fence=0.05, peer=0.5, upload=5.0, cancel_grace=5.0, join=0.2, store=1
)

WORKER = """
import json, os, signal, sys, time
events = int(sys.argv[sys.argv.index("--events") + 1])
def send(kind, **fields):
    os.write(events, json.dumps({"kind": kind, **fields}).encode() + b"\\n")
def on_sigterm(number, frame):
    send("outcome", outcome="interrupted", reason="stopped by SIGTERM (Ctrl-C, a preemption or `kill`)", retry=True)
    os._exit(75)
signal.signal(signal.SIGTERM, on_sigterm)
print("ready", flush=True)
assignment = json.loads(sys.stdin.readline())
"""
SUCCEEDS = (
    WORKER
    + """
send("notice", level="warning", text="the hub is slow")
send("progress", step=3, max_steps=3)
send("outcome", outcome="succeeded", reason=None, retry=False, result={"artifacts": {}})
"""
)
HANGS = WORKER + "time.sleep(60)"
RUNS_OUT_OF_MEMORY = (
    WORKER
    + """
if assignment["split"] is None:
    send("outcome", outcome="out_of_memory", reason="memory ran out in step 3", retry=True, split=[4, 1])
    sys.exit(1)
send("outcome", outcome="succeeded", reason=None, retry=False, result={"split": assignment["split"]})
"""
)

# What the real worker does: print its stacks when asked.
STACKS = "from runner.train.agent.hangs.stacks import print_stacks_when_asked; print_stacks_when_asked()\n"
TRAINS = (
    STACKS
    + WORKER
    + """
for step in range(1, 6):
    send("progress", phase="training", step=step)
    time.sleep(0.02)
"""
)


def agent(
    store: LocalStore,
    code: str,
    *,
    nodes: int = 1,
    give_up_after: int | None = None,
    watchdog: Watchdog = USUAL,
    redact: Callable[[str], str] = as_it_is,
    webhooks: Webhooks = NOBODY,
    **fields: Any,
) -> HeadAgent:
    def spawn(arguments: Sequence[str], events: int) -> "subprocess.Popen[bytes]":
        pipe = subprocess.PIPE
        command = [sys.executable, "-c", code, *arguments]
        return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, pass_fds=[events])

    setup = AgentSetup(
        store=store,
        run_id="run",
        work_dir=Path(store.url).parent / "work",
        topology=Topology(num_nodes=nodes, node_ips=("127.0.0.1",) * nodes),
        spawn=spawn,
        arguments=[],
        watchdog=watchdog,
        redact=redact,
        webhooks=webhooks,
        **{"timing": TIMING, **fields},
    )
    setup.work_dir.mkdir(exist_ok=True)
    return HeadAgent(setup, give_up_after=give_up_after)


def record(store: LocalStore, name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(store.get(f"runs/run/{name}"))
    return document


def when(condition: Callable[[], bool], act: Callable[[], None]) -> None:
    """Act in another thread, once the condition holds."""

    def wait() -> None:
        until = time.monotonic() + 20
        while not condition() and time.monotonic() < until:
            time.sleep(0.02)
        act()

    threading.Thread(target=wait, daemon=True).start()


def log(store: LocalStore) -> str:
    return b"".join(store.get(info.key) for info in store.objects("runs/run/logs/")).decode()
