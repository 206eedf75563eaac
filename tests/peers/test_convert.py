"""Configs of other tools become recipes that train the same, key by key; the configs are of our own writing."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from runner.control.recipes.import_config import Imported, import_config
from runner.errors import UserError
from runner.peers.convert import read_config
from runner.recipe.loading.other_tools import detect

AXOLOTL = """
base_model: acme/small-llama
datasets:
  - {path: acme/instructions, type: alpaca}
val_set_size: 0.1
adapter: qlora
load_in_4bit: true
lora_r: 16
lora_alpha: 32
lora_target_linear: true
sequence_len: 2048
sample_packing: true
micro_batch_size: 2
gradient_accumulation_steps: 4
num_epochs: 2
optimizer: paged_adamw_8bit
lr_scheduler: cosine
learning_rate: 2e-4
warmup_ratio: 0.1
evals_per_epoch: 4
bf16: auto
gradient_checkpointing: true
wandb_project: mine
output_dir: ./out
"""

LLAMAFACTORY = """
model_name_or_path: acme/small-llama-instruct
stage: sft
do_train: true
finetuning_type: lora
lora_rank: 4
lora_target: all
dataset: ours
template: llama3
cutoff_len: 512
max_samples: 100
per_device_train_batch_size: 1
gradient_accumulation_steps: 8
learning_rate: 1.0e-4
num_train_epochs: 3.0
lr_scheduler_type: cosine
warmup_ratio: 0.1
bf16: true
output_dir: saves
"""

OUMI = """
model:
  model_name: acme/small-llama-instruct
  torch_dtype_str: bfloat16
  model_max_length: 1024
  load_pretrained_weights: true
data:
  train:
    datasets: [{dataset_name: yahma/alpaca-cleaned}]
training:
  trainer_type: TRL_SFT
  use_peft: true
  optimizer: adamw_torch_fused
  learning_rate: 3e-4
  per_device_train_batch_size: 2
  max_steps: -1
  num_train_epochs: 1
  save_steps: 0
  dataloader_num_workers: auto
peft: {q_lora: false, lora_r: 64, lora_alpha: 128, lora_target_modules: [q_proj, v_proj]}
"""

TORCHTUNE = """
output_dir: /tmp/out
model: {_component_: torchtune.models.llama3_2.lora_llama3_2_1b, lora_attn_modules: [q_proj, v_proj, output_proj],
        apply_lora_to_mlp: true, lora_rank: 64, lora_alpha: 128, lora_dropout: 0.0}
