"""``python -m runner``: the same as the `runner` program."""

from runner.cli.main import main

if __name__ == "__main__":
    main()
