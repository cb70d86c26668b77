"""`roberta compare` reports the differences between two checkpoints in any format."""

import json
import shutil
from xml.etree import ElementTree

import h5py
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from conformance.suite.comparison import compare_checkpoints, find_differing_weights
from roberta_core.checkpoints import conversion
from roberta_core.cli import main

BIAS = "encoder.layer.0.output.dense.bias"
QUERY = "encoder.layer.0.attention.self.query.weight"


@pytest.fixture
def compare(capsys):
    """Return `compare(*arguments)`, which runs the command and returns its exit status, stdout and stderr."""

    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            main(["compare", *map(str, arguments)])
        printed = capsys.readouterr()
        return ended.value.code, " ".join(printed.out.split()), printed.err

    return run


@pytest.fixture
def source(checkpoint, tmp_path):
    """Return a folder with a masked language model in safetensors."""
    return shutil.copytree(checkpoint("ForMaskedLM"), tmp_path / "source")


def change(folder, **changes):
    """Change tensors of model.safetensors by functions, selected by the last parts of their names."""
    path = folder / "model.safetensors"
    tensors = load_file(path)
    for name, function in changes.items():
        tensors[f"roberta.{name}"] = np.ascontiguousarray(function(tensors[f"roberta.{name}"]))
    save_file(tensors, path, metadata={"format": "pt"})


def add_to_h5(path, ending, value):
    """Add to the first value of a dataset."""
    with h5py.File(path, "r+") as file:
        names = []
        file.visit(names.append)
        (name,) = [name for name in names if name.endswith(ending)]
        array = file[name][()]
        array.flat[0] += value
        file[name][...] = array


@pytest.mark.parametrize("kind", [row.name for row in conversion.formats.FORMATS if row.name != "fairseq"])
def test_a_converted_checkpoint_is_the_same_model(source, tmp_path, kind):
    conversion.convert(source, tmp_path / "to", kind)
    (found,) = compare_checkpoints([source, tmp_path / "to"])
    assert found.ok, found.sentences
    assert found.compared > 20
    assert [verdict.stage for verdict in found.outputs][-1] == "logits"
    assert not found.notes


def test_a_bias_that_differs_in_the_h5_is_named(source, tmp_path, compare):
    conversion.convert(source, tmp_path / "to", "h5")
    add_to_h5(tmp_path / "to" / "tf_model.h5", "layer_._0/output/dense/bias:0", 0.5)
    status, out, _ = compare(source, tmp_path / "to", "--json")
    assert status == 1
    (found,) = json.loads(out)["comparisons"]
    assert [tensor["name"] for tensor in found["tensors"]] == [BIAS]
    assert found["tensors"][0]["problem"] == "differs by up to 0.5 in 1 of 12 values"
    assert not found["stages"]["hidden_states.1"]["ok"]
    assert found["stages"]["hidden_states.0"]["ok"]


def test_a_folder_whose_files_differ_is_noticed(source, compare):
    conversion.convert(source, source, "h5")
    assert find_differing_weights(source) == []
    assert compare(source)[0] == 0
    add_to_h5(source / "tf_model.h5", "layer_._0/output/dense/bias:0", 0.5)
    assert compare(source)[0] == 1
    assert compare(source / "model.safetensors", source / "tf_model.h5")[0] == 1
    (sentence,) = find_differing_weights(source)
    assert sentence == (
        f"{source}/tf_model.h5 differs from {source}/model.safetensors, which is loaded: {BIAS} differs by up to 0.5 "
        "in 1 of 12 values"
    )