tokenizer: {_component_: torchtune.models.llama3.llama3_tokenizer, path: /tmp/tokenizer.model, max_seq_len: null}
checkpointer: {_component_: torchtune.training.FullModelHFCheckpointer, checkpoint_dir: /tmp/Llama-3.2-1B-Instruct/}
dataset: {_component_: torchtune.datasets.alpaca_cleaned_dataset, packed: false}
seed: null
batch_size: 4
epochs: 1
gradient_accumulation_steps: 8
optimizer: {_component_: torch.optim.AdamW, fused: true, lr: 3e-4}
lr_scheduler: {_component_: torchtune.training.lr_schedulers.get_cosine_schedule_with_warmup, num_warmup_steps: 100}
loss: {_component_: torchtune.modules.loss.LinearCrossEntropyLoss}
dtype: bf16
compile: false
enable_activation_checkpointing: false
metric_logger: {_component_: torchtune.training.metric_logging.DiskLogger, log_dir: "${output_dir}/logs"}
log_every_n_steps: 1
"""


def imported(folder: Path, text: str, name: str = "theirs.yaml") -> Imported:
    (folder / name).write_text(text)
    return import_config([name], peer=None, cwd=folder)


def recipe(found: Imported) -> dict[str, Any]:
    assert found.ok, [*found.converted.draft.impossible, *found.problems]
    written: dict[str, Any] = yaml.safe_load(found.text)
    return written


def test_axolotl_trains_on_answers_only_in_alpacas_own_wording(tmp_path: Path) -> None:
    made = recipe(imported(tmp_path, AXOLOTL))
    assert made["data"] == {
        "train": [{"path": "acme/instructions", "format": "stanford_alpaca"}],
        "eval": {"from_train": 0.1},
    }
    assert made["adapter"] == {"r": 16, "lora_alpha": 32, "lora_dropout": 0.0, "target_modules": "all-linear"}
    assert made["model"] == {
        "model_name_or_path": "acme/small-llama",
        "dtype": "bfloat16",
        "load_in_4bit": True,
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": True,
        "bnb_4bit_compute_dtype": "bfloat16",
    }
    training = made["training"]
    assert training["learning_rate"] == 2e-4, "text by YAML 1.1"
    assert (training["warmup_steps"], training["packing"], training["max_length"]) == (0.1, True, 2048)
    assert (training["eval_strategy"], training["eval_steps"]) == ("steps", 0.125), "four times in each of two epochs"


def test_axolotls_conversations_are_trained_on_by_the_answers_alone(tmp_path: Path) -> None:
    text = AXOLOTL.replace("type: alpaca", "type: chat_template, field_messages: dialogue")
    made = recipe(imported(tmp_path, text.replace("sample_packing: true", "sample_packing: false")))
    assert made["training"]["assistant_only_loss"] is True
    assert made["data"]["train"] == [{"path": "acme/instructions", "template": {"messages": "{dialogue}"}}]


def test_a_template_by_name_for_a_base_model_is_one_of_ours_of_that_name(tmp_path: Path) -> None:
    text = AXOLOTL.replace("type: alpaca", "type: chat_template") + "chat_template: gemma3\n"
    assert recipe(imported(tmp_path, text))["training"]["chat_template_path"] == "gemma"


def test_a_layout_with_and_without_an_input_becomes_one_template_with_a_condition(tmp_path: Path) -> None:
    with_input, without = r'"Q: {instruction} ({input})\nA:"', r'"Q: {instruction}\nA:"'
    kind = f"{{format: {with_input}, no_input_format: {without}, field_instruction: question}}"
    made = recipe(imported(tmp_path, AXOLOTL.replace("type: alpaca", f"type: {kind}")))
    assert made["data"]["train"][0]["template"] == {
        "prompt": "{#input}Q: {question} ({input})\nA:{/input}{^input}Q: {question}\nA:{/input}",
        "completion": "{output}",
    }


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("rl: kto", "rl"),
        ("unfrozen_parameters: [lm_head]", "unfrozen_parameters"),
        ("loraplus_lr_ratio: 16", "loraplus_lr_ratio"),
        ("fsdp_config: {offload_params: true}", "fsdp_config"),
        ("chat_template: falcon_h1", "chat_template"),
        ("no_such_key_of_theirs: 1", "no_such_key_of_theirs"),
    ],
)
def test_what_a_recipe_cannot_say_is_named_and_makes_no_recipe(tmp_path: Path, line: str, key: str) -> None:
    found = imported(tmp_path, AXOLOTL + line + "\n")
    assert not found.ok
    assert [remark.key for remark in found.converted.draft.impossible] == [key]
    assert f"# NOT THE SAME: {key}: " in found.text


@pytest.mark.parametrize("line", ["liger_rope: true", "flash_attention: true", "use_wandb: true", "strict: false"])
def test_what_changes_no_result_is_left_out_and_said(tmp_path: Path, line: str) -> None:
    found = imported(tmp_path, AXOLOTL + line + "\n")
    key = line.partition(":")[0]
    assert found.ok
    assert [remark.mark for remark in found.converted.draft.remarks if remark.key == key] == ["left out"]


def test_fsdp_of_a_model_that_is_not_quantized_is_zero3(tmp_path: Path) -> None:
    text = (
        AXOLOTL.replace("load_in_4bit: true", "load_in_4bit: false")
        .replace("qlora", "lora")
        .replace("paged_adamw_8bit", "adamw_torch")
    )
    made = recipe(imported(tmp_path, text + "fsdp_config: {offload_params: true}\n"))
    assert made["training"]["strategy"] == "zero3_offload"


def test_llamafactorys_names_of_datasets_are_looked_up_beside_the_config(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "dataset_info.json").write_text(
        json.dumps({"ours": {"hf_hub_url": "acme/rows", "subset": "en"}})
    )
    made = recipe(imported(tmp_path, LLAMAFACTORY))
    assert made["data"]["train"] == [{"path": "acme/rows", "name": "en", "split": "train[:100]", "format": "alpaca"}]
    assert made["adapter"] == {"r": 4, "lora_alpha": 8, "lora_dropout": 0.0, "target_modules": "all-linear"}
    assert made["model"]["dtype"] == "bfloat16"
    assert "bf16" not in made["training"]


def test_llamafactorys_config_without_its_registry_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"dataset_info\.json"):
        imported(tmp_path, LLAMAFACTORY)


def test_llamafactorys_second_form_joins_instruction_and_input_without_anything_between_them(tmp_path: Path) -> None:
    (tmp_path / "demo.yaml").write_text("ours: {path: acme/rows, converter: alpaca, size: 500}\n")
    text = """
