"""What of a recipe's `notify` both programs know."""

import pytest

from runner.recipe.webhooks import format_by_host, is_webhook
from runner.runs.submission.prepare import prepare
from support.recipes import Check, Refuse


def test_a_recipe_without_webhooks_is_recorded_as_it_always_was(check: Check) -> None:
    """Else every run that an older version began would be another one."""
    assert "notify" not in check().recipe.to_mapping()
    assert not [key for key in check().settings if key.startswith("notify")]
    assert prepare(check()).digest == prepare(check("notify=[]")).digest


def test_webhooks_survive_run_json(check: Check) -> None:
    loaded = check("notify=[{secret: A}, {secret: B, format: slack, events: [failed]}]")
    first, second = prepare(loaded).recipe["notify"]
    assert first == {"secret": "A", "format": None, "events": ["ended", "interrupted", "stalled", "resumed"]}
    assert second == {"secret": "B", "format": "slack", "events": ["failed"]}
    assert type(loaded.recipe).from_mapping(prepare(loaded).recipe).notify == loaded.recipe.notify


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("notify=[{secret: A, events: [fail]}]", "did you mean `failed`?"),
        ("notify=[{secret: A, events: []}]", "write at least one entry"),
        ("notify=[{secret: A, format: teams}]", "slack, discord, json"),
        ("notify=[{format: slack}]", "`secret` is missing"),
        ("notify=SLACK_WEBHOOK", "write a list of entries: `[{secret: …}]`"),
    ],
)
def test_a_mistake_is_said_with_what_to_write_instead(refuse: Refuse, override: str, words: str) -> None:
    assert words in str(refuse(override))


@pytest.mark.parametrize(
    ("url", "form"),
    [
        ("https://hooks.slack.com/services/T/B/x", "slack"),
        ("https://discord.com/api/webhooks/1/x", "discord"),
        ("https://canary.discord.com/api/webhooks/1/x", "discord"),
        ("https://chat.example.com/hooks/x", "json"),
        ("https://example.com/hooks.slack.com", "json"),
    ],
)
def test_the_format_follows_the_host(url: str, form: str) -> None:
    assert is_webhook(url)
    assert format_by_host(url) == form


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hooks.slack.com/services/T",
        "file:///etc/passwd",
        "ftp://host/x",
        "https://",
        "http://h:p/x",
        "https://h/a b",
    ],
)
def test_what_is_no_url_is_no_webhook(text: str) -> None:
    assert not is_webhook(text)
