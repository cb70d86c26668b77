"""The command `roberta`."""

import sys


def main() -> None:
    """Run the command line."""
    sys.exit("roberta: no command yet")
