"""Several training processes: whatever happens to one of them, the run ends as if nothing had happened."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from runner.recipe.recipe import Recipe
from runner.runs.attempts import attempts
from runner.runs.checkpoints.lineage import checkpoints
from runner.runs.layout import run_key
from runner.storage.commit import fetch
from runner.storage.open import open_store
from runner.storage.store import Store
from runner.train.builtin.catalog import materialize
from runner.train.checkpointing.state import without_ties
from support.forked import Attempts, Moment
from support.method_recipes import SFT_STEP
from support.references import Reference, References
from support.runs import assert_same, outcome, recipe, submit
from support.thorough import cases

STRATEGIES = ["ddp", "zero2", "zero3"]


def shared(data: Path, strategy: str, **training: Any) -> Recipe:
    """The run of the other tests, with a batch that is shared; with an adapter and dropout where it is ZeRO-2."""
    return recipe(data, adapter=strategy == "zero2", strategy=strategy, **training)


def undisturbed(references: References, data: Path, strategy: str) -> Reference:
    """The run that nobody kills."""
    return references(shared(data, strategy), {"RUNNER_PROCESSES": "2", "DS_ACCELERATOR": "cpu"})


@pytest.mark.parametrize("strategy", cases(STRATEGIES, quick=lambda strategy: strategy == "ddp"))
def test_whatever_happens_to_either_of_two_processes_the_run_ends_the_same(
    strategy: str, pair: Attempts, references: References, data: Path
) -> None:
    """One is told to stop, one dies, both die in an update, and the first dies when training has ended."""
    store = open_store(pair.store_url)
    run_id = f"{strategy}-disturbed"
    submit(store, run_id, shared(data, strategy))
    assert pair.run(run_id, Moment(SFT_STEP, 3, signal=signal.SIGTERM, rank=1)) == 75, pair.log(run_id)
    assert checkpoints(store, run_id)[0].step == 2, "saved by both at the boundary of the very step"
    assert pair.run(run_id, Moment(SFT_STEP, 6, rank=1)) == 75, pair.log(run_id)
    assert "training process 1 of 2 was killed by SIGKILL" in reason(store, run_id)
    assert pair.run(run_id, Moment("torch.optim:AdamW.step", 7, rank=None)) == 75, pair.log(run_id)
    assert pair.run(run_id, Moment("runner.train.stages.artifacts:save_model", after=True)) == 75, pair.log(run_id)
    pair.run_to_the_end(run_id)
    assert_same(outcome(store, run_id), undisturbed(references, data, strategy).outcome)


@pytest.mark.thorough
@pytest.mark.parametrize("strategy", ["zero2_offload", "zero3_offload"])
def test_with_state_in_main_memory_a_killed_run_ends_the_same(
    strategy: str, pair: Attempts, references: References, data: Path
) -> None:
    """Where there is no GPU it is main memory already, but the way of the state through DeepSpeed is the offloaded."""
    store = open_store(pair.store_url)
    run_id = f"{strategy.replace('_', '-')}-disturbed"
    submit(store, run_id, shared(data, strategy))
    assert pair.run(run_id, Moment(SFT_STEP, 13, rank=1)) == 75, pair.log(run_id)
    assert checkpoints(store, run_id), "it goes on from somewhere"
    pair.run_to_the_end(run_id)
    assert_same(outcome(store, run_id), undisturbed(references, data, strategy).outcome)


def reason(store: Store, run_id: str) -> str:
    """Why the newest attempt ended."""
    ended = attempts(store, run_id)[-1].ended
    assert ended is not None
    return str(ended["reason"])


@pytest.mark.parametrize(
    "strategy", cases([*STRATEGIES, "zero3_offload"], quick=lambda strategy: strategy in ("ddp", "zero3_offload"))
)
def test_the_model_that_is_kept_is_whole(strategy: str, references: References, data: Path, tmp_path: Path) -> None:
    """Also when its weights were spread: `from_pretrained` reads every one of them, in its full shape."""
    run = undisturbed(references, data, strategy)
    store = open_store(run.attempts.store_url)
    result = json.loads(store.get(run_key(run.run_id, "result.json")))
    fetch(store, run_key(run.run_id, result["artifacts"]["model"]), tmp_path / "model")
    weights = load_file(next((tmp_path / "model").glob("*.safetensors")))
    whole = AutoModelForCausalLM.from_pretrained(materialize("builtin:tiny-llama", tmp_path))
    if strategy == "zero2":
        assert all(".lora_" in name for name in weights)
        assert all(tensor.abs().sum() > 0 for tensor in weights.values())
    else:
        assert {name: tensor.shape for name, tensor in weights.items()} == {
            name: tensor.shape for name, tensor in without_ties(whole.state_dict()).items()
        }
    assert run.outcome["generations"][0]["before"] is not None
    assert run.outcome["best"]["step"] in (4, 8, 12)


class Machines:
    """Two machines of one launch, each with an attempt's process and a training process of its own."""

    def __init__(self, store_url: str, folder: Path) -> None:
        self.nodes = [
            Attempts(
                store_url,
                folder / str(rank),
                {
                    "SKYPILOT_NUM_NODES": "2",
                    "SKYPILOT_NODE_RANK": str(rank),
                    "SKYPILOT_NODE_IPS": "127.0.0.1\n127.0.0.1",
                    "RUNNER_PROCESSES": "1",
                },
            )
            for rank in range(2)
        ]
        for node in self.nodes:
            node.folder.mkdir(parents=True)

    def run(self, run_id: str, *moments: Moment | None) -> list[int]:
        """Start both, the head last; their exit codes."""
        processes = [
            node.start(run_id, moment) for node, moment in reversed(list(zip(self.nodes, moments, strict=True)))
        ]
        for process in processes:
            process.join(900)
            assert process.exitcode is not None, self.log(run_id)
        return [process.exitcode for process in reversed(processes)]

    def log(self, run_id: str) -> str:
        return "\n".join(node.log(run_id) for node in self.nodes)


