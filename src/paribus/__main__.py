"""`python -m paribus`: the command line, for launchers that start a module."""

import sys

from paribus.cli.main import entry

if __name__ == "__main__":
    sys.exit(entry())
