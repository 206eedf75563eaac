"""What a webhook hears of a run: a server on loopback, and an agent whose training processes are a line of Python."""

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from runner.recipe.recipe import Watchdog
from runner.runs.record_types.run import RunDocument
from runner.storage.local import LocalStore
from runner.storage.store import StoreUnavailable
from runner.train.agent.log import set_up_logging
from runner.train.agent.money.price import Money
from runner.train.agent.notifying.attempt_news import tell_missed_end
from runner.train.agent.notifying.webhooks import Webhooks, find_webhooks
from support.fakes.fake_webhook import HANG, SECRET_PATH, FakeWebhook, fake_webhook
from support.head_agents import (
    HANGS,
    RUNS_OUT_OF_MEMORY,
    SUCCEEDS,
    TIMING,
    TRAINS,
    WORKER,
    agent,
    log,
    record,
    when,
)

FAILS = WORKER + 'send("outcome", outcome="failed", reason="the loss is NaN in step 7", retry=False)\nsys.exit(1)\n'
BRIEF = replace(TIMING, notify=0.5)
PATIENT = replace(TIMING, notify=20.0)


@pytest.fixture(autouse=True)
def signals_as_before() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    set_up_logging()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


@pytest.fixture
def webhook() -> Iterator[FakeWebhook]:
    with fake_webhook() as listening:
        yield listening


def who(webhook: FakeWebhook, **entry: Any) -> Webhooks:
    return find_webhooks({"notify": [{"secret": "TEAM_HOOK", **entry}]}, {"TEAM_HOOK": webhook.url})


def said(webhook: FakeWebhook) -> list[tuple[str, str]]:
    return [(body["event"], body["state"]) for body in webhook.bodies]


def stop_when_ready(store: LocalStore) -> None:
    when(lambda: "ready" in log(store), lambda: os.kill(os.getpid(), signal.SIGTERM))


def everything(folder: Path) -> str:
    files = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    return b"".join(files).decode(errors="replace")


def test_a_run_that_succeeds_says_so_with_what_it_took(store: LocalStore, webhook: FakeWebhook) -> None:
    price: Any = {"dollars_per_hour": 3600.0, "source": "stated"}
    money = Money(price=price)
    assert agent(store, SUCCEEDS, webhooks=who(webhook), recipe_name="tiny", money=money, timing=PATIENT).run() == 0
    [body] = webhook.bodies
    assert (body["event"], body["state"], body["run_id"], body["recipe"]) == ("ended", "succeeded", "run", "tiny")
    assert (body["step"], body["max_steps"], body["attempt"]) == (3, 3, 1)
    assert body["duration_seconds"] > 0
    assert body["cost"] > 0
    assert "runner report run" in body["commands"]
    assert record(store, "notified/0-ended-0001.json")["state"] == "succeeded"


def test_a_run_that_fails_says_why(store: LocalStore, webhook: FakeWebhook) -> None:
    assert agent(store, FAILS, webhooks=who(webhook), timing=PATIENT).run() == 1
    [body] = webhook.bodies
    assert (body["state"], body["reason"]) == ("failed", "the loss is NaN in step 7")
    assert body["commands"] == ["runner logs run", "runner resume run"]


def test_a_run_that_is_interrupted_and_goes_on_says_both(store: LocalStore, webhook: FakeWebhook) -> None:
    stop_when_ready(store)
    assert agent(store, HANGS, webhooks=who(webhook), timing=PATIENT).run() == 75
    assert agent(store, SUCCEEDS, webhooks=who(webhook), timing=PATIENT).run() == 0
    assert sorted(said(webhook)) == [("ended", "succeeded"), ("interrupted", "interrupted"), ("resumed", "resumed")]
    [resumed] = [body for body in webhook.bodies if body["event"] == "resumed"]
    assert resumed["reason"] == "attempt 2 begins anew: there is no checkpoint"


