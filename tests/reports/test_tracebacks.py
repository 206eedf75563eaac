"""Of a traceback in a log, the frames of the user's own files are shown, and those of libraries are counted."""

from pathlib import Path

import runner
from runner.reports.tracebacks import last_of_log, without_libraries

OURS = Path(runner.__file__).parent
TRACEBACK = f"""\
Traceback (most recent call last):
  File "{OURS}/train/worker.py", line 340, in main
    result = train()
             ^^^^^^^
  File "/venv/lib/python3.11/site-packages/trl/trainer/grpo_trainer.py", line 1, in step
    rewards = reward()
  File "/state/work/shared/inputs/{"ab" * 32}/rewards.py", line 9, in correct
    return float(row["solution"])
           ^^^^^^^^^^^^^^^^^^^^^^
  File "/usr/lib/python3.11/json/decoder.py", line 3, in decode
    raise KeyError
KeyError: 'solution'"""
SHORT = """\
Traceback (most recent call last):
  … 2 frames of libraries
  File "rewards.py", line 9, in correct
    return float(row["solution"])
           ^^^^^^^^^^^^^^^^^^^^^^
  … 1 frame of libraries
KeyError: 'solution'"""


def test_the_users_frames_are_kept_and_those_of_libraries_counted() -> None:
    assert "\n".join(without_libraries(TRACEBACK.splitlines())) == SHORT


def test_a_traceback_of_libraries_alone_keeps_its_last_frame() -> None:
    lines = [*TRACEBACK.splitlines()[:6], "ValueError: no"]
    assert without_libraries(lines) == [lines[0], "  … 1 frame of libraries", *lines[4:6], "ValueError: no"]


def test_the_last_lines_begin_with_the_traceback_however_long_it_is() -> None:
    frame = TRACEBACK.splitlines()[4:6]
    lines = ["loading", TRACEBACK.splitlines()[0], *frame * 100, *TRACEBACK.splitlines()[6:]]
    assert last_of_log(lines, 20)[:2] == ["Traceback (most recent call last):", "  … 100 frames of libraries"]
    assert last_of_log(lines[50:], 20)[0] == "  … 76 frames of libraries"


def test_other_lines_are_left_as_they_are() -> None:
    assert last_of_log([str(number) for number in range(30)], 20) == [str(number) for number in range(10, 30)]