@pytest.mark.parametrize(
    "disturbances",
    [
        pytest.param(("told", "dead head"), id="told-and-dead-head"),
        pytest.param(("told", "dead process", "dead head"), id="all", marks=pytest.mark.thorough),
    ],
)
def test_two_machines_train_as_one_whatever_happens_to_either(
    disturbances: tuple[str, ...], pair: Attempts, references: References, data: Path, tmp_path: Path
) -> None:
    """Told to stop on the second, a dead process on the second, a dead head: as two processes of one machine."""
    store = open_store(pair.store_url)
    run_id = f"machines-{len(disturbances)}"
    submit(store, run_id, shared(data, "ddp"))
    machines = Machines(pair.store_url, tmp_path)
    told = Moment(SFT_STEP, 7, signal=signal.SIGTERM, hits_attempt=True)
    assert machines.run(run_id, None, told) == [75, 75], machines.log(run_id)
    # In step 4 the agent was told; it tells its process, which may have begun the next step meanwhile.
    assert checkpoints(store, run_id)[0].step in (4, 5)
    if "dead process" in disturbances:
        assert machines.run(run_id, None, Moment(SFT_STEP, 6)) == [75, 75], machines.log(run_id)
        assert "training process 1 of 2 was killed by SIGKILL" in reason(store, run_id)
    dead = Moment(SFT_STEP, 2, hits_attempt=True)
    assert machines.run(run_id, dead, None) == [-signal.SIGKILL, 75], machines.log(run_id)
    assert machines.run(run_id, None, None) == [0, 0], machines.log(run_id)
    assert_same(outcome(store, run_id), undisturbed(references, data, "ddp").outcome)


def test_with_the_whole_state_in_each_another_number_of_processes_goes_on(
    pair: Attempts, data: Path, tmp_path: Path
) -> None:
    """The same samples make the same steps, summed in another order."""
    store = open_store(pair.store_url)
    batch = {"effective_batch_size": 8, "per_device_train_batch_size": None, "gradient_accumulation_steps": None}
    submit(store, "fewer", recipe(data, adapter=False, **batch))
    moment = Moment(SFT_STEP, 5, signal=signal.SIGTERM)
    assert pair.run("fewer", moment) == 75, pair.log("fewer")
    alone = Attempts(pair.store_url, tmp_path, {"RUNNER_PROCESSES": "1"})
    assert alone.run("fewer") == 0, alone.log("fewer")
    submit(store, "as-ever", recipe(data, adapter=False, **batch))
    assert alone.run("as-ever") == 0, alone.log("as-ever")
    mine, theirs = (
        [record["loss"] for record in outcome(store, run_id)["metrics"] if record["kind"] == "train"]
        for run_id in ("fewer", "as-ever")
    )
    assert mine == pytest.approx(theirs, rel=1e-4)


def test_zeros_parts_belong_to_as_many_processes(pair: Attempts, data: Path, tmp_path: Path) -> None:
    """Refused with what was expected, and not for good: the right machines can go on."""
    store = open_store(pair.store_url)
    submit(store, "parts", shared(data, "zero2", effective_batch_size=8, gradient_accumulation_steps=None))
    moment = Moment(SFT_STEP, 5, signal=signal.SIGTERM)
    assert pair.run("parts", moment) == 75, pair.log("parts")
    alone = Attempts(pair.store_url, tmp_path, {"RUNNER_PROCESSES": "1", "DS_ACCELERATOR": "cpu"})
    assert alone.run("parts") == 75
    assert "written by 2 training processes with ZeRO-2, and there are 1 with ZeRO-2" in reason(store, "parts")
