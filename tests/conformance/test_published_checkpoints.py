"""The table of published checkpoints: what it runs, and which results pass."""

import json
import shutil
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from conformance.suite import published_checkpoints
from roberta_core import backend

FORMATS = ("pt-safetensors", "v5-safetensors", "tf-safetensors", "flax-safetensors", "pt-bin", "tf-h5", "flax-msgpack")


@pytest.fixture(scope="session")
def fixtures(shared):
    return shared / "fixtures"


@pytest.fixture(scope="session")
def entries(fixtures):
    return {entry.name: entry for entry in published_checkpoints.list_entries(fixtures)}


@pytest.fixture(scope="session")
def pt():
    return backend.load("pt")


def test_every_checkpoint_among_the_fixtures_is_in_the_table(fixtures, entries):
    weights = {path.parent for kind in ("hf", "fairseq") for path in (fixtures / kind).rglob("config.json")}
    weights |= {path.parent for path in fixtures.rglob("model.pt")}
    assert {entry.folder for entry in entries.values()} == weights
    classes = {entry.architecture for name, entry in entries.items() if name.endswith(FORMATS)}
    assert len(classes) == 7
    for name in classes - {"Model"}:
        assert {f"{name} {format}" for format in FORMATS} <= set(entries)


@pytest.mark.parametrize("framework", ["tf", "flax"])
@pytest.mark.parametrize(
    "name",
    [
        "ForTokenClassification tf-h5",
        "ForSequenceClassification flax-msgpack",
        "fairseq v0.12.2-untied as ForMaskedLM",
        "fairseq v0.12.2-prenorm as ForMaskedLM",
    ],
)
def test_a_checkpoint_gives_the_outputs_beside_it(entries, framework, name):
    cell = published_checkpoints.measure(backend.load(framework), entries[name], only=("mask",))
    assert cell.complaint is None
    assert cell.refused or 0 < cell.error <= published_checkpoints.RTOL


def test_pytorch_gives_the_outputs_of_every_checkpoint(entries, pt):
    wrong = {
        name: cell for name, entry in entries.items() if (cell := published_checkpoints.measure(pt, entry)).complaint
    }
    assert not wrong


@pytest.fixture
def copy(entries, tmp_path):
    """Return `copy(name)`: a copy of an entry whose files can be changed."""

    def made(name):
        entry = entries[name]
        folder = tmp_path / "copy"
        shutil.copytree(entry.folder, folder)
        folder.chmod(0o755)
        for path in folder.iterdir():
            path.chmod(0o644)
        return published_checkpoints.Entry(name, folder, entry.architecture, entry.cases)

    return made


def test_a_changed_tensor_fails_the_table(copy, pt):
    entry = copy("ForTokenClassification pt-safetensors")
    tensors = load_file(entry.folder / "model.safetensors")
    tensors["classifier.bias"] = tensors["classifier.bias"] + np.float32(1e-3)
    save_file(tensors, entry.folder / "model.safetensors", {"format": "pt"})
    cell = published_checkpoints.measure(pt, entry)
    assert cell.complaint is not None
    assert "logits: error" in cell.complaint
    assert published_checkpoints.describe_cell(cell).endswith("fails")


def test_a_checkpoint_that_does_not_load_fails_the_table(copy, pt):
    entry = copy("ForTokenClassification pt-bin")
    (entry.folder / "pytorch_model.bin").write_bytes(b"nothing")
    assert published_checkpoints.describe_cell(published_checkpoints.measure(pt, entry)) == "fails"


def test_what_must_be_refused_fails_the_table_if_it_loads(entries, pt):
    entry = entries["fairseq v0.12.2-masked_lm as ForMaskedLM"]
    cell = published_checkpoints.measure(
        pt, published_checkpoints.Entry(entry.name, entry.folder, entry.architecture, ())
    )
    assert cell.complaint == "it loads, although no published class supports it"


def test_the_command_prints_a_table_and_writes_json(fixtures, tmp_path, capsys):
    options = ["--frameworks", "pt", "--match", "quirk", "--json", str(tmp_path / "found.json")]
    assert published_checkpoints.main([str(fixtures), *options]) == 0
    printed = capsys.readouterr().out
    assert "quirk bias_conflict pt-bin" in printed
    assert "0 of 26 fail" in printed
    facts = json.loads((tmp_path / "found.json").read_text())
    assert 0 < facts["quirk bias_conflict pt-bin"]["pt"]["error"] <= published_checkpoints.RTOL


def test_a_folder_without_fixtures_is_refused_and_no_entry_is_no_success(fixtures, tmp_path):
    with pytest.raises(ValueError, match="does not contain hf/checkpoints"):
        list(published_checkpoints.list_entries(tmp_path))
    assert published_checkpoints.main([str(fixtures), "--frameworks", "pt", "--match", "nothing"])


def test_a_process_that_dies_fails_its_rows(fixtures, monkeypatch):
    class Died:
        def __init__(self, *_):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def submit(self, *_):
            raise BrokenProcessPool

    monkeypatch.setattr(published_checkpoints, "ProcessPoolExecutor", Died)
    cells = published_checkpoints.measure_in_processes(fixtures, "pt", [["one", "two"]], ())
    assert [cell.complaint for cell in cells.values()] == ["its process ended unexpectedly"] * 2
