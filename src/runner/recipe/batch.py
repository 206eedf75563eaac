"""Split an optimizer step's batch into micro-batches."""

from collections.abc import Mapping

from runner.errors import UserError
from runner.recipe.recipe import Json

DEFAULT_MICRO_BATCH = 8
"""transformers' default of `per_device_train_batch_size`; without a known GPU, no larger one is chosen."""


def split_batch(training: Mapping[str, Json], devices: int = 1) -> tuple[int, int]:
    """Return the (`per_device_train_batch_size`, `gradient_accumulation_steps`) that a recipe asks for.

    If both are set, these are returned. `effective_batch_size` alone is split into equal micro-batches, of the largest
    size up to `DEFAULT_MICRO_BATCH` that divides a device's share. With one of the two it determines the other.

    Args:
        training: the recipe's `training`.
        devices: number of devices in all machines.

    Raises:
        UserError: the numbers contradict each other.
    """
    effective: int | None = training.get("effective_batch_size")
    micro: int | None = training.get("per_device_train_batch_size")
    accumulation: int | None = training.get("gradient_accumulation_steps")
    if effective is None:
        return micro or DEFAULT_MICRO_BATCH, accumulation or 1
    share = _divide(effective, devices, "devices", effective)
    if micro is not None and accumulation is not None:
        if micro * accumulation != share:
            raise UserError(
                f"{effective} is not per_device_train_batch_size x gradient_accumulation_steps x devices = "
                f"{micro} x {accumulation} x {devices} = {micro * accumulation * devices}",
                where="training.effective_batch_size",
                remedy="leave one of the three out",
            )
        return micro, accumulation
    if micro is not None:
        return micro, _divide(share, micro, "per_device_train_batch_size", effective)
    if accumulation is not None:
        return _divide(share, accumulation, "gradient_accumulation_steps", effective), accumulation
    micro = max(size for size in range(1, DEFAULT_MICRO_BATCH + 1) if share % size == 0)
    return micro, share // micro


def halve_micro_batch(micro_batch: int, accumulation: int) -> tuple[int, int] | None:
    """Return the next smaller (micro-batch, accumulation) with the same product, or None if there is none.

    The new micro-batch is at most half of the old one.
    """
    share = micro_batch * accumulation
    smaller = max((size for size in range(1, micro_batch // 2 + 1) if share % size == 0), default=None)
    return None if smaller is None else (smaller, share // smaller)


def _divide(total: int, by: int, name: str, whole: int) -> int:
    if total % by:
        raise UserError(
            f"{whole} samples over the devices are {total} each, which {name} = {by} does not divide"
            if total != whole
            else f"{whole} is not divisible by {name} = {by}",
            where="training.effective_batch_size",
            remedy=f"write a multiple of {by}",
        )
    return total // by
