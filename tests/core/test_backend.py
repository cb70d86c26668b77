from importlib.metadata import EntryPoint

import pytest

from roberta_core import backend


def test_an_unknown_framework_is_refused():
    with pytest.raises(backend.BackendError, match="no framework 'mxnet'; known are flax, pt, tf"):
        backend.load("mxnet")


def test_the_three_are_registered():
    assert set(backend.registered()) >= {"pt", "tf", "flax"}


def test_a_framework_that_is_not_installed_says_what_to_install(monkeypatch):
    class Distribution:
        requires = ("numpy>=2", 'absentia>=1.0; extra == "other"', 'nowhere-to-be-found; extra == "zz"')

    point = EntryPoint("zz", "nowhere:BACKEND", backend.GROUP)._for(Distribution())  # type: ignore[arg-type]
    monkeypatch.setattr(backend, "registered", lambda: {"zz": point})
    assert backend.available() == ()
    backend.load.cache_clear()
    with pytest.raises(backend.BackendError, match=r"zz needs nowhere_to_be_found: pip install 'triberta\[zz\]'"):
        backend.load("zz")