def test_an_attempt_that_was_killed_is_told_of_by_the_next_one(store: LocalStore, webhook: FakeWebhook) -> None:
    from runner.runs.attempts import claim_attempt

    claim_attempt(store, "run", {})
    assert agent(store, SUCCEEDS, webhooks=who(webhook, events=["resumed"]), timing=PATIENT).run() == 0
    [body] = webhook.bodies
    assert body["reason"].endswith("attempt 1 was lost with its machine, or killed")


def test_training_that_makes_no_progress_says_so_once_an_attempt(store: LocalStore, webhook: FakeWebhook) -> None:
    code = TRAINS + "if assignment['number'] == 1:\n    time.sleep(60)\n"
    code += 'send("outcome", outcome="succeeded", reason=None, retry=False, result={})'
    watchdog = Watchdog(timeout_seconds=1)
    assert agent(store, code, webhooks=who(webhook), watchdog=watchdog, timing=PATIENT).run() == 0
    events = said(webhook)
    assert events.count(("stalled", "stalled")) >= 1  # a slow machine may stall in its second attempt too
    assert len([key for key in store.objects("runs/run/notified/") if "0-stalled-0001" in key.key]) == 1
    assert ("interrupted", "interrupted") not in events, "the same agent goes on at once"
    assert ("resumed", "resumed") in events
    stalled = next(body for body in webhook.bodies if body["event"] == "stalled")
    assert "no step for" in stalled["reason"]


def test_a_shortage_of_memory_that_the_agent_mends_itself_is_no_news(store: LocalStore, webhook: FakeWebhook) -> None:
    assert agent(store, RUNS_OUT_OF_MEMORY, webhooks=who(webhook), timing=PATIENT).run() == 0
    assert said(webhook) == [("ended", "succeeded")]


