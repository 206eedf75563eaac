"""The webhooks that a run's recipe names, with their URLs from this machine's environment."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from runner.recipe.recipe import Notification, WebhookFormat
from runner.recipe.webhooks import format_by_host, is_webhook


@dataclass(frozen=True, kw_only=True)
class Webhook:
    """A webhook that can be told something."""

    name: str
    """The variable that holds its URL: how people know it, and all that is ever printed of it."""
    url: str = field(repr=False)
    """Where messages are posted. Whoever knows it can do that."""
    format: WebhookFormat
    """What it takes."""
    events: tuple[str, ...]
    """What it wants to be told."""


@dataclass(frozen=True, kw_only=True)
class Webhooks:
    """All of a run's."""

    usable: tuple[Webhook, ...] = ()
    """Those that can be told something."""
    missing: tuple[str, ...] = ()
    """The variables that are not set on this machine, or hold no URL."""

    @property
    def urls(self) -> dict[str, str]:
        """The URLs by variable: secrets."""
        return {webhook.name: webhook.url for webhook in self.usable}


def find_webhooks(recipe: Mapping[str, Any], environ: Mapping[str, str]) -> Webhooks:
    """Return the webhooks of a recipe's `notify`.

    Args:
        recipe: the run's, from ``run.json``.
        environ: the variables of this process.
    """
    usable, missing = [], list[str]()
    for entry in map(Notification.from_mapping, recipe.get("notify") or ()):
        url = environ.get(entry.secret, "")
        if is_webhook(url):
            usable.append(
                Webhook(name=entry.secret, url=url, format=entry.format or format_by_host(url), events=entry.events)
            )
        else:
            missing.append(entry.secret)
    return Webhooks(usable=tuple(usable), missing=tuple(dict.fromkeys(missing)))
