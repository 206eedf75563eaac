"""Loggers of the training side are left as they were: a test that calls a program's `main` sets them up."""

import logging
from collections.abc import Iterator

import pytest

from runner.train.agent.log import LOGGER


@pytest.fixture(autouse=True)
def loggers_as_before() -> Iterator[None]:
    logger = logging.getLogger(LOGGER)
    level, propagate, handlers = logger.level, logger.propagate, list(logger.handlers)
    yield
    logger.setLevel(level)
    logger.propagate, logger.handlers = propagate, handlers
