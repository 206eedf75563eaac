"""What the training side logs reads as it would if it were printed, once, and libraries' loggers are left alone."""

import logging
from datetime import UTC, datetime
from pathlib import Path

import pytest

from runner.runs.chunks import ChunkWriter
from runner.storage.local import LocalStore
from runner.train.agent.log import LOGGER, NOTICE, AttemptLog, CallingHandler, logged_to, set_up_logging

log = logging.getLogger(f"{LOGGER}.some.module")


def test_levels_read_as_words_and_errors_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging()
    log.debug("unseen")
    log.info("step 1")
    log.warning("the store is %s", "away")
    log.error("it broke")
    assert capsys.readouterr() == ("step 1\nwarning: the store is away\n", "error: it broke\n")


def test_a_program_whose_output_is_its_answer_logs_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging(only_stderr=True)
    log.info("step 1")
    assert capsys.readouterr() == ("", "step 1\n")


def test_nothing_is_said_twice(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither after a second call, nor when a library sets up the root logger."""
    set_up_logging()
    set_up_logging()
    root = logging.getLogger()
    handler = logging.StreamHandler()
    root.addHandler(handler)
    try:
        log.info("step 1")
    finally:
        root.removeHandler(handler)
    assert capsys.readouterr() == ("step 1\n", "")


def test_other_loggers_are_left_alone() -> None:
    root = logging.getLogger()
    before = (root.level, list(root.handlers), logging.getLogger("transformers").level)
    set_up_logging()
    assert (root.level, list(root.handlers), logging.getLogger("transformers").level) == before


def test_notices_are_warnings_and_what_is_marked() -> None:
    set_up_logging()
    notices: list[tuple[int, str]] = []
    with logged_to(CallingHandler(lambda level, text: notices.append((level, text)), only_notices=True)):
        log.info("step 1")
        log.info("attempt 2 continues from step 4", extra=NOTICE)
        log.warning("the store is away")
        log.error("it broke")
    log.warning("unheard")
    assert notices == [(logging.INFO, "attempt 2 continues from step 4"), (logging.WARNING, "the store is away")]


def test_each_line_of_an_attempt_s_log_has_its_time_and_no_secret(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    chunks = ChunkWriter(store, "run", "logs", "0001-abcd")
    now = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
    log = AttemptLog(chunks, redact=lambda text: text.replace("hunter2", "***"), now=lambda: now)
    log.write("one\n")
    log.write("two\n\nhunter2")
    chunks.flush(final=True)
    text = b"".join(store.get(info.key) for info in store.objects("runs/run/logs/")).decode()
    stamp = "2026-03-04T05:06:07Z"
    assert text == f"{stamp} one\n{stamp} two\n{stamp} \n{stamp} ***\n"
