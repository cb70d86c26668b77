from importlib.metadata import EntryPoint

import pytest

from roberta_core import backend


def test_an_unknown_framework_is_refused():
    with pytest.raises(
        backend.BackendError, match=r"no framework 'mxnet': write pt \(PyTorch\), tf .*, flax .* or openvino"
    ):
        backend.load("mxnet")


def test_the_frameworks_are_registered():
    assert set(backend.registered()) >= {"pt", "tf", "flax", "onnx", "openvino"}


def test_a_framework_that_trains_is_the_default_before_one_that_does_not(monkeypatch):
    monkeypatch.setattr(backend, "available", lambda: ("onnx", "flax", "openvino"))
    assert backend.list_installed() == ["flax", "onnx", "openvino"]
    monkeypatch.setattr(backend, "available", lambda: ("onnx",))
    assert backend.find_default() == "onnx"


def test_training_with_a_runtime_is_refused():
    with pytest.raises(backend.BackendError, match=r"openvino \(OpenVINO\) cannot train models: use pt, tf or flax"):
        backend.refuse_inference_only("openvino", "train models")
    backend.refuse_inference_only("tf", "train models")


def test_the_error_of_a_missing_framework_names_what_to_install(monkeypatch):
    class Distribution:
        requires = ("numpy>=2", 'absentia>=1.0; extra == "other"', 'nowhere-to-be-found; extra == "zz"')

    point = EntryPoint("zz", "nowhere:BACKEND", backend.GROUP)._for(Distribution())  # type: ignore[arg-type]
    monkeypatch.setattr(backend, "registered", lambda: {"zz": point})
    assert backend.available() == ()
    backend.load.cache_clear()
    with pytest.raises(backend.BackendError, match=r"zz needs nowhere_to_be_found: pip install 'triberta\[zz\]'"):
        backend.load("zz")


@pytest.mark.parametrize(
    ("requested", "found"), [("auto", "cuda:0"), ("cuda", "cuda:0"), ("cuda:1", "cuda:1"), ("cpu", "cpu")]
)
def test_a_device_is_selected_by_its_name_or_kind(requested, found):
    assert backend.select_device("One", requested, ["cuda:0", "cuda:1", "cpu"]) == found


@pytest.mark.parametrize("requested", ["cuda", "cuda:0", "mps", "gpu", "", "CPU", ":"])
def test_a_missing_device_is_refused(requested):
    message = f"there is no device {requested!r} here: One sees only cpu; specify one of these, or auto"
    with pytest.raises(backend.BackendError, match=message):
        backend.select_device("One", requested, ["cpu"])


def test_a_model_that_refuses_to_be_frozen_runs_plain_and_this_is_logged(caplog):
    class Model:
        def frozen(self):
            raise ValueError("differs by 1.0e-03")

    model = Model()
    assert backend.freeze_model(model) is model
    assert caplog.messages == ["Model runs plain: differs by 1.0e-03"]
