"""`python -m conformance`: the command `roberta parity`."""

import sys

from roberta_core.cli import main

if __name__ == "__main__":
    main(["parity", *sys.argv[1:]])
