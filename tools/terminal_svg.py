"""Write `docs/first-run.svg`: what a terminal shows of a real run, as a picture for the README.

It runs the commands in a folder of its own and draws what they really print; only that folder's name is written `~`,
and the middle of the progress is left out. Two minutes on two cores that are free.

    python tools/terminal_svg.py
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "docs/first-run.svg"
COMMANDS = ("runner launch quickstart", "runner ps")
WIDTH = 116


def printed(command: str, home: Path) -> str:
    """Run a command of ours; returns what it prints on both streams."""
    bin_folder = Path(sys.executable).parent
    environment = {
        "HOME": str(home),
        "PATH": f"{bin_folder}:/usr/bin:/bin",
        "COLUMNS": str(WIDTH),
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        command.split(),
        cwd=home,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
    )
    return done.stdout.replace(str(home), "~")


def shortened(text: str) -> str:
    """Leave out the middle of the progress, of which there is a line every five seconds."""
    lines = text.splitlines()
    progress = [number for number, line in enumerate(lines) if line.startswith("training: ")]
    dropped = set(progress[2:-2])
    return "\n".join(line for number, line in enumerate(lines) if number not in dropped)


def main() -> None:
    """Run the commands, and write the picture."""
    console = Console(record=True, width=WIDTH, file=open("/dev/null", "w"), force_terminal=True)  # noqa: SIM115, PTH123
    with tempfile.TemporaryDirectory() as folder:
        for command in COMMANDS:
            console.print(Text(f"$ {command}", style="bold green"))
            console.print(Text(shortened(printed(command, Path(folder)))))
            console.print()
    picture = console.export_svg(title="runner", theme=MONOKAI)
    picture = re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL)  # nothing is loaded from elsewhere
    TARGET.write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main()
