"""Compare answers by math-verify, in a process that may be killed: a JSON list a line in, a JSON value a line out."""

import json
import logging
import os
import resource
import signal
import sys
from pathlib import Path

_MOST_BYTES = 4 << 30
"""Of main memory: an answer must not take what training needs."""
_LONGEST_SECONDS = 120
"""For one comparison. The process that asks waits a shorter time; this is for when it has been killed meanwhile."""


def main() -> None:
    """Answer ``[first, second]`` by true or false, and ``null`` by ``null``, until standard input ends."""
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_BYTES, _MOST_BYTES))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # training goes on to its next checkpoint, and then closes standard input
    answers = os.fdopen(os.dup(1), "w")
    sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 (for the rest of the process's life)
    logging.disable()

    from math_verify import parse, verify

    def parsed(answer: str) -> list[object]:
        found: list[object] = parse(f"\\boxed{{{answer}}}", parsing_timeout=None)
        return found

    def same(first: str, second: str) -> bool:
        # In both directions: a gold answer that is a set also stands for the inequality, but not the other way round.
        pair = parsed(first), parsed(second)
        return any(verify(gold, answer, timeout_seconds=None) for gold, answer in (pair, pair[::-1]))

    for line in sys.stdin:
        question = json.loads(line)
        signal.alarm(_LONGEST_SECONDS)  # ends the process, also in the midst of one long multiplication
        try:
            result = None if question is None else bool(same(*question))
        except Exception:  # noqa: BLE001 (math-verify, SymPy and ANTLR raise anything over nonsense)
            result = False
        signal.alarm(0)
        answers.write(json.dumps(result) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
