"""Turn a recipe and a model's shape into what its training puts on a GPU (`runner.fit.memory.Setup`)."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

from runner.fit.accelerators import Accelerator
from runner.fit.model_shape import Shape, fully_trained, lora_parameters
from runner.fit.optimizers import optimizer
from runner.fit.row_lengths import RowLengths
from runner.fit.setup import Attention, Setup
from runner.recipe.recipe import Recipe
from runner.recipe.schema import methods

PROMPT_TOKENS = 512
"""Assumed length of GRPO's prompts: TRL no longer limits it, and a plan does not read the data."""

_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
_HALF = {"bf16": "bfloat16", "fp16": "float16"}


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What decides a recipe's memory and time on every GPU."""

    recipe: Recipe
    shape: Shape
    length: int
    """Tokens per row, with padding; for GRPO prompt plus completion."""
    completion: int
    """Tokens that GRPO generates per row; else 0."""
    assumptions: tuple[str, ...]
    """The assumptions, in sentences."""
    lengths: RowLengths | None = None
    """How long the training rows are; None: not known."""

    @property
    def quantized_bits(self) -> Literal[0, 4, 8]:
        """4 or 8 if the base is quantized, by the recipe or in its files."""
        model, own = self.recipe.model, self.shape.quantization
        if model.get("load_in_4bit") or own.get("load_in_4bit") or own.get("bits") == 4:
            return 4
        return 8 if model.get("load_in_8bit") or own else 0

    @property
    def evaluates(self) -> bool:
        """Whether there are evaluation passes."""
        data = self.recipe.data
        has_data = bool(data.eval) or data.eval_from_train is not None
        on_the_way = str(setting(self.recipe, "eval_strategy")) not in ("no", "None")
        return has_data and (on_the_way or self.recipe.evaluate.before_and_after)

    @property
    def packed(self) -> bool:
        """Whether rows are packed instead of padded."""
        return bool(setting(self.recipe, "packing") or setting(self.recipe, "padding_free"))

    @cached_property
    def adapter_weights(self) -> int:
        """Number of the adapter's weights; 0 without one."""
        return 0 if self.recipe.adapter is None else lora_parameters(self.shape, self.recipe.adapter)

    @cached_property
    def adapter_inputs(self) -> tuple[int, ...]:
        """Input widths of one block's adapted layers."""
        adapter = self.recipe.adapter
        return () if adapter is None else tuple(linear.inner for linear, _ in self.shape.targets(adapter))

    @cached_property
    def fully_trained(self) -> int:
        """Number of weights trained directly: all, or those beside an adapter."""
        adapter = self.recipe.adapter
        return self.shape.parameters if adapter is None else fully_trained(self.shape, adapter)


def setting(recipe: Recipe, key: str) -> Any:
    """Return a setting under `training:`, else the library's default; None if there is no such setting."""
    if recipe.training.get(key) is not None:
        return recipe.training[key]
    return methods()[recipe.method]["properties"].get(key, {}).get("default")


def checkpoints_activations(recipe: Recipe) -> bool | None:
    """Return the recipe's own setting of gradient checkpointing, under its old or new name; None if not set."""
    for key in ("activation_checkpointing", "gradient_checkpointing"):
        if recipe.training.get(key) is not None:
            return bool(recipe.training[key])
    return None


def workload(recipe: Recipe, shape: Shape, lengths: RowLengths | None = None) -> Workload:
    """Extract what a plan needs from a recipe.

    Args:
        lengths: how long its training rows are, if that is known.
    """
    longest = lengths.longest if lengths is not None and lengths.complete and not setting(recipe, "packing") else None
    assumptions: list[str] = []
    completion = 0
    if recipe.method == "grpo":
        completion = int(setting(recipe, "max_completion_length") or 256)
        prompt = lengths.longest_prompt if lengths is not None and lengths.complete else PROMPT_TOKENS
        length = prompt + completion
        assumptions.append(f"prompts of at most {prompt} tokens")
    else:
        length = setting(recipe, "max_length")
        if longest is not None and longest < (shape.longest if length is None else int(length)):
            length = longest
            assumptions.append(f"rows of at most {longest} tokens: the longest of the training data has no more text")
        if length is None:
            length = shape.longest
            assumptions.append(f"rows as long as the model can read, {length} tokens: max_length is null")
    if not shape.is_compared:
        assumptions.append(
            f"no test has compared the size of a model of type {shape.model_type}, about {shape.billions}"
        )
    if shape.quantization and shape.share_not_quantized and "llm_int8_skip_modules" not in shape.quantization:
        assumptions.append(f"{shape.share_not_quantized:.0%} of the quantized model's layers kept in 16 bits")
    return Workload(
        recipe=recipe,
        shape=shape,
        length=int(length),
        completion=completion,
        assumptions=tuple(assumptions),
        lengths=lengths,
    )


