"""Whether two answers mean the same mathematics, by math-verify: ``\\frac{1}{\\sqrt 2}`` is ``\\sqrt{2}/2``.

The answers are a model's, so they may be anything. SymPy would compute ``9^{9^9}`` until the memory is full, and
math-verify's own timeouts are signals, which work in a process's main thread only and do not interrupt one long
multiplication. So two bounds hold. `is_tractable` looks at the text alone: it refuses what may take long, always in the
same way, so that a run that is resumed gets the rewards of one that was never interrupted. What it lets through is
computed in a process beside this one, which is killed should an answer take far too long all the same.
"""

import atexit
import functools
import json
import logging
import math
import os
import re
import select
import subprocess
import sys
import threading

logger = logging.getLogger(__name__)

SECONDS = 30.0
"""The time for one comparison. Those that `is_tractable` lets through take less than one."""
_STARTING_SECONDS = 300.0

_MOST_CHARACTERS = 200
_MOST_DIGITS = 30
_HIGHEST_POWER = 1000
_HIGHEST_POWER_OF_SYMBOLS = 20
_LARGEST_FACTORIAL = 100
_COMMANDS = frozenset(
    re.findall(
        r"\w+",
        "frac dfrac tfrac cfrac sqrt text textbf textit textrm mathrm mathbf mathit mathbb mathcal mbox hbox left "
        "right big Big bigl bigr Bigl Bigr cdot times div pm mp infty circ degree cup cap in notin setminus "
        "emptyset varnothing le leq leqslant ge geq geqslant lt gt ne neq approx equiv sim to quad qquad "
        "displaystyle textstyle dots ldots cdots overline bar hat vec sin cos tan cot sec csc arcsin arccos arctan "
        "sinh cosh tanh log ln exp lg max min binom dbinom tbinom pi theta alpha beta gamma delta epsilon "
        "varepsilon lambda mu nu omega phi varphi psi rho sigma tau zeta eta kappa xi begin end lbrace rbrace "
        "langle rangle lvert rvert mid vert land lor wedge vee colon boxed",
    )
)
"""Sums, integrals, limits and what defines new commands are not among these: they may take for ever."""
_ENVIRONMENTS = frozenset(
    ["pmatrix", "bmatrix", "matrix", "vmatrix", "Bmatrix", "smallmatrix", "array", "cases", "aligned"]
)
_FUNCTIONS = frozenset(
    ["sin", "cos", "tan", "cot", "sec", "csc", "log", "ln", "exp", "sqrt", "pi", "inf", "infinity", "and", "or"]
)
_MATHEMATICS = re.compile(r"\d|\\[a-zA-Z]|[-+*/^=<>]")
_DATE = re.compile(r"\d+\s*([-/.\u2013])\s*\d+\s*\1\s*\d+|\d\s*:\s*\d|^\W*\d+\s*[-\u2013]\s*\d+\W*$")
"""Dates, times, scores and versions: 2024-03-04 is no subtraction, and 3-1 is another result than 4-2."""
_TEXT = re.compile(r"\\(?:text|textbf|textit|textrm|mathrm|mbox|hbox)\s*\{([^{}]*)\}")
_WORD = re.compile(r"[a-zA-Z]{2,}")
_POWER = re.compile(r"(?:\^|\*\*)\s*(\{[^{}]*\}|\([^()]*\)|-?\d+|.)?", re.DOTALL)


def is_tractable(answer: str) -> bool:
    """Whether comparing an answer takes a short time and little memory, as far as its text can tell."""
    if len(answer) > _MOST_CHARACTERS or re.search(rf"\d{{{_MOST_DIGITS + 1},}}|\d[eE][-+]?\d{{4,}}", answer):
        return False
    if not _COMMANDS.issuperset(re.findall(r"\\([a-zA-Z]+)", answer)):
        return False
    if not _ENVIRONMENTS.issuperset(re.findall(r"\\(?:begin|end)\s*\{([^{}]*)\}", answer)):
        return False
    numbers = [int(number) for number in re.findall(r"\d+", answer)]
    if re.search(r"!|binom", answer) and (answer.count("!") > 2 or any(n > _LARGEST_FACTORIAL for n in numbers)):
        return False
    if has_great_power(answer):
        return False
    exponents = [int(n) for power in _POWER.finditer(answer) for n in re.findall(r"\d+", power[1] or "")]
    highest = math.prod(max(1, exponent) for exponent in exponents)
    symbols = re.search(r"[a-zA-Z]", re.sub(r"\\[a-zA-Z]+", "", _TEXT.sub("", answer)))
    return highest <= (_HIGHEST_POWER_OF_SYMBOLS if symbols else _HIGHEST_POWER)


