"""The docstring of each of the seven classes documents the arguments and has an example that runs."""

import doctest

import pytest

from roberta_core.parameters import ARCHITECTURES


def find_examples(kind):
    """Return the examples of the docstring of a class."""
    return doctest.DocTestParser().get_doctest(kind.__doc__, {}, kind.__name__, None, None)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_docstring_has_an_args_section_and_an_example(framework, architecture):
    kind = framework.kind(architecture)
    assert "\n    Args:\n" in kind.__doc__ or "\nArgs:\n" in kind.__doc__  # Python 3.13 removes the indentation
    assert find_examples(kind).examples


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_examples_give_the_documented_output(framework, architecture):
    report = []
    result = doctest.DocTestRunner(verbose=False).run(find_examples(framework.kind(architecture)), out=report.append)
    assert result.attempted > 0
    assert not result.failed, "".join(report)