def precision(recipe: Recipe, accelerator: Accelerator) -> Literal["bf16", "fp16", "fp32"]:
    """Return the precision of the computation: the recipe's, else what the GPU supports."""
    bf16, fp16 = recipe.training.get("bf16"), recipe.training.get("fp16")
    if bf16 is None and fp16 is None:
        return "bf16" if accelerator.bf16 else "fp16"
    return "bf16" if bf16 else "fp16" if fp16 else "fp32"


def choose_dtype(work: Workload, computing: str) -> str | None:
    """Return the dtype for a frozen base's weights; None if the recipe decides, or if all weights are trained.

    TRL's default is float32, but 16-bit matrix arithmetic uses 16 bits of a frozen weight either way. The layers of a
    quantized base that are not quantized are 16-bit anyway; with this setting the base to merge into is, too.
    """
    if work.recipe.adapter is None or work.recipe.model.get("dtype") is not None:
        return None
    return _HALF.get(computing)


def setup(
    work: Workload,
    accelerator: Accelerator,
    *,
    micro_batch: int,
    accumulation: int,
    generated: int,
    evaluation_batch: int,
    checkpointing: bool,
    devices: int,
    strategy: Any,
    attention: Attention,
) -> Setup:
    """Return what one GPU has to hold.

    Args:
        work: from `workload`.
        micro_batch: rows in one pass.
        accumulation: passes before a step of the optimizer.
        generated: completions that GRPO generates at a time on one GPU.
        evaluation_batch: rows of an evaluation pass; 0: none.
        checkpointing: whether activations are recomputed.
        devices: number of GPUs on all machines.
    """
    recipe, shape, adapter = work.recipe, work.shape, work.recipe.adapter
    computing = precision(recipe, accelerator)
    compute_bytes = 4 if computing == "fp32" else 2
    bits = work.quantized_bits
    dtype = recipe.model.get("dtype") or choose_dtype(work, computing)
    if dtype is None:
        dtype = "bfloat16" if bits and computing != "fp32" else "float32"
    reference = adapter is None and (
        (recipe.method == "dpo" and not setting(recipe, "precompute_ref_log_probs"))
        or (recipe.method == "grpo" and bool(setting(recipe, "beta")))
    )
    base = Setup(
        shape=shape,
        method=recipe.method,
        micro_batch=micro_batch,
        accumulation=accumulation,
        length=work.length,
        checkpointing=checkpointing,
        fully_trained=work.fully_trained,
        quantized_bits=bits,
        double_quantization=bool(
            recipe.model.get("use_bnb_nested_quant")
            or recipe.model.get("bnb_4bit_use_double_quant")
            or shape.quantization.get("bnb_4bit_use_double_quant")
        ),
        weight_bytes=_BYTES.get(str(dtype), 2),
        compute_bytes=compute_bytes,
        optimizer=optimizer(str(setting(recipe, "optim"))),
        reference=reference,
        attention=attention,
        padded=not work.packed or attention != "flash_attention_2",
        packed=work.packed,
        fused_head=not setting(recipe, "label_smoothing_factor") or recipe.method not in ("sft", "cpt"),
        evaluation_batch=evaluation_batch,
        generated=generated,
        completion=work.completion,
        devices=devices,
        strategy=strategy,
    )
    if adapter is None:
        return base
    return replace(
        base,
        adapter_weights=work.adapter_weights,
        adapter_inputs=work.adapter_inputs,
        adapter_dropout=bool(adapter.get("lora_dropout")),
        rank=int(adapter.get("r", 8)),
        # TRL trains an adapter of a quantized base in bfloat16; where that cannot be scaled (float16), in float32.
        adapter_bytes=2 if bits and computing == "bf16" else 4,
    )
