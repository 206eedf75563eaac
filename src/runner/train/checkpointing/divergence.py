"""End a training that has diverged, before it writes weights that are worth nothing.

A loss or gradient that is infinite or not a number (NaN) makes every later weight NaN. `float16` is the exception: its
gradients are scaled up, and a step in which they overflow is skipped and the scale halved, which is how the scale is
found. Imports no torch: the table in `runner.train.failures` needs the error.
"""

import math

NOT_FINITE_STEPS = 3
"""After so many steps in a row with a loss or gradient that is not finite, training ends."""

SKIPPED_STEPS = 24
"""After so many steps in a row that `float16` skipped. The scale begins at 2^16, so that 16 are enough to come to 1."""

_REMEDY = (
    "Lower training.learning_rate, or warm it up (warmup_steps); with float16, train in bfloat16 (bf16: true) or "
    "float32 (fp16: false)."
)


class TrainingDiverged(Exception):
    """The loss, the gradients or the weights are infinite or not a number.

    Args:
        what: which, and since when.
        last_good: the last step whose weights gave a finite loss and gradients.
        good_step: the step of the last checkpoint up to there; None if there is none.
    """

    def __init__(self, what: str, *, last_good: int, good_step: int | None = None) -> None:
        self.what = what
        self.last_good = last_good
        kept = "there is no checkpoint from before"
        if good_step is not None:
            kept = f"the last good checkpoint is that of step {good_step}"
        super().__init__(f"the training has diverged: {what}; {kept}\n  {_REMEDY}")


class DivergenceWatch:
    """Counts the steps in a row that a training could not learn from."""

    def __init__(self) -> None:
        self._not_finite = 0
        self._skipped = 0

    def observe(self, step: int, loss: float, grad_norm: float | None, *, skipped: bool) -> None:
        """Look at one optimizer step. All training processes must be given the same.

        Args:
            step: its number.
            loss: its loss.
            grad_norm: the norm of its gradients, if it is known.
            skipped: whether the optimizer did not take it, since scaled gradients overflowed (`float16`).

        Raises:
            TrainingDiverged: it was one too many.
        """
        bad_gradient = grad_norm is not None and not math.isfinite(grad_norm)
        is_bad = not math.isfinite(loss) or (bad_gradient and not skipped)
        self._not_finite = self._not_finite + 1 if is_bad else 0
        self._skipped = self._skipped + 1 if skipped else 0
        norm = "" if grad_norm is None else f", grad_norm {grad_norm:.4g}"
        if self._not_finite >= NOT_FINITE_STEPS:
            first = step - self._not_finite + 1
            # The weights after step n - 1 are those that the loss of step n is of.
            raise TrainingDiverged(
                f"loss {loss:.4g}{norm} at step {step}, and not finite since step {first}", last_good=max(0, first - 2)
            )
        if self._skipped >= SKIPPED_STEPS:
            first = step - self._skipped + 1
            what = f"float16 gradients overflow and each step is skipped, since step {first}{norm}"
            raise TrainingDiverged(what, last_good=first - 1)
