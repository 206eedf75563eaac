"""What the sampling of the machine costs an attempt.

    python benchmarks/system_sampling.py                      # 500 samples, 4 pairs of 6 s
    python benchmarks/system_sampling.py --samples 5 --pairs 1 --seconds 0.5     # does it still run?

*A sample* is the processor time of one look at the machine (and its GPUs, if NVML is there) and of its thinning. It is
taken every 5 s, so its share of *one* core is that time by 5 s: a step that keeps one core busy loses at most that.
*With sampling* counts matrix products of PyTorch on the CPU in a fixed time, in pairs with and without sampling one
after the other, with writes to a folder store, ten times as often as an attempt samples (every 0.5 s). On shared cores
the noise is larger than the effect.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path
from statistics import median

import torch

from runner.storage.local import LocalStore
from runner.train.agent.machine.gpus import GpuMeter
from runner.train.agent.machine.record import installed_versions, machine_record
from runner.train.agent.machine.sampler import SAMPLE_SECONDS, MachineMeter, Thinning, sampled


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--pairs", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=6.0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        meter, thinning = MachineMeter(0, folder, GpuMeter(os.environ)), Thinning()
        began, by_clock = time.process_time(), time.perf_counter()
        for _ in range(options.samples):
            thinning.add(meter.look())
        cpu = (time.process_time() - began) / options.samples
        wall = (time.perf_counter() - by_clock) / options.samples
        print(f"a sample: {1e3 * cpu:.3f} ms of a processor, {1e3 * wall:.3f} ms by the clock")
        print(f"every {SAMPLE_SECONDS:.0f} s: {100 * cpu / SAMPLE_SECONDS:.4f}% of one core")
        began = time.process_time()
        machine_record("0001-aaaa", os.environ)
        print(
            f"the machine's record, once: {1e3 * (time.process_time() - began):.0f} ms, "
            f"{len(installed_versions())} distributions"
        )
        ratios = []
        for pair in range(options.pairs):
            alone = work(options.seconds)
            with sampled(LocalStore(folder), "r", f"{pair + 1:04d}-aaaa", node=0, folder=folder, every_seconds=0.5):
                beside = work(options.seconds)
            ratios.append(alone / beside)
            print(f"pair {pair + 1}: {alone:.0f} and, with ten times the sampling, {beside:.0f} products")
        print(f"with ten times the sampling / without: {median(ratios):.4f} (median)")


def work(seconds: float) -> float:
    """Return how many products of matrices are made in so many seconds of the clock."""
    matrix, count, until = torch.rand(192, 192), 0, time.perf_counter() + seconds
    while time.perf_counter() < until:
        torch.mm(matrix, matrix)
        count += 1
    return count


if __name__ == "__main__":
    main()
