"""A stage that would take no step is refused, with what to write."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.optim.lr_scheduler import LambdaLR

from runner.errors import UserError
from runner.train.checkpointing.divergence import TrainingDiverged
from runner.train.stages.before_training import check_evaluation, check_steps, check_steps_taken


def trainer(examples: int, **args: Any) -> Any:
    settings = {"max_steps": 4, "num_train_epochs": 3.0, "dataloader_drop_last": True, "world_size": 1}
    settings |= {"per_device_train_batch_size": 8, "packing": False, **args}
    return SimpleNamespace(args=SimpleNamespace(**settings), train_dataset=[None] * examples)


@pytest.mark.parametrize(
    ("examples", "args", "words"),
    [
        (3, {}, ["3 rows; they do not fill a batch of 8,", "`per_device_train_batch_size: 3`"]),
        (3, {"max_steps": -1}, ["3 rows"]),
        (15, {"world_size": 2}, ["a batch of 8 for each of 2 processes", "`per_device_train_batch_size: 7`"]),
        (2, {"packing": True}, ["40 rows (packed into 2)"]),
    ],
)
def test_data_that_fill_no_batch_are_refused_with_the_numbers(
    examples: int, args: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(UserError) as caught:
        check_steps(trainer(examples, **args), rows=40 if args.get("packing") else examples)
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize(
    ("examples", "args"),
    [(8, {}), (3, {"dataloader_drop_last": False}), (16, {"world_size": 2}), (1, {"num_generations": 8})],
)
def test_one_batch_is_enough(examples: int, args: dict[str, Any]) -> None:
    check_steps(trainer(examples, **args), rows=examples)


def evaluated(rows: int | None, *, answers: int | None = None, **args: Any) -> Any:
    settings = {"dataloader_drop_last": True, "per_device_eval_batch_size": 8, "world_size": 1, **args}
    trainer = SimpleNamespace(args=SimpleNamespace(**settings), eval_dataset=None if rows is None else [None] * rows)
    if answers is not None:
        trainer.num_generations_eval = answers
    return trainer


def test_evaluation_data_that_fill_no_batch_are_refused_where_the_last_batch_is_dropped() -> None:
    with pytest.raises(UserError, match=r"data\.eval has 7 rows; they do not fill a batch of 8") as caught:
        check_evaluation(evaluated(7))
    assert "`per_device_eval_batch_size: 7`" in str(caught.value)
    with pytest.raises(UserError, match="for each of 2 processes"):
        check_evaluation(evaluated(15, world_size=2))
    for fine in (evaluated(8), evaluated(None), evaluated(1, dataloader_drop_last=False), evaluated(2, answers=4)):
        check_evaluation(fine)


@pytest.mark.parametrize("epochs", [0, -1.0])
def test_no_epochs_train_nothing(epochs: float) -> None:
    with pytest.raises(UserError, match="train nothing"):
        check_steps(trainer(8, max_steps=-1, num_train_epochs=epochs), rows=8)


def finished(steps: int, *, taken: int, scaler: object = None) -> Any:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = LambdaLR(optimizer, lambda step: 1.0)
    for _ in range(taken):
        optimizer.step()
        scheduler.step()
    state = SimpleNamespace(global_step=steps)
    accelerator = SimpleNamespace(scaler=scaler)
    args = SimpleNamespace(per_device_train_batch_size=8)
    return SimpleNamespace(state=state, accelerator=accelerator, lr_scheduler=scheduler, args=args)


def test_a_training_without_a_step_is_no_training() -> None:
    check_steps_taken(finished(4, taken=4))
    check_steps_taken(finished(4, taken=1, scaler=object()))
    with pytest.raises(UserError, match="no optimizer step was taken"):
        check_steps_taken(finished(0, taken=0))


def test_a_float16_training_that_skipped_all_steps_has_learned_nothing() -> None:
    with pytest.raises(TrainingDiverged, match="in each of 4 steps"):
        check_steps_taken(finished(4, taken=0, scaler=object()))