def has_great_power(text: str) -> bool:
    """Whether a text holds a power of a power, or one with a large number: a few signs that would fill the memory."""
    for power in _POWER.finditer(text):
        exponent = power[1] or ""
        if "^" in exponent or "**" in exponent or re.match(r"\s*(\^|\*\*|!)", text[power.end() : power.end() + 9]):
            return True
        if any(len(number) > 9 or int(number) > _HIGHEST_POWER for number in re.findall(r"\d+", exponent)):
            return True
    return False


def same_mathematics(first: str, second: str) -> bool:
    """Whether two answers mean the same number, set, interval, tuple, matrix, expression or equation.

    Words are not mathematics: to SymPy, "no" would be the product of n and o, and the same as "on". So each answer must
    have a digit, an operator or a command, and where both have words, these must be the same.
    """
    for answer in (first, second):
        if not _MATHEMATICS.search(_TEXT.sub("", answer)) or _DATE.search(answer) or not is_tractable(answer):
            return False
    words = [sorted(set(_words(answer))) for answer in (first, second)]
    if all(words) and words[0] != words[1]:
        return False
    bases = [re.findall(r"_\{?(\d+)\}?\W*$", answer) for answer in (first, second)]
    if all(bases) and bases[0] != bases[1]:
        return False
    return _verified(*sorted((first, second)))


def _words(answer: str) -> list[str]:
    """Return the words of an answer, units among them, without commands and functions."""
    plain = re.sub(r"\\(?:begin|end)\s*\{[^{}]*\}|\\[a-zA-Z]+", " ", _TEXT.sub(r" \1 ", answer))
    return [word.lower() for word in _WORD.findall(plain) if word.lower() not in _FUNCTIONS]


@functools.lru_cache(maxsize=4096)
def _verified(first: str, second: str) -> bool:
    return _verifier().ask(first, second)


@functools.cache
def _verifier() -> "Verifier":
    verifier = Verifier()
    atexit.register(verifier.close)
    return verifier


class Verifier:
    """A process that compares answers by math-verify. It is started when it is first asked, and again after a kill.

    Args:
        seconds: how long one comparison may take.
    """

    def __init__(self, seconds: float = SECONDS) -> None:
        self.seconds = seconds
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._cannot_start = False

    def ask(self, first: str, second: str) -> bool:
        """Whether the two are the same; False if that cannot be found out, or not in time."""
        question = json.dumps([first, second]).encode() + b"\n"
        with self._lock:
            for _ in range(2):  # once more in a new process, should the old one have died in the meantime
                if not self._is_started():
                    return False
                try:
                    answer = self._exchange(question, self.seconds)
                except TimeoutError:
                    logger.warning("%r and %r were not compared within %g s: not the same", first, second, self.seconds)
                    self._stop()
                    return False
                if answer is not None:
                    return bool(answer)
                self._stop()
            logger.warning("math-verify's process ended over %r and %r: not the same", first, second)
            return False

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._stop()

    def _is_started(self) -> bool:
        """Start the process unless it runs, and wait for its imports, which are not part of a comparison's time."""
        if self._process is not None or self._cannot_start:
            return not self._cannot_start
        # The hash seed decides the order in which SymPy tries things. No thread pools for a few small numbers.
        environment = {**os.environ, "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        command = [sys.executable, "-P", "-m", "runner.train.evaluation.math_verifier"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        try:
            self._cannot_start = self._exchange(b"null\n", _STARTING_SECONDS) is None
        except TimeoutError:
            self._cannot_start = True
        if self._cannot_start:
            self._stop()
            logger.warning("math-verify does not start here: answers are compared as numbers and texts only")
        return not self._cannot_start

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _exchange(self, line: bytes, seconds: float) -> bool | None:
        """Send a line and return the answer; None if the process has ended.

        Raises:
            TimeoutError: there was no answer in time.
        """
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(line)
            process.stdin.flush()
        except OSError:
            return None
        ready, _, _ = select.select([process.stdout], [], [], seconds)
        if not ready:
            raise TimeoutError
        answer = process.stdout.readline()
        return bool(json.loads(answer)) if answer.endswith(b"\n") else None
