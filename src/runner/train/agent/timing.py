"""How often the agent looks at what it watches, and how long it waits."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Pauses and patience of one attempt, in seconds. Tests pass shorter ones."""

    beat: float = 2.0
    """Between two heartbeats, and between two looks at the attempt's own workers and nodes."""
    look: float = 1.0
    """Between two looks of a node at what its head has written."""
    fence: float = 10.0
    """Between two checks that no newer attempt has begun."""
    poll: float = 0.05
    """Between two checks whether a training process has ended."""
    join: float = 1800.0
    """How long the head waits for the other nodes, and they for it: a machine may come up later and load images."""
    silence: float = 120.0
    """A node or head whose heartbeat has not changed for so long is lost. The store must have answered meanwhile."""
    peer: float = 10.0
    """How long workers may go on once one has failed: its error reaches them over the network, and they report it."""
    upload: float = 60.0
    """How long workers may go on once one was told to stop: the first uploads the last checkpoint."""
    cancel_grace: float = 10.0
    """How long the workers of a cancelled run may take to end after SIGTERM."""
    preemption_grace: float = 25.0
    """How long a preempted worker goes on uploading: clouds give 30 s (Google Cloud) to 120 s (AWS) of notice."""
    store: float = 300.0
    """How long the beginning and the end of an attempt wait for a store that does not answer."""
    reach: float = 1800.0
    """How long a machine that nobody counts the attempts of tries to reach its store before it gives up for good."""
    activity: float = 10.0
    """Between two looks at what the training processes have used of processors and disks."""
    stacks: float = 5.0
    """How long a training process that hangs may take to print its stacks."""
    kill: float = 30.0
    """How long a killed process may take to go. One that waits in the kernel for a device stays."""
    notify: float = 10.0
    """How long a webhook is tried to be told something, and how long the end of an attempt waits for that."""
    finish: float = 900.0
    """How long the end of the training waits for a store that does not answer, before a later attempt does the rest."""


DEFAULT_TIMING = Timing()
"""What every attempt outside the tests uses."""
