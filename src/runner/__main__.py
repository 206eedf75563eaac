"""The `runner` program, and ``python -m runner``."""

import sys

from runner.exit_codes import CTRL_C


def main() -> None:
    """The `runner` program. A Ctrl-C while it is still being imported ends it without a traceback."""
    try:
        from runner.cli.main import main as run  # here: within the `try`
    except KeyboardInterrupt:
        sys.exit(CTRL_C)
    run()


if __name__ == "__main__":
    main()
