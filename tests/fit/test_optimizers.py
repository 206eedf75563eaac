"""Every optimizer that transformers names has its memory written down, and torch's own keep what is written."""

import torch
from transformers.training_args import OptimizerNames

from runner.fit.optimizers import OPTIMIZERS, UNKNOWN, optimizer


def test_every_name_of_transformers_is_there() -> None:
    assert {name.value for name in OptimizerNames} <= set(OPTIMIZERS)


def test_torchs_optimizers_keep_as_much_as_is_written() -> None:
    classes = {"adamw_torch": torch.optim.AdamW, "rmsprop": torch.optim.RMSprop, "adagrad": torch.optim.Adagrad}
    for name, kind in classes.items():
        for dtype in (torch.float32, torch.bfloat16):
            weight = torch.nn.Parameter(torch.ones(256, 64, dtype=dtype))
            weight.grad = torch.ones_like(weight)
            made = kind([weight])
            made.step()
            states = [each for each in made.state[weight].values() if each.numel() > 1]
            kept = sum(each.numel() * each.element_size() for each in states)
            assert kept == optimizer(name).state_bytes(weight.numel(), weight.element_size())


def test_a_name_that_is_not_known_counts_as_the_greediest() -> None:
    assert optimizer("a_new_one") is UNKNOWN
    assert all(UNKNOWN.state_bytes(1, 4) >= each.state_bytes(1, 4) for each in OPTIMIZERS.values())
