"""The pytest plugin: `pytest --roberta-parity CHECKPOINT` and the fixture `roberta_parity`.

pytest loads this module in every run of an environment that has triberta, so everything else is imported on use.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .suite.run import Report

OPTION = "--roberta-parity"


class ParityError(AssertionError):
    """An implementation differs from the float64 model; the message names the first stage and a suggested cause."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("triberta", "compare RoBERTa implementations with a float64 model")
    group.addoption(
        OPTION, action="append", default=[], metavar="CHECKPOINT", help="Add a test for a checkpoint; can be repeated."
    )
    group.addoption(
        f"{OPTION}-frameworks",
        metavar="NAMES",
        help="Comma-separated frameworks, such as pt,tf,flax. Default: all that are installed.",
    )
    group.addoption(
        f"{OPTION}-against",
        metavar="MODULE:CALLABLE",
        help="Your own implementation, compared instead of the frameworks.",
    )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Add a test for each checkpoint and implementation."""
    for checkpoint in config.getoption(OPTION) or ():
        items.extend(list_tests(session, config, checkpoint))


def list_tests(session: pytest.Session, config: pytest.Config, checkpoint: str) -> "Iterator[ParityItem]":
    """Yield the tests of a checkpoint: one for each implementation."""
    from roberta_core import backend

    from .measurement import select_adapters

    against, frameworks = config.getoption(f"{OPTION}-against"), config.getoption(f"{OPTION}-frameworks")
    names = [name.strip() for name in frameworks.split(",")] if frameworks else None
    if names is None and against is None:
        names = list(backend.available())
    try:
        select_adapters(names, against)
    except (KeyError, ValueError, backend.BackendError) as error:
        raise pytest.UsageError(f"{OPTION} {checkpoint}: {error.args[0]}") from None
    chosen: list[dict[str, Any]] = [{"against": against, "frameworks": []}] if against is not None else []
    for options in [*chosen, *({"frameworks": [name]} for name in names or ())]:
        name = options.get("against") or options["frameworks"][0]
        yield ParityItem.from_parent(
            session, name=f"parity[{checkpoint}-{name}]", checkpoint=checkpoint, options=options
        )


class ParityItem(pytest.Item):
    """The comparison of one implementation with the float64 model on a checkpoint."""

    def __init__(self, *, checkpoint: str, options: dict[str, Any], **arguments: Any):
        super().__init__(**arguments)
        self.checkpoint, self.options = checkpoint, options

    def runtest(self) -> None:
        """Run the comparison."""
        check_parity(self.checkpoint, **self.options)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Show only the message if stages differ."""
        return str(excinfo.value) if isinstance(excinfo.value, ParityError) else super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[os.PathLike[str] | str, int | None, str]:
        """Return the place and the name for reports."""
        return self.path, None, self.name


@pytest.fixture(scope="session")
def roberta_parity() -> "Callable[..., Report]":
    """Return `check_parity`, which fails if an implementation differs from the float64 model on a checkpoint."""
    return check_parity


def check_parity(
    checkpoint: str | os.PathLike[str],
    against: Any = None,
    *,
    frameworks: Sequence[str] | None = None,
    texts: Sequence[str] | None = None,
    tolerance: float | None = None,
) -> "Report":
    """Compare implementations with the float64 model on a checkpoint.

    Args:
        checkpoint: A folder, an embedded model or a Hub id.
        against: Your own implementation: a callable, or `module:callable`. It gets the folder of the checkpoint and
            returns a function of `input_ids` and `attention_mask` that returns its stages by name.
        frameworks: Names such as "pt"; by default every installed framework, or none with `against`.
        texts: The texts to run; by default those of `roberta parity`.
        tolerance: The tolerance of every stage; by default 10 times its expected rounding.

    Returns:
        The report: the error of every stage.

    Raises:
        ParityError: If an implementation differs.
        ValueError: If the checkpoint or the implementation cannot be loaded.
    """
    from .measurement import measure_checkpoint, select_adapters
    from .report.formats import describe_failures
    from .suite.run import TEXTS

    adapters = select_adapters(frameworks, against)
    report = measure_checkpoint(adapters, checkpoint, texts or TEXTS, tolerance=tolerance)
    if not report.ok:
        raise ParityError("\n".join(describe_failures(report)))
    return report
