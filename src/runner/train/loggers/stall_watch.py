"""Notice that a training has stopped to learn: one warning for each sign of it, with the step at which it began."""

from collections.abc import Mapping
from typing import Any

STEPS = 10
"""A sign counts when it has held for so many steps in a row, or for all steps of a training that has fewer."""

_FEWEST = 3
"""In a training of fewer steps, an equal loss proves nothing."""

_SIGNS = {
    "reward": "the completions of each prompt have all got one reward since step {since}: nothing is learned from them",
    "gradient": "the gradients have been exactly 0 since step {since}: nothing is learned",
    "learning_rate": "the learning rate has been 0 since step {since}: nothing is learned",
    "loss": "the loss has been exactly {loss:.6g} since step {since}: does the learning rate, or do the rows, teach "
    "nothing?",
}
"""What is said of each sign; of several at once, only the first."""


class StallWatch:
    """Looks at each step's record for signs that nothing is learned.

    The signs are exact: gradients or a learning rate of 0, a loss equal to the last bit, and for GRPO, whose loss is
    about 0 anyway, a reward without any spread in any prompt's completions (`frac_reward_zero_std` is 1).
    """

    def __init__(self) -> None:
        self._since: dict[str, int] = {}
        self._warned: list[str] = []
        self._loss: float | None = None

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint has to hold, so that no resumed run warns again."""
        return {"since": dict(self._since), "warned": list(self._warned), "loss": self._loss}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        self._since = dict(state["since"])
        self._warned = list(state["warned"])
        self._loss = state["loss"]

    def observe(self, step: int, logs: Mapping[str, Any], *, max_steps: int) -> str | None:
        """Look at one step's record; return a sentence for the log if a sign has held long enough.

        Args:
            step: the step's number, from 1.
            logs: what the trainer logged.
            max_steps: the last step's number.
        """
        loss = logs["loss"]
        before = self._loss
        shown = {
            "reward": logs.get("frac_reward_zero_std") == 1.0,
            "gradient": logs.get("grad_norm") == 0.0,
            "learning_rate": logs.get("learning_rate") == 0.0,
            # The first of two equal losses is where it began.
            "loss": before == loss and "reward" not in logs,
        }
        self._loss = loss
        for sign, holds in shown.items():
            if not holds:
                self._since.pop(sign, None)
            else:
                self._since.setdefault(sign, step - 1 if sign == "loss" else step)
        for sign, sentence in _SIGNS.items():
            since = self._since.get(sign)
            if since is None or not self._is_long(sign, since, step, max_steps):
                continue
            if sign in self._warned:
                return None
            self._warned.append(sign)
            return sentence.format(since=since, loss=loss)
        return None

    def _is_long(self, sign: str, since: int, step: int, max_steps: int) -> bool:
        count = step - since + 1
        all_of_them = since == 1 and step == max_steps and (sign != "loss" or count >= _FEWEST)
        return count >= STEPS or all_of_them
