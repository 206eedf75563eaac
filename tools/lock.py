"""Write the lock files from what is installed in this environment.

``images/cpu.lock``: the package with its `train` extra, and what builds it. ``tests/requirements.lock``: everything
else that the tests and checks need, except for the browser's test, which has its own lock. Versions only, no index
addresses: where packages come from is pip's setting.
"""

import re
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
BUILD = ("hatchling", "editables")
NEVER = {"pip", "runner"}


def canonical(name: str) -> str:
    """Return a package's normalized name."""
    return re.sub(r"[-_.]+", "-", name).lower()


def closure(names: set[tuple[str, str]]) -> set[str]:
    """Return the (name, extra) pairs' packages and everything installed that they require."""
    seen: set[tuple[str, str]] = set()
    waiting = set(names)
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        for line in distribution(name).requires or ():
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                waiting.add((canonical(requirement.name), ""))
                waiting |= {(canonical(requirement.name), wanted) for wanted in requirement.extras}
    return {name for name, _ in seen}


def pin(package: Distribution) -> str:
    """Return ``name==version`` without the version's local part (``+cpu``), which depends on the index."""
    return f"{canonical(package.name)}=={package.version.split('+')[0]}"


def main() -> None:
    """Write both files."""
    installed = {canonical(package.name): package for package in distributions()}
    train = closure({("runner", ""), ("runner", "train"), ("runner", "gguf"), *((name, "") for name in BUILD)}) - NEVER
    browser = (ROOT / "tests/browser/requirements.lock").read_text().split()
    rest = installed.keys() - train - NEVER - {line.partition("==")[0] for line in browser}
    for path, names, about in (
        (ROOT / "images" / "cpu.lock", train, "runner with its train extra, and what builds it"),
        (ROOT / "tests" / "requirements.lock", rest, "what the tests and checks need besides images/cpu.lock"),
    ):
        lines = [f"# {about}; written by tools/lock.py", *sorted(pin(installed[name]) for name in names)]
        path.write_text("\n".join(lines) + "\n")
        print(f"{path.relative_to(ROOT)}: {len(names)} packages")


if __name__ == "__main__":
    main()
