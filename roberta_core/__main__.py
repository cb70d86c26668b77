"""`python -m roberta_core`: the command `roberta`, for launchers such as torchrun that start a module."""

from roberta_core.cli import main

if __name__ == "__main__":
    main()
