"""A snapshot is the state at the moment it was begun, whatever training does meanwhile."""

import threading

import pytest
import torch

from runner.train.checkpointing.snapshot import Snapshot, put_tensors, take_tensors


def test_a_state_tree_survives_being_taken_apart_and_put_together():
    tree = {
        "state": {0: {"exp_avg": torch.ones(3), "step": torch.tensor(2.0)}},
        "param_groups": [{"lr": 0.1, "betas": (1, 2)}],
    }
    found: dict[str, torch.Tensor] = {}
    skeleton = take_tensors(tree, "optimizer", found)
    assert len(found) == 2
    again = put_tensors(skeleton, {name: tensor.clone() for name, tensor in found.items()})
    assert again["param_groups"] == tree["param_groups"]
    assert torch.equal(again["state"][0]["exp_avg"], torch.ones(3))
    assert again["state"][0]["step"] == 2.0


def test_the_copy_holds_the_values_of_before_the_update():
    weight = torch.zeros(1_000_000)
    snapshot = Snapshot()
    snapshot.begin({"weight": weight})
    snapshot.wait_before_update()
    weight += 1
    assert snapshot.tensors()["weight"].sum() == 0


def test_an_update_waits_for_the_copy_through_the_optimizers_hook():
    weight = torch.nn.Parameter(torch.zeros(3_000_000))
    weight.grad = torch.ones_like(weight)
    optimizer = torch.optim.SGD([weight], lr=1.0)
    snapshot = Snapshot()
    optimizer.register_step_pre_hook(lambda *_: snapshot.wait_before_update())
    for step in range(5):
        snapshot.begin({"weight": weight.detach()})
        optimizer.step()
        assert torch.all(snapshot.tensors()["weight"] == -step)
        snapshot.release()


def test_buffers_are_used_again_and_follow_a_change_of_shape():
    snapshot = Snapshot()
    snapshot.begin({"a": torch.ones(4), "b": torch.ones(2)})
    first = snapshot.tensors()["a"]
    snapshot.release()
    snapshot.begin({"a": torch.full((4,), 2.0), "c": torch.ones(5, dtype=torch.bfloat16)})
    second = snapshot.tensors()
    assert second["a"].data_ptr() == first.data_ptr()
    assert set(second) == {"a", "c"}
    assert second["c"].dtype == torch.bfloat16


def test_the_next_snapshot_waits_until_the_one_before_is_written():
    snapshot = Snapshot()
    snapshot.begin({"a": torch.zeros(4)})
    copies = snapshot.tensors()
    begun = threading.Event()

    def begin_again() -> None:
        snapshot.begin({"a": torch.ones(4)})
        begun.set()

    threading.Thread(target=begin_again, daemon=True).start()
    assert not begun.wait(0.2)
    assert torch.all(copies["a"] == 0)
    snapshot.release()
    assert begun.wait(120)


def test_a_copy_that_fails_is_reported_to_the_one_who_wants_it():
    snapshot = Snapshot()
    snapshot.begin({"a": torch.empty(3, device="meta")})
    snapshot.wait_before_update()
    with pytest.raises(RuntimeError, match="could not be copied"):
        snapshot.tensors()


@pytest.mark.gpu
def test_a_gpu_snapshot_holds_the_values_of_before_the_update():
    weight = torch.zeros(50_000_000, device="cuda")
    snapshot = Snapshot()
    for step in range(5):
        snapshot.begin({"weight": weight})
        snapshot.wait_before_update()
        weight += 1
        copies = snapshot.tensors()
        assert copies["weight"].is_pinned()
        assert torch.all(copies["weight"] == step)
        snapshot.release()
