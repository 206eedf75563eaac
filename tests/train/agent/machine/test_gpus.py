"""What is read of GPUs. NVML is a stand-in: no test here needs a GPU, and none proves what a real driver says."""

import sys
import threading
import time

import pytest
from tests.support.fakes.fake_nvml import FakeNvml

from runner.train.agent.machine.gpus import GpuMeter


@pytest.mark.parametrize(
    ("visible", "memories"),
    [
        (None, [6.0, 7.0]),
        ("1", [7.0]),
        ("1,0", [7.0, 6.0]),
        ("GPU-22", [7.0]),
        ("0,7,1", [6.0]),
        ("-1", None),
        ("", None),
        ("GPU-", None),
    ],
)
def test_the_gpus_that_cuda_shows_are_sampled_in_its_order(
    visible: str | None, memories: list[float] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml())
    samples = GpuMeter({} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}).samples()
    assert (None if samples is None else [gpu["memory_gib"] for gpu in samples]) == memories
    if samples is not None:
        assert [gpu["index"] for gpu in samples] == list(range(len(samples)))


def test_a_sample_has_its_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml())
    assert GpuMeter({"CUDA_VISIBLE_DEVICES": "1"}).samples() == [
        {
            "index": 0,
            "utilization_percent": 41.0,
            "memory_gib": 7.0,
            "memory_total_gib": 24.0,
            "power_watts": 150.5,
            "temperature_celsius": 61.0,
        }
    ]
    described = GpuMeter({}).describe()
    assert described.gpus[1] == {"name": "NVIDIA Stand-in 1", "memory_gib": 24.0}
    assert (described.driver, described.cuda) == ("580.12", "13.2")


def test_what_nvml_does_not_tell_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(power_fails=True))
    samples = GpuMeter({}).samples()
    assert samples is not None
    assert len(samples) == 2
    assert all("power_watts" not in gpu and "memory_gib" in gpu for gpu in samples)


def test_a_machine_without_a_driver_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = FakeNvml(init_fails=True)
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    meter = GpuMeter({})
    assert [meter.samples(), meter.samples(), meter.describe().gpus] == [None, None, []]
    assert nvml.inits == 1


def test_a_machine_without_the_library_has_no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert GpuMeter({}).samples() is None


def test_a_driver_that_hangs_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = threading.Event()
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(hang=answers))
    meter = GpuMeter({}, within_seconds=0.1)
    began = time.monotonic()
    assert [meter.samples() for _ in range(50)] == [None] * 50
    assert time.monotonic() - began < 2  # it waits once, not fifty times
    answers.set()
    until = time.monotonic() + 5
    while meter.samples() is None and time.monotonic() < until:
        time.sleep(0.02)
    assert meter.samples()
