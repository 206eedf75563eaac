"""The model card of a pushed model: base, data, settings and measurements."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

_TRL = {"sft": "sft", "cpt": "sft", "dpo": "dpo", "grpo": "grpo"}
"""The hub's tag for models of each of TRL's trainers."""
_OWN = "own data"
_METHODS = {
    "sft": "supervised fine-tuning",
    "cpt": "continued pretraining",
    "dpo": "direct preference optimization",
    "grpo": "group relative policy optimization",
}


def model_card(repository: str, *, run: Mapping[str, Any], result: Mapping[str, Any], files: Sequence[str]) -> str:
    """Return the card, the text of a ``README.md``.

    Args:
        repository: full name of the repository on the hub.
        run: the run's ``run.json``.
        result: the run's ``result.json``, or its content to be.
        files: names of the other files in the repository.
    """
    recipe = run["recipe"]
    stages = recipe.get("stages") or [recipe]
    base = recipe["model"]["model_name_or_path"]
    base = base if _is_on_hub(base) or base.startswith("builtin:") else "a model of one's own"
    datasets = list(dict.fromkeys(name for stage in stages for name in _datasets(stage)))
    is_adapter = "adapter_config.json" in files
    ggufs = [name for name in files if name.endswith(".gguf")]
    methods = list(dict.fromkeys(stage["method"] for stage in stages))
    data = ModelCardData(
        model_name=repository.rpartition("/")[2],
        base_model=base if _is_on_hub(base) else None,
        datasets=[name for name in datasets if _is_on_hub(name)] or None,
        library_name="peft" if is_adapter else "transformers",
        pipeline_tag="text-generation",
        tags=[
            "runner",
            "trl",
            *dict.fromkeys(_TRL[method] for method in methods if method in _TRL),
            *(["lora"] if is_adapter else []),
            *(["gguf"] if ggufs else []),
        ],
        eval_results=_evaluations(result, datasets[0]) if datasets else None,
    )
    parts = [
        f"---\n{data.to_yaml()}\n---",
        f"# {repository.rpartition('/')[2]}",
        f"`{base}` after {' and '.join(_METHODS.get(method, method) for method in methods)}"
        f"{' (a LoRA adapter)' if is_adapter else ''} on {', '.join(f'`{name}`' for name in datasets)}, "
        "trained with runner through TRL.",
        _usage(repository, base, is_adapter=is_adapter, ggufs=ggufs),
        _measurements(result),
        *(_settings(stage) for stage in stages),
        _provenance(run, result),
    ]
    return str(ModelCard("\n\n".join(part for part in parts if part) + "\n"))


def _is_on_hub(name: str) -> bool:
    """Whether a model or dataset is on the hub."""
    return name != _OWN and ":" not in name and not name.startswith(("/", "inputs/"))


def _datasets(stage: Mapping[str, Any]) -> list[str]:
    """Return the datasets of a stage. The names of the user's own files are private, and left out."""
    paths = [entry["path"] for entry in stage["data"]["train"]]
    return [path if _is_on_hub(path) or path.startswith("builtin:") else _OWN for path in paths]


def _usage(repository: str, base: str, *, is_adapter: bool, ggufs: Sequence[str]) -> str:
    if is_adapter:
        code = (
            "from peft import AutoPeftModelForCausalLM\n"
            f'model = AutoPeftModelForCausalLM.from_pretrained("{repository}")  # on top of {base}'
        )
    else:
        code = (
            "from transformers import AutoModelForCausalLM\n"
            f'model = AutoModelForCausalLM.from_pretrained("{repository}")'
        )
    code += f'\n\nfrom transformers import AutoTokenizer\ntokenizer = AutoTokenizer.from_pretrained("{repository}")'
    text = f"## Use\n\n```python\n{code}\n```"
    if ggufs:
        text += f"\n\nWith llama.cpp:\n\n```\nllama-cli --hf-repo {repository} --hf-file {ggufs[0]}\n```"
    return text


def _measurements(result: Mapping[str, Any]) -> str:
    before, after = result.get("before") or {}, result.get("after") or {}
    names = [name for name in after if isinstance(after[name], int | float)]
    if not names:
        return ""
    rows = [f"| {name} | {_number(before.get(name))} | {_number(after[name])} |" for name in names]
    return "\n".join(["## Measured", "", "| | before | after |", "|---|---|---|", *rows])


def _evaluations(result: Mapping[str, Any], dataset: str) -> list[EvalResult] | None:
    after = result.get("after") or {}
    results = [
        EvalResult(
            task_type="text-generation",
            dataset_type=dataset if _is_on_hub(dataset) else "own-data",
            dataset_name=dataset,
            metric_type=name,
            metric_value=after[name],
        )
        for name in ("eval_loss", "perplexity")
        if isinstance(after.get(name), int | float)
    ]
    return results or None


def _settings(stage: Mapping[str, Any]) -> str:
    title = f"## Settings{' of the stage ' + stage['stage'] if stage.get('stage') else ''}"
    named = {
        "method": stage["method"],
        **{key: value for key, value in stage["model"].items() if key != "model_name_or_path"},
        **{f"adapter.{key}": value for key, value in (stage.get("adapter") or {}).items()},
        **stage["training"],
    }
    rows = [f"| {name} | `{_plain(value)}` |" for name, value in named.items() if value is not None]
    return "\n".join([title, "", "| | |", "|---|---|", *rows])


def _provenance(run: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    facts = {
        "run": run["run_id"],
        "steps": f"{result.get('step')} of {result.get('max_steps')}",
        "runner": run.get("runner_version"),
        "revision": run.get("git_revision"),
        "image": run.get("image"),
        "begun": run.get("created_at"),
    }
    return "\n".join(["## How it was made", "", *(f"- {name}: {value}" for name, value in facts.items() if value)])


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else "-"


def _plain(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text.replace("|", "\\|").replace("\n", " ")
