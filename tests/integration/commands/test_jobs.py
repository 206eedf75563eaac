"""Each shipped recipe runs to its end in small: the same file, with a model and rows that are made on the spot."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

from runner.recipe.loading.finder import available_recipes
from runner.recipe.loading.load import load_recipe
from runner.recipe.quantizations import gguf_artifact
from runner.runs.layout import run_key
from runner.runs.metrics import read_metrics
from runner.runs.submission.prepare import prepare
from runner.storage.open import open_store
from runner.train.builtin.catalog import builtin_dataset, materialize
from support.forked import Attempts
from support.runs import check_metrics
from support.thorough import cases

STEPS = 4
TINY = (
    "model.model_name_or_path=builtin:tiny-llama",
    f"training.max_steps={STEPS}",
    "training.effective_batch_size=8",
    "training.eval_steps=2",
    "data.eval={from_train: 8}",
    "checkpoint.save_steps=2",
    "evaluate.max_new_tokens=4",
)
SHORT = ("training.max_length=96", "data.train.0.path=rows.jsonl")
FEW = ("training.max_steps=4", "training.eval_steps=2", "checkpoint.save_steps=2", "evaluate.max_new_tokens=4")
CODER = (
    "model.model_name_or_path=builtin:tiny-llama",
    *(*FEW, *SHORT, "data.eval.0.path=rows.jsonl"),
)
RECIPES: dict[str, tuple[str, ...]] = {
    "deepseek-r1-qwen3-8b-finetome": (
        "model.model_name_or_path=bnb-4bit",
        *(*FEW, *SHORT, "data.train.0.sample=0.6", "data.eval={from_train: 8}"),
    ),
    "deepseek-r1-distill-qwen-1.5b-math-science": (
        "model.model_name_or_path=deepseek-r1",
        *(*FEW, *SHORT, "training.max_length=160", "data.train.1.path=rows.jsonl"),
        *("evaluate.exact_match.max_samples=4", "evaluate.exact_match.max_new_tokens=4"),
    ),
    "llama-3.2-1b-finetome": (
        "model.model_name_or_path=builtin:tiny-llama",
        *("training.max_steps=4", "checkpoint.save_steps=2", "evaluate.max_new_tokens=4"),
        *(*SHORT, "data.eval={from_train: 8}"),
    ),
    "qwen2.5-coder-1.5b-diverse": CODER,
    "qwen2.5-coder-1.5b-diverse-long": CODER,
    "qwen2.5-coder-1.5b-diverse-capacity": CODER,
    "smollm2-135m-full": (*TINY, *SHORT),
    "smollm2-135m-lora": (*TINY, *SHORT),
    "smollm2-135m-cpt": (
        *TINY,
        *SHORT,
        "data.train.0.sample=60",
        "adapter.modules_to_save=[embed_tokens]",
        "adapter.ensure_weight_tying=true",
    ),
    "smollm2-135m-cpt-sft-dpo": (
        *TINY,
        "training.max_length=96",
        *(f"stages.{stage}.data.train.0.path=rows.jsonl" for stage in ("cpt", "sft", "dpo")),
        "stages.cpt.data.train.0.sample=60",
    ),
    "smollm2-135m-dpo": (*TINY, *SHORT),
    "smollm2-135m-grpo": (*TINY, "training.max_completion_length=8"),
}


def row(number: int, prompt: str, completion: str) -> dict[str, Any]:
    """One with the fields of all the datasets."""
    code = f"def f():\n    '''{completion}'''\n"
    return {
        # CodeGen-Diverse's, of which Alpaca has `input` and `output` too, and its `instruction`.
        "instruction": prompt,
        "input": prompt,
        "output": completion,
        "solution": code,
        "split": "valid" if number % 10 == 0 else "train",
        # CodeSearchNet's, and Orca's pairs'.
        "original_string": code,
        "system": "",
        "question": prompt,
        "chosen": completion,
        "rejected": "I do not know.",
        # FineTome's, MathCodeInstruct's and SciBench's.
        "conversations": [{"from": "human", "value": prompt}, {"from": "gpt", "value": completion}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "content": prompt}]},
            {
                "role": "assistant",
                "content": [
                    {"type": "code", "content": f"print({number})"},
                    {"type": "execution", "content": str(number)},
                    {"type": "text", "content": f"It is \\\\boxed{{{number}}}."},
                ],
            },
        ],
        "problem_text": prompt,
        "answer_number": str(number),
        "unit": " ",
    }


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny models with what is special about some: a chat template that drops reasoning, weights in 4 bits."""
    folder = tmp_path_factory.mktemp("models")
    source = materialize("builtin:tiny-llama", folder)
    tokenizer = AutoTokenizer.from_pretrained(source)
    quantization = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype="bfloat16")
    for name, settings in (("bnb-4bit", {"quantization_config": quantization}), ("deepseek-r1", {})):
        AutoModelForCausalLM.from_pretrained(source, **settings).save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    tokenizer.chat_template = files("trl").joinpath("chat_templates/deepseek_r1_distill.jinja").read_text()
    tokenizer.save_pretrained(folder / "deepseek-r1")
    return folder


