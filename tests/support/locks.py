"""What lock files say."""

import re
from pathlib import Path


def locked_pins(path: Path) -> set[str]:
    """Return a lock's ``name==version``."""
    return set(re.findall(r"^[a-z0-9][a-z0-9-]*==[^\s;]+", path.read_text(), re.MULTILINE))


def locked_hashes(path: Path) -> dict[str, set[str]]:
    """Return the hashes of each ``name==version`` of a lock."""
    blocks = re.split(r"(?m)^(?=[a-z0-9])", path.read_text())
    return {
        block.split()[0]: set(re.findall(r"--hash=(sha256:[0-9a-f]{64})\b", block)) for block in blocks if "==" in block
    }
