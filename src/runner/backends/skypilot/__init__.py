"""Attempts as SkyPilot jobs: resources, task, client."""