# One of each method, and of what else sets recipes apart: 4-bit models, a chat template that drops reasoning, stages.
QUICK = (
    "deepseek-r1-qwen3-8b-finetome",
    "deepseek-r1-distill-qwen-1.5b-math-science",
    "qwen2.5-coder-1.5b-diverse",
    "smollm2-135m-cpt-sft-dpo",
    "smollm2-135m-grpo",
)


@pytest.mark.parametrize("name", cases(RECIPES, quick=lambda name: name in QUICK))
def test_a_shipped_recipe_runs_to_its_end_in_small(name: str, models: Path, forked: Attempts, tmp_path: Path) -> None:
    docstrings = builtin_dataset("builtin:python-docstrings", where="data")[:900:9]
    rows = [row(number, one["prompt"], one["completion"]) for number, one in enumerate(docstrings)]
    for model in ("bnb-4bit", "deepseek-r1"):
        (tmp_path / model).symlink_to(models / model)
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    loaded = load_recipe(name, overrides=RECIPES[name], cwd=tmp_path)
    prepared = prepare(loaded)

    store = open_store(forked.store_url)
    for key, path in prepared.inputs.items():
        store.upload(run_key(name, key), path)
    record = {"version": 1, "run_id": name, "name": name, "recipe": prepared.recipe}
    record |= {"infra": "local", "accelerators": None, "created_at": "2026-01-01T00:00:00+00:00"}
    assert store.create(run_key(name, "run.json"), json.dumps(record).encode())
    assert forked.run(name) == 0, forked.log(name)

    result = json.loads(store.get(run_key(name, "result.json")))
    assert result["step"] == STEPS
    assert result["before"]
    assert result["after"]
    stages = loaded.recipe.stages
    handed_over = {f"stage-{stage.stage_name}" for stage in stages[:-1]}
    export = loaded.recipe.export
    exported = {*(["merged"] if export.merge else []), *map(gguf_artifact, export.gguf)}
    assert set(result["artifacts"]) == {"model", *handed_over, *exported}
    last = loaded.recipe.in_order[-1].stage_name
    recorded = json.loads(store.get(run_key(name, f"attempts/0001.hardware-{last}.json")))
    assert recorded.items() >= result["hardware"].items()
    optimizer = loaded.recipe.training.get("optim", "adamw_torch_fused")
    assert result["hardware"]["optim"] == optimizer
    if "deepseek" in name:
        assert (result["hardware"]["quantization"], result["hardware"]["optim"]) == ("nf4", optimizer)
        assert result["hardware"]["loss_on"] == ("completions" if "science" in name else "all tokens")
    records = read_metrics(store, name)
    for stage in loaded.recipe.in_order:
        check_metrics([record for record in records if record["stage"] == stage.stage_name], steps=STEPS)
    assert [stage["stage"] for stage in result.get("stages", ())] == [stage.stage_name for stage in stages]
    if name == "deepseek-r1-distill-qwen-1.5b-math-science":
        assert "answers are written out around it" in forked.log(name), "R1's template would drop the reasoning"
        assert result["after"]["exact_match_samples"] == 4
    if loaded.recipe.method == "grpo":
        assert all("rewards/closeness/mean" in one for one in records if one["kind"] == "train")
        assert "eval_reward" in result["after"]


def test_every_shipped_recipe_has_such_a_run(tmp_path: Path) -> None:
    """The quickstart is built in as it is, and has tests of its own."""
    assert RECIPES.keys() >= set(QUICK)
    assert set(RECIPES) == set(available_recipes(tmp_path)) - {"quickstart"}
