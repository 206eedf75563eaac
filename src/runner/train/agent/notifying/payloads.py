"""A message in the form that a webhook takes.

Slack: a ``text`` for the notification, and blocks (https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks,
limits at https://docs.slack.dev/reference/block-kit/blocks). Discord: an embed
(https://docs.discord.com/developers/resources/webhook#execute-webhook, limits at .../message#embed-object). A text that
comes from a run must neither call a channel's people nor be taken for markup there.
"""

from collections.abc import Callable, Mapping
from typing import Any

from runner.recipe.recipe import WebhookFormat
from runner.train.agent.notifying.messages import Message

_SLACK_TEXT = 3000
"""Characters in a section's text; a field's may have 2000, and a section ten fields."""
_SLACK_HEADER = 150
_DISCORD_TITLE = 256
_DISCORD_DESCRIPTION = 4096
_DISCORD_VALUE = 1024
_REASON = 1500
"""Characters of a reason that are sent: escaped, they are within every limit above."""

_COLORS = {"succeeded": 0x2E7D32, "resumed": 0x1565C0, "stalled": 0xF9A825, "interrupted": 0xF9A825}
_RED = 0xC62828

_Payload = Callable[[Message], dict[str, Any]]


def slack(message: Message) -> dict[str, Any]:
    """Return what Slack's incoming webhooks take."""
    text = _escaped(message.headline)
    blocks: list[dict[str, Any]] = [
        # Plain text: a header knows no markup, so that nothing is escaped in it.
        {"type": "header", "text": {"type": "plain_text", "text": _cut(message.headline, _SLACK_HEADER)}},
    ]
    if message.reason:
        text += f": {_escaped(_cut(message.reason, _REASON))}"
        blocks.append(_section(_fenced(message.reason, escape=_escaped)))
    if message.facts:
        fields = [
            {"type": "mrkdwn", "text": f"*{name}*\n{_escaped(_cut(value, 300))}"} for name, value in message.facts
        ]
        blocks.append({"type": "section", "fields": fields})
    blocks.append(_section(" · ".join(f"`{_escaped(command)}`" for command in message.commands)))
    return {"text": _cut(text, _SLACK_TEXT), "blocks": blocks}


def discord(message: Message) -> dict[str, Any]:
    """Return what Discord's webhooks take."""
    commands = " · ".join(f"`{command}`" for command in message.commands)
    reason = f"{_fenced(message.reason)}\n" if message.reason else ""
    embed: dict[str, Any] = {
        "title": _cut(message.headline.replace("_", "\\_"), _DISCORD_TITLE),
        "description": _cut(f"{reason}{commands}", _DISCORD_DESCRIPTION),
        "color": _COLORS.get(message.state, _RED),
        "fields": [
            {"name": name, "value": _cut(value.replace("_", "\\_"), _DISCORD_VALUE), "inline": True}
            for name, value in message.facts
        ],
    }
    return {"embeds": [embed], "allowed_mentions": {"parse": []}}


def plain(message: Message) -> dict[str, Any]:
    """Return the message's own fields, for programs."""
    return message.to_json()


PAYLOADS: Mapping[WebhookFormat, _Payload] = {"slack": slack, "discord": discord, "json": plain}
"""What makes the payload of each format."""


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def _fenced(text: str, *, escape: Callable[[str], str] = str) -> str:
    """A text as it is, between fences: nothing in it is markup."""
    return f"```\n{escape(_cut(text, _REASON).replace('```', chr(39) * 3))}\n```"


def _escaped(text: str) -> str:
    """A text in which Slack sees no link, mention or command: those begin with ``<``."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
