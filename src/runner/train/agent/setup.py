"""What an agent is given: the run, this machine's place in it, and how to start training processes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from runner.recipe.recipe import Watchdog
from runner.storage.store import Store
from runner.train.agent.log import as_it_is
from runner.train.agent.money.price import Money
from runner.train.agent.nodes.topology import Topology
from runner.train.agent.notifying.webhooks import Webhooks
from runner.train.agent.timing import DEFAULT_TIMING, Timing

_ENVIRONMENT = {
    # Progress bars rewrite a line many times a second; in a log each time is a line.
    "TQDM_DISABLE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}
"""Variables that a training process gets unless the caller has set them."""


def training_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a training process.

    Whether transformers and TRL send usage data is not left to the caller: a run speaks to its store and the hub only.

    Args:
        environ: the variables of this process's.
    """
    return {**_ENVIRONMENT, **environ, "HF_HUB_DISABLE_TELEMETRY": "1"}


class Process(Protocol):
    """What the agent needs of `subprocess.Popen`."""

    stdin: Any
    stdout: Any
    pid: int

    def poll(self) -> int | None:
        """Return the exit code; None while the process runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the process to end; return its exit code."""

    def send_signal(self, number: int) -> None:
        """Send a signal to the process."""

    def kill(self) -> None:
        """Send SIGKILL to the process."""


class Spawn(Protocol):
    """Starts a training process."""

    def __call__(self, arguments: Sequence[str], events: int, /) -> Process:
        """Start `runner.train.worker` with its standard input and output piped.

        Args:
            arguments: its command line.
            events: the file descriptor that it writes events to, to be left open in it.
        """


@dataclass(frozen=True, kw_only=True)
class AgentSetup:
    """What all attempts of one agent have in common."""

    store: Store
    """The store that holds the run."""
    run_id: str
    """The run's id."""
    work_dir: Path
    """A folder on this machine that all attempts of the run share."""
    topology: Topology
    """This machine among those of the launch."""
    spawn: Spawn
    """Starts a training process."""
    arguments: Sequence[str]
    """The command line of every training process, without what differs between them."""
    until_step: int | None = None
    """The optimizer step of the run's last stage at which training pauses; None: it goes on to its end."""
    reopened: int = 0
    """How often the run's owner has gone on with it after it had failed."""
    money: Money = field(default_factory=Money)
    """What this machine costs, and how much the run may cost."""
    watchdog: Watchdog = field(default_factory=Watchdog)
    """The recipe's `watchdog`: when training that hangs is ended."""
    webhooks: Webhooks = field(default_factory=Webhooks)
    """Who is told what becomes of the run."""
    recipe_name: str = ""
    """The recipe's name, which they are told."""
    redact: Callable[[str], str] = as_it_is
    """Hides the values of secrets in a text."""
    timing: Timing = DEFAULT_TIMING
    """Pauses and patience."""
