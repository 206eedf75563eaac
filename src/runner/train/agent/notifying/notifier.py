"""Tells a run's webhooks about its events, each once, from threads that nothing waits for long."""

import json
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial

from runner.redaction import Redactor
from runner.runs.layout import new_nonce
from runner.runs.record_types.notified import Notified
from runner.runs.records import encoded, utc_now
from runner.storage.manifest import Damaged
from runner.storage.retry import STORE_ERRORS
from runner.storage.store import Store, create_ours
from runner.train.agent.log import as_it_is
from runner.train.agent.notifying.messages import Message
from runner.train.agent.notifying.payloads import PAYLOADS
from runner.train.agent.notifying.post import post
from runner.train.agent.notifying.webhooks import Webhook, Webhooks

_log = logging.getLogger(__name__)


class Notifier:
    """Sends messages to webhooks. Whatever goes wrong is a warning in the log.

    Args:
        store: remembers what was sent.
        webhooks: whom to tell.
        redact: hides the values of other secrets in a text.
        patience_seconds: how long a message is tried to be delivered.
    """

    def __init__(
        self,
        store: Store,
        webhooks: Webhooks,
        *,
        redact: Callable[[str], str] = as_it_is,
        patience_seconds: float,
    ) -> None:
        self._store = store
        self._webhooks = webhooks
        self._hide_urls = Redactor(webhooks.urls)
        self._redact = redact
        self._patience_seconds = patience_seconds
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._begun: set[str] = set()

    def warn_of_missing(self) -> None:
        """Say which variables are not set on this machine."""
        for name in self._webhooks.missing:
            _log.warning("notify: %s is not set here, or holds no URL: nothing is sent to it", name)

    def send(self, key: str, message: Message, *, seconds: Callable[[], float | None] = lambda: None) -> None:
        """Have a message sent, unless that was done before. Returns at once.

        Args:
            key: the event's own in the store.
            message: what to say.
            seconds: finds out how long the run took so far; it may ask the store.
        """
        wanted = [webhook for webhook in self._webhooks.usable if message.is_for(webhook.events)]
        with self._lock:
            if not wanted or key in self._begun:
                return
            self._begun.add(key)
        self._start(lambda: self._send(key, message, wanted, seconds))

    def close(self) -> None:
        """Wait until all is sent, for as long as a message may take at most."""
        until = time.monotonic() + self._patience_seconds
        while True:
            with self._lock:
                alive = [thread for thread in self._threads if thread.is_alive()]
            if not alive:
                return
            if time.monotonic() >= until:
                _log.warning("notify: left while a webhook had not answered yet")
                return
            alive[0].join(max(0.0, until - time.monotonic()))

    def _start(self, work: Callable[[], None]) -> None:
        # A daemon: the process may end while a server does not answer. An executor's threads would keep it.
        thread = threading.Thread(target=work, name="notify", daemon=True)
        with self._lock:
            self._threads.append(thread)
        thread.start()

    def _send(self, key: str, message: Message, wanted: list[Webhook], seconds: Callable[[], float | None]) -> None:
        if not self._is_first(key, message):
            return
        with suppress(*STORE_ERRORS, Damaged):
            message = replace(message, duration_seconds=message.duration_seconds or seconds())
        message = message.redacted(lambda text: self._hide_urls(self._redact(text)))
        for webhook in wanted:
            body = json.dumps(PAYLOADS[webhook.format](message), ensure_ascii=False).encode(errors="replace")
            self._start(partial(self._post, webhook, body, message.headline))

    def _is_first(self, key: str, message: Message) -> bool:
        """Whether nobody has begun to send this. A store that does not answer is no reason to say nothing."""
        record = Notified(event=message.event, state=message.state, at=utc_now(), nonce=new_nonce(12))
        try:
            return create_ours(self._store, key, encoded(record))
        except STORE_ERRORS:
            return True

    def _post(self, webhook: Webhook, body: bytes, what: str) -> None:
        try:
            problem = post(webhook.url, body, patience_seconds=self._patience_seconds)
        except Exception as error:  # noqa: BLE001 (no message is worth a run)
            problem = type(error).__name__
        if problem is not None:
            _log.warning("notify: %s was not told that %s: %s", webhook.name, what, problem)
