"""Make a release: version, changelog section, wheel and sdist that are checked where nothing else is, commit and tag.

    python tools/release.py release 0.2.0   all of it; nothing is pushed
    python tools/release.py build           wheel and sdist in dist/, and the checks
    python tools/release.py check TAG       whether TAG is the version's, and the changelog has its section
    python tools/release.py notes           the changelog's section of the version, for the release's page

The version stands in ``src/runner/__init__.py``, and nowhere else. A checkout is checked at its commit: what is not
committed is refused.
"""

import argparse
import datetime
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
PYTHONS = ("3.11", "3.12", "3.13")
UNRELEASED = "## Unreleased\n"

_VERSION = re.compile(r'^__version__ = "(?P<version>[^"]+)"$', re.MULTILINE)
_CHECKS = (
    ("--version",),
    ("jobs",),
    ("check", "quickstart", "smollm2-135m-lora"),
    ("schema",),
    ("render", "smollm2-135m-lora", "--gpu", "L4", "--store", "s3://bucket/folder"),
    ("ps",),
)
"""What must work with nothing but what the package asks for: the recipes, schema and locks are found, no torch is."""


def current_version(root: Path = ROOT) -> str:
    """Return the version in ``src/runner/__init__.py``."""
    match = _VERSION.search((root / "src/runner/__init__.py").read_text())
    if match is None:
        raise SystemExit("src/runner/__init__.py has no line `__version__ = …`")
    return match["version"]


def set_version(version: str, root: Path = ROOT) -> None:
    """Write the version, and give what is unreleased in the changelog its heading."""
    if not re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+((a|b|rc)[0-9]+)?", version):
        raise SystemExit(f"{version!r} is no version: write 1.2.3, or 1.2.3rc1")
    changelog = root / "CHANGELOG.md"
    text = changelog.read_text()
    if f"\n## {version} (" in text:
        raise SystemExit(f"CHANGELOG.md has a section of {version} already")
    before, heading, rest = text.partition(UNRELEASED)
    if not heading or not rest.partition("\n## ")[0].strip():
        raise SystemExit("CHANGELOG.md has nothing under Unreleased")
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    changelog.write_text(f"{before}{UNRELEASED}\n## {version} ({today})\n{rest}")
    module = root / "src/runner/__init__.py"
    module.write_text(_VERSION.sub(f'__version__ = "{version}"', module.read_text()))


def notes(version: str, root: Path = ROOT) -> str:
    """Return the changelog's section of a version, without its heading."""
    match = re.search(
        rf"^## {re.escape(version)} \([0-9-]+\)\n(?P<text>.*?)(?=^## |\Z)",
        (root / "CHANGELOG.md").read_text(),
        re.MULTILINE | re.DOTALL,
    )
    if match is None or not match["text"].strip():
        raise SystemExit(f"CHANGELOG.md has no section of {version}")
    return match["text"].strip() + "\n"


def check_tag(tag: str, root: Path = ROOT) -> None:
    """Refuse a tag that is not the version's, or whose version the changelog does not describe."""
    version = current_version(root)
    if tag != f"v{version}":
        raise SystemExit(f"the tag is {tag}, and the version {version}")
    notes(version, root)


def build(folder: Path, root: Path = ROOT) -> list[Path]:
    """Build the sdist, and the wheel from it, so that the sdist is known to suffice."""
    shutil.rmtree(folder, ignore_errors=True)
    _run([sys.executable, "-m", "uv", "build", "--quiet", "--out-dir", str(folder), str(root)])
    version = current_version(root)
    made = [folder / f"runner_finetune-{version}-py3-none-any.whl", folder / f"runner_finetune-{version}.tar.gz"]
    for path in made:
        if not path.is_file():
            raise SystemExit(f"{path.name} was not built: {[each.name for each in folder.iterdir()]}")
    return made


def check_package(package: Path, python: str) -> None:
    """Install a wheel or sdist into an environment of its own, and use it in an empty folder.

    Args:
        package: the file.
        python: its version; uv finds one on the PATH, or fetches it.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = folder / "environment"
        _run([sys.executable, "-m", "uv", "venv", "--quiet", "--python", python, str(environment)])
        interpreter = environment / "bin" / "python"
        _run([sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", str(interpreter), str(package)])
        kept = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "RUNNER_STORE")}
        variables = {
            **kept,
            "HOME": name,
            "RUNNER_STORE": f"{name}/store",
            "XDG_DATA_HOME": name,
            "XDG_CACHE_HOME": name,
        }
        program = environment / "bin" / "runner"
        for words in _CHECKS:
            printed = _run([str(program), *words], cwd=folder, env=variables)
            if words == ("--version",) and printed.strip() != f"runner {current_version()}":
                raise SystemExit(f"{package.name} says {printed.strip()!r}")
        _run([str(interpreter), "-c", "import runner, sys; assert 'torch' not in sys.modules"], cwd=folder)
    print(f"{package.name} works with Python {python}")


def release(version: str) -> None:
    """Make a release here; nothing is pushed."""
    if _run(["git", "status", "--porcelain"], cwd=ROOT).strip():
        raise SystemExit("there are changes that are not committed")
    if _run(["git", "tag", "--list", f"v{version}"], cwd=ROOT).strip():
        raise SystemExit(f"there is a tag v{version} already")
    set_version(version)
    try:
        check_tag(f"v{version}")
        checked_build()
    except BaseException:
        _run(["git", "checkout", "--quiet", "--", "CHANGELOG.md", "src/runner/__init__.py"], cwd=ROOT)
        raise
    _run(["git", "commit", "--quiet", "--all", "--message", f"release: {version}"], cwd=ROOT)
    _run(["git", "tag", "--annotate", f"v{version}", "--message", f"runner {version}"], cwd=ROOT)
    print(f"v{version} is tagged. `git push --follow-tags` publishes it: the workflow `release` does the rest.")


def checked_build() -> None:
    """Build to ``dist/``, and check what was built."""
    for package in build(ROOT / "dist"):
        for python in PYTHONS:
            check_package(package, python)


def _run(command: Sequence[str], *, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, env=env, text=True, capture_output=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} exited with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("release").add_argument("version")
    commands.add_parser("build")
    commands.add_parser("check").add_argument("tag")
    commands.add_parser("notes")
    asked = parser.parse_args()
    if asked.command == "release":
        release(asked.version)
    elif asked.command == "build":
        checked_build()
    elif asked.command == "check":
        check_tag(asked.tag)
    else:
        print(notes(current_version()), end="")


if __name__ == "__main__":
    main()
