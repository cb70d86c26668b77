"""The command `roberta`.

It exits with 0 on success, 1 on failure or a failed check, 2 on a usage error, and 130 if it is interrupted. Errors are
one sentence on stderr.

This module imports nothing that takes time: an interrupt while the program is being imported is handled like any other.
"""

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and end the process with its exit status.

    Args:
        arguments: the arguments after the program's name; by default those of the process.
    """
    try:
        from roberta_core.cli.program import run

        status = run(arguments)
    except KeyboardInterrupt:
        print("roberta: interrupted", file=sys.stderr)
        status = 130
    sys.exit(status)