def test_parity_warns_of_a_folder_whose_files_differ(source, capsys):
    conversion.convert(source, source, "h5")
    add_to_h5(source / "tf_model.h5", "layer_._0/output/dense/bias:0", 0.5)
    with pytest.raises(SystemExit) as ended:
        main(["parity", str(source), "--frameworks", "oracle"])
    assert ended.value.code == 0
    out = "".join(capsys.readouterr().out.split())  # the terminal wraps words
    assert "warning:" in out
    assert "tf_model.h5differsfrom" in out


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({QUERY: np.transpose}, "(it is transposed)"),
        ({BIAS: lambda x: x * np.nan}, "has values that are not finite"),
        ({BIAS: lambda x: x + 1e-3}, "differs by up to 0.001 in 12 of 12 values"),
    ],
)
def test_what_differs_in_a_tensor_is_said(source, tmp_path, changes, problem):
    other = shutil.copytree(source, tmp_path / "other")
    change(other, **changes)
    (found,) = compare_checkpoints([source, other])
    assert [tensor.name for tensor in found.tensors] == list(changes)
    assert problem in str(found.tensors[0])
    assert not found.ok


def test_swapped_tensors_are_recognised(source, tmp_path):
    other = shutil.copytree(source, tmp_path / "other")
    key = QUERY.replace("query", "key")
    values = load_file(source / "model.safetensors")
    change(other, **{QUERY: lambda x: values[f"roberta.{key}"], key: lambda x: values[f"roberta.{QUERY}"]})
    (found,) = compare_checkpoints([source, other])
    assert [str(one).partition(" (")[2] for one in found.tensors] == [
        f"it has the values of {key})",
        f"it has the values of {QUERY})",
    ]


def test_a_tolerance_allows_rounding(source, tmp_path):
    conversion.convert(source, tmp_path / "half", "safetensors", dtype="float16")
    assert not compare_checkpoints([source, tmp_path / "half"])[0].ok
    assert compare_checkpoints([source, tmp_path / "half"], tolerance=0.1)[0].ok


def test_settings_and_classes_that_differ_are_named(source, checkpoint, tmp_path):
    other = shutil.copytree(source, tmp_path / "other")
    fields = json.loads((other / "config.json").read_text(encoding="utf-8"))
    (other / "config.json").write_text(json.dumps({**fields, "layer_norm_eps": 1e-5}), encoding="utf-8")
    (found,) = compare_checkpoints([source, other])
    assert found.config == ["config.layer_norm_eps is 1e-05, not 1e-12"]
    (found,) = compare_checkpoints([source, checkpoint("ForTokenClassification")])
    assert "the class is RobertaForTokenClassification, not RobertaForMaskedLM" in found.sentences
    assert any(str(one) == "lm_head.dense.weight is missing" for one in found.tensors)


def test_another_tokenizer_is_noticed(source, tmp_path):
    other = shutil.copytree(source, tmp_path / "other")
    text = (other / "tokenizer.json").read_text(encoding="utf-8")
    fields = json.loads(text)
    fields["model"]["merges"] = fields["model"]["merges"][:-20]
    (other / "tokenizer.json").write_text(json.dumps(fields), encoding="utf-8")
    (found,) = compare_checkpoints([source, other], ["a text and one more text, in a longer text than the other"])
    assert found.tokenizer[0].startswith("the tokenizer gives other ids for 1 of 1 texts: ")
    assert not found.tensors


def test_the_reports_are_written(source, checkpoint, tmp_path, compare):
    files = {kind: tmp_path / f"report.{kind}" for kind in ("json", "xml", "html")}
    options = ["--json-file", files["json"], "--junit", files["xml"], "--html", files["html"]]
    status, out, _ = compare(source, source, checkpoint("ForTokenClassification"), *options)
    assert status == 1
    assert "lm_head.dense.weight is missing" in out
    assert [one["ok"] for one in json.loads(files["json"].read_text(encoding="utf-8"))["comparisons"]] == [True, False]
    suites = list(ElementTree.parse(files["xml"]).getroot())
    assert [suite.get("failures") for suite in suites] == ["0", "2"]
    assert "They differ." in files["html"].read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["{source}"], 1, "has weights in one format only, so there is nothing to compare them with"),
        (["{source}", "nowhere"], 1, "'nowhere' is neither a folder here nor"),
        (["{source}", "{source}/config.json"], 1, "config.json is not a weights file"),
        (["{source}", "{source}", "--tolerance", "-1"], 2, "tolerance"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_sentence(source, compare, arguments, status, message):
    got, out, err = compare(*(str(one).format(source=source) for one in arguments))
    assert got == status
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert not out
