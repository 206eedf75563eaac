"""The table of GPUs: names as people write them, names as drivers report them."""

import pytest

from runner.errors import UserError
from runner.fit.accelerators import (
    ACCELERATORS,
    CATALOG_NAMES,
    accelerator_name,
    find_accelerator,
    identify_accelerator,
    parse_accelerators,
)


def test_the_table_has_the_gpus_that_people_rent() -> None:
    assert list(ACCELERATORS) == [
        *("T4", "V100", "L4", "A10", "A10G", "RTX3090", "L40", "L40S", "RTX4090", "RTX5090", "A6000", "RTX6000-Ada"),
        *("A100", "A100-80GB", "H100", "RTXPRO6000", "H200", "B200", "B300"),
    ]


@pytest.mark.parametrize(
    ("text", "name", "count"),
    [
        ("a100:8", "A100", 8),
        ("A100", "A100", 1),
        ("a100-80gb:4", "A100-80GB", 4),
        ("rtx4090", "RTX4090", 1),
        ("RTX 4090:2", "RTX4090", 2),
        ("h100-sxm:8", "H100", 8),
        ("8xH100", "H100", 8),
        ("8 x H100", "H100", 8),
        ("H100x8", "H100", 8),
        ("H100 x8", "H100", 8),
        ("2xA100-80GB", "A100-80GB", 2),
        ("rtx4090x2", "RTX4090", 2),
        ("NVIDIA L4", "L4", 1),
        ("Tesla T4", "T4", 1),
        ("T4x4", "T4", 4),
        ("nvidia-a100-80gb", "A100-80GB", 1),
        ("A100 80GB", "A100-80GB", 1),
        ("A100 40G", "A100", 1),
        ("NVIDIA A100-SXM4-80GB:8", "A100-80GB", 8),
        ("Tesla V100-SXM2-16GB", "V100", 1),
        ("NVIDIA H100 80GB HBM3", "H100", 1),
        ("GeForce RTX 4090", "RTX4090", 1),
    ],
)
def test_a_name_is_taken_in_any_case_and_with_a_count(text: str, name: str, count: int) -> None:
    accelerator, devices = parse_accelerators(text)
    assert (accelerator.name, devices) == (name, count)


@pytest.mark.parametrize(
    ("wrong", "meant"), [("a1000", "A100"), ("h10", "H100"), ("rtx409", "RTX4090"), ("L4S", "L40S")]
)
def test_a_wrong_name_is_answered_with_what_was_meant(wrong: str, meant: str) -> None:
    with pytest.raises(UserError, match=f"did you mean `{meant}`") as caught:
        parse_accelerators(wrong, where="--gpu")
    assert str(caught.value).startswith(f"--gpu: '{wrong}' is not a GPU that runner knows")


@pytest.mark.parametrize("text", ["a100:0", "a100:", "a100:x", "a100:1.5", "a100:-1", "a100:8:8"])
def test_a_wrong_number_is_an_error(text: str) -> None:
    with pytest.raises(UserError, match="is not a number of GPUs"):
        parse_accelerators(text)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("A6000", "A6000"),
        ("a6000", "A6000"),
        ("NVIDIA RTX A6000", "RTXA6000"),
        ("V100 32GB", "V100-32GB"),
        ("GeForce RTX 3090", "RTX3090"),
        ("RTX 6000 Ada", "RTX6000-Ada"),
        ("L40", "L40"),
        ("H100", "H100"),
    ],
)
def test_a_gpu_of_the_catalogs_is_spelled_as_there(text: str, name: str) -> None:
    assert accelerator_name(text) == name


def test_what_is_in_the_table_is_not_in_the_rest_of_the_catalogs() -> None:
    assert not set(CATALOG_NAMES) & {name for gpu in ACCELERATORS.values() for name in (gpu.name, *gpu.catalog_names)}


@pytest.mark.parametrize("name", ["MI300X", "tpu-v4-8", "Gaudi2", "Trainium"])
def test_what_is_not_of_nvidia_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="is not a GPU of NVIDIA"):
        accelerator_name(name)


def test_a_word_that_is_like_none_gets_the_list() -> None:
    with pytest.raises(UserError, match=r"known here: T4, V100"):
        find_accelerator("zzz")


@pytest.mark.parametrize(
    ("device_name", "memory_gib", "name"),
    [
        ("Tesla T4", 14.74, "T4"),
        ("Tesla V100-SXM2-16GB", 15.78, "V100"),
        ("NVIDIA L4", 22.03, "L4"),
        ("NVIDIA A10G", 22.19, "A10G"),
        ("NVIDIA L40S", 44.4, "L40S"),
        ("NVIDIA GeForce RTX 4090", 23.64, "RTX4090"),
        ("NVIDIA A100-SXM4-40GB", 39.56, "A100"),
        ("A100-SXM4-40GB", 39.56, "A100"),
        ("NVIDIA A100-SXM4-80GB", 79.15, "A100-80GB"),
        ("NVIDIA A100 80GB PCIe", 79.25, "A100-80GB"),
        ("NVIDIA H100 80GB HBM3", 79.1, "H100"),
        ("NVIDIA H100 PCIe", 79.2, "H100"),
        ("NVIDIA H200", 139.8, "H200"),
        ("NVIDIA B200", 178.35, "B200"),
    ],
)
def test_a_device_is_recognized_by_its_name_and_memory(device_name: str, memory_gib: float, name: str) -> None:
    accelerator = identify_accelerator(device_name, memory_gib)
    assert (accelerator.name, accelerator.memory_gib) == (name, memory_gib)
    assert accelerator.bf16 == ACCELERATORS[name].bf16


def test_an_unknown_device_is_taken_as_it_is() -> None:
    accelerator = identify_accelerator("NVIDIA RTX A5000", 23.7, (8, 6))
    assert (accelerator.name, accelerator.memory_gib, accelerator.bf16) == ("RTX A5000", 23.7, True)


@pytest.mark.parametrize(
    ("device_name", "memory_gib", "name"),
    [
        ("NVIDIA A10", 22.07, "A10"),
        ("NVIDIA L40", 44.4, "L40"),
        ("NVIDIA RTX A6000", 47.4, "A6000"),
        ("NVIDIA RTX 6000 Ada Generation", 47.4, "RTX6000-Ada"),
        ("NVIDIA GeForce RTX 3090", 23.6, "RTX3090"),
        ("NVIDIA GeForce RTX 5090", 31.4, "RTX5090"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", 94.9, "RTXPRO6000"),
        ("NVIDIA B300 SXM6 AC", 267.0, "B300"),
    ],
)
def test_newer_and_workstation_cards_are_recognized(device_name: str, memory_gib: float, name: str) -> None:
    assert identify_accelerator(device_name, memory_gib).name == name


def test_a_slice_of_a_gpu_has_the_memory_of_the_slice() -> None:
    assert identify_accelerator("NVIDIA A100-SXM4-40GB MIG 1g.5gb", 4.75).memory_gib == 4.75


def test_only_t4_and_v100_lack_bfloat16() -> None:
    assert [name for name, accelerator in ACCELERATORS.items() if not accelerator.bf16] == ["T4", "V100"]
