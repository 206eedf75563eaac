"""How one optimizer step is cut into micro-batches."""

from collections.abc import Mapping

from runner.errors import UserError
from runner.recipe.recipe import Json

DEFAULT_MICRO_BATCH = 8
"""transformers' default of `per_device_train_batch_size`, and the largest that is chosen here without a known GPU."""


def split_batch(training: Mapping[str, Json], devices: int = 1) -> tuple[int, int]:
    """The (`per_device_train_batch_size`, `gradient_accumulation_steps`) that a recipe asks for.

    Who sets both gets exactly those. `effective_batch_size` alone is cut into equal micro-batches, the largest that
    divides its share of a device and is at most `DEFAULT_MICRO_BATCH`; beside one of the two it determines the other.

    Args:
        training: the recipe's `training`.
        devices: how many take part in a step, over all machines.

    Raises:
        UserError: the numbers cannot be had together.
    """
    effective: int | None = training.get("effective_batch_size")
    micro: int | None = training.get("per_device_train_batch_size")
    accumulation: int | None = training.get("gradient_accumulation_steps")
    if effective is None:
        return micro or DEFAULT_MICRO_BATCH, accumulation or 1
    share = _divided(effective, devices, "devices", effective)
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
        return micro, _divided(share, micro, "per_device_train_batch_size", effective)
    if accumulation is not None:
        return _divided(share, accumulation, "gradient_accumulation_steps", effective), accumulation
    micro = max(size for size in range(1, DEFAULT_MICRO_BATCH + 1) if share % size == 0)
    return micro, share // micro


def halved(micro_batch: int, accumulation: int) -> tuple[int, int] | None:
    """The next smaller split of the same share of a step: at most half the micro-batch, more accumulation.

    Args:
        micro_batch: samples that a device takes at a time.
        accumulation: how many times it does, for one step.

    Returns:
        The same two; None where there is nothing smaller than one sample.
    """
    share = micro_batch * accumulation
    smaller = max((size for size in range(1, micro_batch // 2 + 1) if share % size == 0), default=None)
    return None if smaller is None else (smaller, share // smaller)


def _divided(total: int, by: int, name: str, whole: int) -> int:
    if total % by:
        raise UserError(
            f"{whole} samples over the devices are {total} each, which {name} = {by} does not divide"
            if total != whole
            else f"{whole} is not divided by {name} = {by}",
            where="training.effective_batch_size",
            remedy=f"write a multiple of {by}",
        )
    return total // by
