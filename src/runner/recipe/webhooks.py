"""The webhooks of a recipe's `notify`: which variables hold their URLs, and what a URL is."""

import re
import urllib.parse
from collections.abc import Mapping
from typing import Any

from runner.recipe.recipe import WebhookFormat

VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""The name of an environment variable."""

_HOSTS: Mapping[str, WebhookFormat] = {
    "hooks.slack.com": "slack",
    "hooks.slack-gov.com": "slack",
    "discord.com": "discord",
    "discordapp.com": "discord",
    "ptb.discord.com": "discord",
    "canary.discord.com": "discord",
}


def webhook_variables(recipe: Mapping[str, Any]) -> list[str]:
    """Return the names of the variables that hold the webhooks' URLs, each once.

    Args:
        recipe: `Recipe.to_mapping`, or a record's recipe.
    """
    return list(dict.fromkeys(entry["secret"] for entry in recipe.get("notify") or ()))


def is_webhook(url: str) -> bool:
    """Whether a text is a URL that can be posted to: ``https://…``, or ``http://…`` within a network of one's own."""
    try:
        parts = urllib.parse.urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    printable = url.isascii() and url.isprintable() and " " not in url
    return parts.scheme in ("https", "http") and bool(parts.hostname) and printable


def format_by_host(url: str) -> WebhookFormat:
    """Return what the webhook at a URL takes, by its host: Slack's and Discord's are known."""
    return _HOSTS.get(urllib.parse.urlsplit(url).hostname or "", "json")
