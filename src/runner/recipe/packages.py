"""The packages that a recipe's settings need, and that the locked environment lacks.

The modules are those that transformers, TRL and peft look for (their ``is_…_available``); a test holds the table to the
locks in ``images/``: none of these packages is in them.
"""

import importlib.util
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.files import read_whole
from runner.recipe.inputs.references import is_local
from runner.recipe.problems import Problem, RecipePath, show
from runner.recipe.recipe import Recipe


@dataclass(frozen=True)
class Package:
    """A package that is not in the locks."""

    module: str
    """The module that the libraries look for."""
    install: str
    """Its name for pip."""
    instead: str
    """What to write to do without."""


_OPTIM = "`adamw_torch_fused` or `adamw_8bit` need none"
_TRACKER = "`tensorboard` needs none"
_SDPA = "`sdpa`, the default, needs none"
_QUANTIZED = "the unquantized model with `load_in_4bit: true` needs none"

OPTIMIZERS: Mapping[str, Package] = {
    "adamw_torch_4bit": Package("torchao", "torchao", _OPTIM),
    "adamw_torch_8bit": Package("torchao", "torchao", _OPTIM),
    "adamw_anyprecision": Package("torchdistx", "torchdistx", _OPTIM),
    "grokadamw": Package("grokadamw", "grokadamw", _OPTIM),
    "stable_adamw": Package("optimi", "torch-optimi", _OPTIM),
}
ATTENTION: Mapping[str, Package] = {
    "flash_attention_2": Package("flash_attn", "flash-attn", _SDPA),
    "flash_attention_3": Package("flash_attn_interface", "flash-attn-3", _SDPA),
    "flash_attention_4": Package("flash_attn.cute", "flash-attn-4", _SDPA),
}
KERNELS = Package("kernels", "kernels", _SDPA)
"""For kernels of the hub, named ``owner/name``."""
LIGER = Package("liger_kernel", "liger-kernel", "leaving it out needs none")
TRACKERS: Mapping[str, Package] = {
    "azure_ml": Package("azureml", "azureml-mlflow", _TRACKER),
    "clearml": Package("clearml", "clearml", _TRACKER),
    "codecarbon": Package("codecarbon", "codecarbon", _TRACKER),
    "comet_ml": Package("comet_ml", "comet-ml", _TRACKER),
    "dagshub": Package("dagshub", "dagshub", _TRACKER),
    "dvclive": Package("dvclive", "dvclive", _TRACKER),
    "flyte": Package("flytekit", "flytekit", _TRACKER),
    "mlflow": Package("mlflow", "mlflow", _TRACKER),
    "neptune": Package("neptune", "neptune", _TRACKER),
    "swanlab": Package("swanlab", "swanlab", _TRACKER),
    "trackio": Package("trackio", "trackio", _TRACKER),
}
INITIALIZATIONS: Mapping[str, Package] = {
    "loftq": Package("scipy", "scipy", "`pissa`, `olora` or `gaussian` need none"),
}
"""By `init_lora_weights`."""
QUANTIZERS: Mapping[str, Package] = {
    "aqlm": Package("aqlm", "aqlm", _QUANTIZED),
    "auto-round": Package("auto_round", "auto-round", _QUANTIZED),
    "awq": Package("gptqmodel", "gptqmodel", _QUANTIZED),
    "compressed-tensors": Package("compressed_tensors", "compressed-tensors", _QUANTIZED),
    "eetq": Package("kernels", "kernels", _QUANTIZED),
    "fbgemm_fp8": Package("fbgemm_gpu", "fbgemm-gpu", _QUANTIZED),
    "fp_quant": Package("fp_quant", "fp-quant", _QUANTIZED),
    "gptq": Package("gptqmodel", "gptqmodel", _QUANTIZED),
    "higgs": Package("flute", "flute-kernel", _QUANTIZED),
    "hqq": Package("hqq", "hqq", _QUANTIZED),
    "mxfp4": Package("kernels", "kernels", _QUANTIZED),
    "quanto": Package("optimum", "optimum-quanto", _QUANTIZED),
    "quark": Package("quark", "amd-quark", _QUANTIZED),
    "sinq": Package("sinq", "sinq", _QUANTIZED),
    "spqr": Package("spqr_quant", "spqr-quant", _QUANTIZED),
    "torchao": Package("torchao", "torchao", _QUANTIZED),
    "vptq": Package("vptq", "vptq", _QUANTIZED),
}
"""By `quant_method` in a model's config.json."""


def is_installed(module: str) -> bool:
    """Whether a module can be imported here, without importing it."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError, AttributeError):
        return False


def missing_packages(recipe: Recipe, installed: Callable[[str], bool]) -> list[Problem]:
    """Return a problem for each setting that needs a package which is not in the locks, nor installed.

    Args:
        recipe: a checked recipe, whole.
        installed: says whether a module is there anyway, where the run will be.
    """
    problems: dict[RecipePath, Problem] = {}
    for at, what, package in _needs(recipe):
        if not installed(package.module) and at not in problems:
            problems[at] = Problem(
                at,
                f"{what} needs the package {package.install}, which is in neither the locked environment nor the image",
                f"{package.instead}; or install it where the run is, in an image of your own (`--image`)",
            )
    return list(problems.values())


def _needs(recipe: Recipe) -> Iterator[tuple[RecipePath, str, Package]]:
    """Yield the settings that need a package: where, what it is, and the package."""
    attention = recipe.model.get("attn_implementation")
    if isinstance(attention, str):
        name = attention.removeprefix("paged|")
        package = KERNELS if "/" in name else ATTENTION.get(name)
        if package is not None:
            yield ("model", "attn_implementation"), show(attention), package
    method = quantization_of(str(recipe.model["model_name_or_path"]))
    if method is not None and method in QUANTIZERS:
        what = f"the model is quantized with {method}, which"
        yield ("model", "model_name_or_path"), what, QUANTIZERS[method]
    for index, stage in enumerate(recipe.stages or (recipe,)):
        place: RecipePath = ("stages", index, "training") if recipe.stages else ("training",)
        start = str((stage.adapter or {}).get("init_lora_weights"))
        if start in INITIALIZATIONS:
            at = (*place[:-1], "adapter", "init_lora_weights")
            yield at, show(start), INITIALIZATIONS[start]
        optimizer = str(stage.training.get("optim"))
        if optimizer in OPTIMIZERS:
            yield (*place, "optim"), show(optimizer), OPTIMIZERS[optimizer]
        if stage.training.get("use_liger_kernel"):
            yield (*place, "use_liger_kernel"), "true", LIGER
        trackers = stage.training.get("report_to") or ()
        for tracker in [trackers] if isinstance(trackers, str) else trackers:
            if tracker in TRACKERS:
                yield (*place, "report_to"), show(tracker), TRACKERS[tracker]


def quantization_of(model: str) -> str | None:
    """Return the `quant_method` of a model in a local folder; None if it has none, or only the hub knows."""
    if not is_local(model):
        return None
    try:
        config: Any = json.loads(read_whole(Path(model) / "config.json", 64 << 20))
    except (OSError, ValueError, RecursionError):
        return None
    own = config.get("quantization_config") if isinstance(config, dict) else None
    method = own.get("quant_method") if isinstance(own, dict) else None
    return method if isinstance(method, str) else None
