import os

import pytest

from roberta_core.checkpoints import CheckpointError, list_embedded, resolve
from roberta_core.checkpoints import source as module


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Return a package with one embedded model and a folder without a configuration."""
    (tmp_path / "embedded" / "roberta-tiny").mkdir(parents=True)
    (tmp_path / "embedded" / "roberta-tiny" / "config.json").write_text("{}")
    (tmp_path / "embedded" / "__pycache__").mkdir()
    monkeypatch.setattr(module, "EMBEDDED", tmp_path / "embedded")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_folder_is_returned_unchanged(package):
    (package / "model").mkdir()
    assert resolve(package / "model") == package / "model"
    assert resolve("model").samefile(package / "model")
    assert resolve(os.fsencode(package / "model").decode() + "/") == package / "model"


def test_an_embedded_name_resolves_to_its_folder_in_the_package(package):
    assert list_embedded() == ("roberta-tiny",)
    assert resolve("roberta-tiny") == package / "embedded" / "roberta-tiny"


def test_a_folder_has_priority_over_an_embedded_name(package):
    (package / "roberta-tiny").mkdir()
    assert resolve("roberta-tiny").samefile(package / "roberta-tiny")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("FacebookAI/roberta-base", "HF_HUB_OFFLINE forbids access to the Hub"),
        ("__pycache__", "HF_HUB_OFFLINE forbids access to the Hub"),
        ("", "nor a valid name on the Hub"),
        ("x\0y", "nor a valid name on the Hub"),
        ("roberta-tiny/../roberta-tiny", "nor a valid name on the Hub"),
    ],
)
def test_an_unknown_source_is_refused_with_the_places_searched(package, source, reason):
    with pytest.raises(CheckpointError, match="neither a folder here nor a built-in model") as caught:
        resolve(source)
    assert isinstance(caught.value, OSError)
    assert "roberta-tiny" in str(caught.value)
    assert reason in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("source", ["/nowhere", "./nowhere", "../nowhere", "~someone", "nowhere/"])
def test_a_path_that_does_not_exist_is_reported_as_a_folder(package, source):
    with pytest.raises(CheckpointError, match=f"there is no folder '{source}'; specify a folder with a checkpoint"):
        resolve(source)


def test_a_file_is_refused(package):
    (package / "model.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match="is a file; specify the folder that holds config"):
        resolve(package / "model.safetensors")


def test_a_package_without_models_is_reported(package, monkeypatch):
    monkeypatch.setattr(module, "EMBEDDED", package / "nothing")
    assert list_embedded() == ()
    with pytest.raises(CheckpointError, match="available: none"):
        resolve("roberta-tiny")
