"""A plugin for SkyPilot's server: a test network has no way out.

The controller of managed jobs asks two public resolvers whether the network is up, and waits for ever when neither
answers. Here it asks the server itself, on loopback.
"""

import os
from typing import Any

from sky.server import plugins


class Offline(plugins.BasePlugin):
    """Points the controller's question at this very server."""

    @property
    def name(self) -> str:
        return "offline"

    def install(self, extension_context: Any) -> None:
        """What SkyPilot calls at its start."""
        from sky.backends import backend_utils

        port = os.environ.get("SKYPILOT_API_SERVER_LOCAL_PORT", "46580")
        backend_utils._TEST_IP_LIST[:] = [f"http://127.0.0.1:{port}/api/health"]
