"""Answers of a model are compared as mathematics in bounded time, wherever they are compared."""

import logging
import subprocess
import sys
import threading
import time

import pytest

from runner.train.evaluation.math_equality import Verifier, is_tractable, same_mathematics


@pytest.mark.parametrize(
    "answer",
    [
        "9^{9^9}",
        "9^9^9",
        "9**9**9",
        "((9^{99})^{99})^{99}",
        "10^{1000000}",
        "2^{-99999}",
        "(x+1)^{1000}",
        "1e99999999",
        "1000000!",
        "9!!!",
        "3^{4!}!",
        r"\binom{1000000}{500000}",
        r"\sum_{i=1}^{10} i",
        r"\int_0^1 x",
        r"\def\a{1}",
        r"\begin{tikzpicture}\end{tikzpicture}",
        "1" * 31,
        "x+" * 150,
    ],
)
def test_what_may_take_for_ever_is_not_computed(answer: str) -> None:
    """By its text alone: so a resumed run refuses what an undisturbed one refuses."""
    assert not is_tractable(answer)
    began = time.monotonic()
    assert not same_mathematics(answer, "x^2 + 1")
    assert time.monotonic() - began < 1


def test_it_works_in_a_thread() -> None:
    """math-verify's own timeouts do not."""
    results: list[bool] = []
    thread = threading.Thread(target=lambda: results.append(same_mathematics(r"\sqrt{8}", r"2\sqrt{2}")))
    thread.start()
    thread.join()
    assert results == [True]


def test_a_comparison_that_hangs_is_ended_and_the_next_one_is_made(caplog: pytest.LogCaptureFixture) -> None:
    """Also one that no signal handler interrupts."""
    verifier = Verifier(seconds=1.0)
    try:
        assert verifier.ask("1/2", "0.5")
        began = time.monotonic()
        with caplog.at_level(logging.WARNING):
            assert not verifier.ask("9^{9^9}", "1")
        assert time.monotonic() - began < 5
        assert "not compared within 1 s" in caplog.text
        assert verifier.ask("1/2", "0.5")
    finally:
        verifier.close()


def test_its_process_ends_with_the_one_that_asks() -> None:
    code = (
        "from runner.train.evaluation import math_equality as m\n"
        "assert m.same_mathematics('x+1', '1+x')\n"
        "print(m._verifier()._process.pid, flush=True)\n"
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    pid = int(done.stdout)
    for _ in range(100):
        if subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()[:1] in (
            "",
            "Z",
        ):
            return
        time.sleep(0.1)
    pytest.fail("it is still there")
