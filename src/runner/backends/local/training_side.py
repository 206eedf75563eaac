"""Whether this machine has the packages that a training process needs."""

from importlib.util import find_spec

from runner.distribution import install_command
from runner.errors import UserError

_TRAINING_SIDE = ("torch", "transformers", "trl", "peft", "datasets", "accelerate")


def require_training_side(where: str = "--infra local") -> None:
    """Make sure that this machine can train, without importing what that takes.

    Args:
        where: the option or command that needs it, for the message.

    Raises:
        UserError: a package of the training side is not installed.
    """
    missing = [name for name in _TRAINING_SIDE if find_spec(name) is None]
    if missing:
        raise UserError(
            f"this machine cannot train: {', '.join(missing)} not installed",
            where=where,
            remedy=install_command("train"),
        )
