"""`python -m proftool`."""

from proftool.cli.app import entry

if __name__ == "__main__":
    entry()
