"""Each family of models through each method: killed in a step, a run ends as if it had not been.

With a GPU in their real sizes (`gpu`), the weights random; without, two of their architectures that the tiny Llama of
all other tests does not have, with narrow layers.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from runner.recipe.recipe import Recipe
from support.families import FAMILIES, is_tied, write_model
from support.forked import Attempts, Moment
from support.method_recipes import DPO_STEP, GRPO_STEP, SFT_STEP, cpt, dpo, grpo
from support.runs import assert_survives, recipe
from support.thorough import cases

QLORA = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}

METHODS: dict[str, tuple[Callable[[Path], Recipe], str]] = {
    "full": (lambda data: recipe(data, adapter=False), SFT_STEP),
    "lora": (lambda data: recipe(data, adapter=True), SFT_STEP),
    "qlora": (lambda data: replace(recipe(data, adapter=True), model=QLORA), SFT_STEP),
    "cpt": (cpt, SFT_STEP),
    "dpo": (lambda data: dpo(data, adapter=True), DPO_STEP),
    "grpo": (lambda data: grpo(data, adapter=True, steps_per_generation=6), GRPO_STEP),
}
SMALL = [("qwen3-8b", method) for method in METHODS if method != "full"] + [("qwen2.5-coder-1.5b", "lora")]
TOO_LARGE_IN_FULL = ("qwen3-8b",)


@pytest.fixture(scope="module")
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A family's name, and its model in a folder, which goes away with the last test that wants it."""
    family, small = request.param
    folder = write_model(family, tmp_path_factory.mktemp("families"), small=small)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()  # the attempts are other processes
    yield family, folder
    for path in folder.iterdir():
        path.unlink()


def assert_ends_the_same(model: tuple[str, Path], method: str, forked: Attempts, data: Path) -> None:
    """Undisturbed, and killed in its seventh micro-batch: twelve steps, and the same weights and metrics."""
    family, folder = model
    make, step = METHODS[method]
    what = make(data)
    what = replace(what, model={**what.model, "model_name_or_path": str(folder)})
    if method == "cpt" and what.adapter is not None:
        what = replace(what, adapter={**what.adapter, "ensure_weight_tying": is_tied(family)})
    assert_survives(forked, f"{family}-{method}", what, Moment(step, 7, saves=1))


@pytest.mark.parametrize(
    ("model", "method"),
    cases(
        [((family, True), method) for family, method in SMALL],
        quick=lambda _, method: method == "lora",
        name=lambda model, method: f"{model[0]}-{method}",
    ),
    indirect=["model"],
)
def test_an_architecture_in_small_goes_through_every_method(
    model: tuple[str, Path], method: str, forked: Attempts, data: Path
) -> None:
    assert_ends_the_same(model, method, forked, data)


@pytest.mark.gpu
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("model", [(family, False) for family in FAMILIES], ids=FAMILIES, indirect=True)
def test_a_family_in_its_real_size_goes_through_every_method(
    method: str, model: tuple[str, Path], forked: Attempts, data: Path
) -> None:
    if method == "full" and model[0] in TOO_LARGE_IN_FULL:
        pytest.skip("its optimizer's state alone is 64 GB")
    assert_ends_the_same(model, method, forked, data)