model: acme/small-instruct
model_class: llm
peft_config: {name: lora, r: 16, lora_alpha: 32, target_modules: all}
dist_config: {name: fsdp2, dcp_path: null}
train_dataset: demo.yaml
cutoff_len: 512
micro_batch_size: 1
max_steps: 10
"""
    made = recipe(imported(tmp_path, text))
    assert made["adapter"] == {"r": 16, "lora_alpha": 32, "lora_dropout": 0.05, "target_modules": "all-linear"}
    (entry,) = made["data"]["train"]
    assert (entry["path"], entry["split"]) == ("acme/rows", "train[:500]")
    assert entry["template"]["messages"][0] == {"role": "user", "content": "{instruction}{#input}{input}{/input}"}
    assert made["training"]["assistant_only_loss"] is True
    assert (made["training"]["lr_scheduler_type"], made["training"]["weight_decay"]) == ("constant", 0.01)
    assert made["training"]["strategy"] == "zero3"


def test_oumis_alpaca_rows_are_turns_with_its_system_prompt_and_loss_on_all_tokens(tmp_path: Path) -> None:
    made = recipe(imported(tmp_path, OUMI))
    (entry,) = made["data"]["train"]
    assert entry["path"] == "yahma/alpaca-cleaned"
    system, user, answer = entry["template"]["messages"]
    assert system["content"].startswith("Below is an instruction that describes a task{#input}, paired with an input")
    assert user == {"role": "user", "content": "{instruction}{#input}\n\n### Input:\n{input}{/input}"}
    assert answer == {"role": "assistant", "content": "{output}"}
    assert "assistant_only_loss" not in made["training"]
    assert made["training"]["gradient_checkpointing"] is False
    assert made["checkpoint"]["save_steps"] is None
    assert "max_steps" not in made["training"]


def test_oumis_collator_of_completions_trains_on_answers_alone_without_the_system_prompt(tmp_path: Path) -> None:
    text = OUMI.replace(
        "datasets: [{dataset_name: yahma/alpaca-cleaned}]",
        "collator_name: text_completions_only_with_padding\n"
        "    datasets: [{dataset_name: tatsu-lab/alpaca, dataset_kwargs: {include_system_prompt: false}}]",
    )
    made = recipe(imported(tmp_path, text))
    assert [turn["role"] for turn in made["data"]["train"][0]["template"]["messages"]] == ["user", "assistant"]
    assert made["training"]["assistant_only_loss"] is True


def test_torchtunes_model_is_guessed_from_its_folder_and_the_guess_is_said(tmp_path: Path) -> None:
    found = imported(tmp_path, TORCHTUNE)
    made = recipe(found)
    assert made["model"] == {"model_name_or_path": "meta-llama/Llama-3.2-1B-Instruct", "dtype": "bfloat16"}
    assert "guessed from the folder" in found.text
    assert made["adapter"]["target_modules"] == ["q_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    assert made["training"]["weight_decay"] == 0.01, "the default of torch's AdamW"
    assert made["training"]["max_grad_norm"] == 0.0
    assert made["training"]["max_length"] is None


def test_a_command_line_of_trls_becomes_a_recipe(tmp_path: Path) -> None:
    program = ["accelerate", "launch", "--config_file", "configs/deepspeed_zero2.yaml", "trl/scripts/dpo.py"]
    data = ["--model_name_or_path", "acme/small", "--dataset_name", "acme/pairs", "--beta", "0.2"]
    steps = ["--max_steps", "100", "--num_train_epochs", "3", "--eval_strategy", "steps", "--eval_steps", "50"]
    words = [
        *program,
        *data,
        *steps,
        "--use_peft",
        "--lora_r",
        "8",
        "--no_remove_unused_columns",
        "--output_dir",
        "out",
    ]
    made = recipe(import_config(words, peer=None, cwd=tmp_path))
    assert made["method"] == "dpo"
    assert made["adapter"] == {"r": 8, "lora_alpha": 32, "lora_dropout": 0.05}
    assert made["data"] == {"train": [{"path": "acme/pairs"}], "eval": [{"path": "acme/pairs", "split": "test"}]}
    assert made["training"] == {
        "strategy": "zero2",
        "beta": 0.2,
        "max_steps": 100,
        "eval_strategy": "steps",
        "eval_steps": 50,
        "remove_unused_columns": False,
    }


def test_a_token_of_the_command_line_does_not_come_into_the_recipe(tmp_path: Path) -> None:
    token = "hf_" + "A" * 34
    words = ["trl", "sft", "--model_name_or_path", "acme/a", "--dataset_name", "acme/b", "--hub_token", token]
    found = import_config(words, peer=None, cwd=tmp_path)
    assert [remark.key for remark in found.converted.draft.impossible] == ["hub_token"]
    assert token not in found.text


def test_a_line_break_in_a_config_does_not_end_a_comment(tmp_path: Path) -> None:
    found = imported(tmp_path, AXOLOTL + 'chat_template: "one\\ntwo: three"\n')
    assert not found.ok
    assert "two" not in yaml.safe_load(found.text)


def test_relative_paths_begin_where_the_recipe_is_written(tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "rows.jsonl").write_text('{"instruction": "a", "output": "b"}\n' * 20)
    (tmp_path / "configs" / "theirs.yaml").write_text(AXOLOTL.replace("acme/instructions", "rows.jsonl"))
    assert import_config(["configs/theirs.yaml"], peer=None, cwd=tmp_path).ok
    elsewhere = import_config(["configs/theirs.yaml"], peer=None, cwd=tmp_path, beside=tmp_path / "configs")
    assert "there is no file or folder `rows.jsonl`" in elsewhere.problems[0]


def test_a_mixture_of_the_handbook_and_its_template_become_entries_and_a_file(tmp_path: Path) -> None:
    text = """
