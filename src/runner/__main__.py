"""``python -m runner``: the same as the `runner` program."""

from runner.cli import main

if __name__ == "__main__":
    main()
