"""Telling webhooks what becomes of a run: Slack, Discord, and whatever takes JSON."""