model_name_or_path: acme/base
torch_dtype: bfloat16
chat_template: "{% for m in messages %}{{ m.content }}{% endfor %}"
dataset_mixture:
  datasets:
    - {id: acme/one, config: default, split: train, weight: 1.0, columns: [messages]}
    - {id: acme/two, config: en, split: train_sft, weight: 0.5, columns: [messages]}
  test_split_size: 1000
eval_strategy: epoch
learning_rate: 2.0e-05
save_strategy: "no"
push_to_hub: true
hub_model_id: me/mine
"""
    found = imported(tmp_path, text)
    made = recipe(found)
    assert made["data"] == {
        "train": [{"path": "acme/one"}, {"path": "acme/two", "name": "en", "split": "train_sft", "sample": 0.5}],
        "eval": {"from_train": 1000},
    }
    assert made["training"]["chat_template_path"] == "chat_template.jinja"
    assert "{{ m.content }}" in found.converted.draft.files["chat_template.jinja"]
    assert made["export"] == {"push_to_hub": True, "hub_model_id": "me/mine"}


@pytest.mark.parametrize(
    ("text", "peer"),
    [(AXOLOTL, "axolotl"), (LLAMAFACTORY, "llamafactory"), (OUMI, "oumi"), (TORCHTUNE, "torchtune")],
)
def test_a_config_is_known_by_its_keys(text: str, peer: str) -> None:
    assert detect(read_config(text, name="theirs.yaml")) == peer


def test_a_place_that_is_nowhere_is_a_mistake_with_its_name() -> None:
    with pytest.raises(UserError, match="nowhere"):
        read_config("a: ${b.c}\n", name="theirs.yaml")


TASK = """
name: llama
resources: {accelerators: A100:1, use_spot: true, image_id: "docker:axolotlai/axolotl:main", ports: 8080}
envs: {HF_TOKEN: abc, WANDB_MODE: offline}
num_nodes: 2
workdir: .
setup: pip install axolotl
run: |
  set -e
  cd work && axolotl train theirs.yml \\
    --launcher accelerate
"""


def test_a_skypilot_task_brings_its_machines_and_the_config_that_it_trains_with(tmp_path: Path) -> None:
    (tmp_path / "theirs.yml").write_text(AXOLOTL)
    found = imported(tmp_path, TASK, "task.yaml")
    made = recipe(found)
    assert made["name"] == "task"
    assert made["model"]["model_name_or_path"] == "acme/small-llama"
    assert made["resources"] == {"accelerators": "A100:1", "use_spot": True}
    assert made["sky"] == {"envs": {"WANDB_MODE": "offline"}}
    assert "abc" not in found.text, "a secret"
    left = {remark.key: remark.text for remark in found.converted.draft.remarks if remark.mark == "left out"}
    assert left["envs.HF_TOKEN"].startswith("`runner launch --secret HF_TOKEN`")
    assert left["num_nodes"] == "`runner launch --nodes 2` says it"


def test_a_task_with_a_command_line_of_trls_needs_no_config(tmp_path: Path) -> None:
    text = (
        "resources: {accelerators: L4}\nrun: trl sft --model_name_or_path acme/small --dataset_name acme/chats "
        "--learning_rate 2e-5\n"
    )
    made = recipe(imported(tmp_path, text, "task.yaml"))
    assert (made["method"], made["resources"]) == ("sft", {"accelerators": "L4"})
    assert made["training"] == {"learning_rate": 2e-5}


@pytest.mark.parametrize(
    ("run", "words"), [("python mine.py", "starts no training"), ("axolotl train $CONFIG", "names no config")]
)
def test_a_task_whose_training_is_not_known_is_one_mistake(tmp_path: Path, run: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        imported(tmp_path, f"resources: {{accelerators: L4}}\nrun: {run}\n", "task.yaml")