def test_who_wants_to_hear_of_failures_only_hears_of_nothing_else(store: LocalStore, webhook: FakeWebhook) -> None:
    failures = who(webhook, events=["failed", "stalled"])
    stop_when_ready(store)
    assert agent(store, HANGS, webhooks=failures, timing=PATIENT).run() == 75
    assert agent(store, FAILS, webhooks=failures, timing=PATIENT).run() == 1
    assert said(webhook) == [("ended", "failed")]


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (404, "it answered 404"),
        (500, "it answered 500"),
        (302, "it answered 302, a redirect, which is not followed"),
        (307, "it answered 307, a redirect, which is not followed"),
    ],
)
def test_a_webhook_that_refuses_is_a_warning_without_its_url(
    store: LocalStore, answer: int, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with fake_webhook(answer) as webhook:
        assert agent(store, SUCCEEDS, webhooks=who(webhook), timing=PATIENT).run() == 0
        assert webhook.paths == [SECRET_PATH] * (3 if answer == 500 else 1)
    assert record(store, "result.json")["state"] == "succeeded"
    assert f"warning: notify: TEAM_HOOK was not told that run has succeeded: {problem}" in log(store)
    shown = everything(Path(store.url).parent) + "".join(capsys.readouterr())
    assert "correct-horse" not in shown


def test_a_webhook_that_never_answers_holds_nobody_up_for_long(store: LocalStore) -> None:
    with fake_webhook(HANG) as webhook:
        assert agent(store, SUCCEEDS, webhooks=who(webhook), timing=BRIEF).run() == 0
        assert len(webhook.bodies) == 1
    assert record(store, "result.json")["state"] == "succeeded"
    assert "warning: notify: " in log(store)


def test_a_webhook_that_nobody_listens_at_is_a_warning(store: LocalStore) -> None:
    with fake_webhook() as webhook:
        gone = who(webhook)
    assert agent(store, SUCCEEDS, webhooks=gone, timing=PATIENT).run() == 0
    assert "was not told that run has succeeded: Connection refused" in log(store)


def test_a_webhook_that_is_busy_is_told_a_second_time(store: LocalStore) -> None:
    with fake_webhook(503, 200) as webhook:
        assert agent(store, SUCCEEDS, webhooks=who(webhook), timing=PATIENT).run() == 0
        assert said(webhook) == [("ended", "succeeded")] * 2
    assert "notify:" not in log(store)


def test_one_webhook_that_hangs_does_not_keep_another_from_hearing(store: LocalStore, webhook: FakeWebhook) -> None:
    with fake_webhook(HANG) as hanging:
        recipe = {"notify": [{"secret": "ONE"}, {"secret": "TWO"}]}
        both = find_webhooks(recipe, {"ONE": hanging.url, "TWO": webhook.url})
        assert agent(store, SUCCEEDS, webhooks=both, timing=replace(TIMING, notify=5.0)).run() == 0
    assert said(webhook) == [("ended", "succeeded")]


def test_a_variable_that_is_missing_is_a_warning(store: LocalStore) -> None:
    webhooks = find_webhooks({"notify": [{"secret": "TEAM_HOOK"}, {"secret": "OTHER"}]}, {"OTHER": "not a URL"})
    assert webhooks.missing == ("TEAM_HOOK", "OTHER")
    assert agent(store, SUCCEEDS, webhooks=webhooks).run() == 0
    assert "notify: TEAM_HOOK is not set here, or holds no URL: nothing is sent to it" in log(store)


def test_an_end_is_told_once_also_if_another_agent_comes_after_it(store: LocalStore, webhook: FakeWebhook) -> None:
    assert agent(store, SUCCEEDS, webhooks=who(webhook), timing=PATIENT).run() == 0
    run: RunDocument = {"run_id": "run", "name": "tiny", "recipe": {}, "infra": "local", "accelerators": None} | {
        "created_at": "2026-01-01T00:00:00+00:00"
    }  # type: ignore[assignment]
    result: Any = record(store, "result.json")

    def come_after() -> None:
        tell_missed_end(store, run, result, reopened=0, webhooks=who(webhook), patience_seconds=20)

    come_after()
    assert said(webhook) == [("ended", "succeeded")]
    store.delete(["runs/run/notified/0-ended-0001.json"])  # as if the agent had been killed right after the result
    come_after()
    come_after()
    assert said(webhook) == [("ended", "succeeded")] * 2
    assert webhook.bodies[1]["step"] == 3


def test_a_store_that_is_away_does_not_keep_the_message(tmp_path: Path, webhook: FakeWebhook) -> None:
    class Away(LocalStore):
        def create(self, key: str, data: bytes) -> bool:
            if "/notified/" in key:
                raise StoreUnavailable("it is away")
            return super().create(key, data)

    assert agent(Away(tmp_path / "store"), FAILS, webhooks=who(webhook), timing=PATIENT).run() == 1
    assert said(webhook) == [("ended", "failed")]


@pytest.mark.parametrize("form", ["slack", "discord"])
def test_a_reason_can_neither_call_people_nor_show_a_secret(
    store: LocalStore, webhook: FakeWebhook, form: Literal["slack", "discord"]
) -> None:
    """A reason is what some library said; it may repeat a row of the data, or the webhook's own URL."""
    reason = f"bad row: <!channel> @everyone ``` <https://x|y> & {webhook.url}"
    code = WORKER + f'send("outcome", outcome="failed", reason={reason!r}, retry=False)\nsys.exit(1)\n'
    assert agent(store, code, webhooks=who(webhook, format=form), timing=PATIENT).run() == 1
    [body] = webhook.bodies
    text = json.dumps(body)
    assert "correct-horse" not in text
    assert "***TEAM_HOOK***" in text
    if form == "slack":
        assert "&lt;!channel&gt;" in body["text"]
        assert "<!" not in text
        assert [block["type"] for block in body["blocks"]] == ["header", "section", "section", "section"]
    else:
        assert body["allowed_mentions"] == {"parse": []}
        assert body["embeds"][0]["description"].count("```") == 2
