"""`roberta export --to onnx`: what the folder has, that it is checked, and what is refused."""

import json
import re

import numpy as np
import pytest

from roberta_core import checkpoints, exports
from roberta_core.cli import main
from roberta_core.parameters import ARCHITECTURES
from roberta_core.pipelines import pipeline
from roberta_core.sentences import Normalize, Pooling, SentenceModules, save_modules


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_class_is_exported_and_compared(checkpoint, tmp_path, architecture):
    longest = 511 if architecture == "ForTokenClassification" else 9
    made = exports.export(
        checkpoint(architecture, vocab_size=101, max_position_embeddings=longest + 2), tmp_path / "out", "onnx"
    )
    shapes = [tuple(map(int, re.findall(r"\d+", check.shape))) for check in made.checks]
    found = [(shape[0], shape[-1]) for shape in shapes]
    assert found == [(rows, min(length, longest)) for rows, length in [(1, 1), (2, 7), (1, 64), (5, 33), (3, 511)]]
    assert all(check.error < 1e-5 for check in made.checks)
    assert ("key/value cache" in " ".join(made.remarks)) == (architecture == "ForCausalLM")


@pytest.mark.parametrize(("dtype", "ids"), [("float16", "int64"), ("int8", "int64"), ("float32", "int32")])
def test_the_dtype_and_the_type_of_ids_are_those_requested(checkpoint, tmp_path, dtype, ids):
    import onnx

    made = exports.export(
        checkpoint("ForSequenceClassification", vocab_size=101), tmp_path / "out", "onnx", dtype=dtype, ids=ids
    )
    assert made.checks
    graph = onnx.load(tmp_path / "out" / "model.onnx").graph
    kinds = {one.name: onnx.TensorProto.DataType.Name(one.data_type) for one in graph.initializer}
    table = {"float16": "FLOAT16"}.get(dtype, "FLOAT")
    assert kinds["roberta.embeddings.word_embeddings.weight"] == table
    matrices = [kind for name, kind in kinds.items() if "intermediate.dense.weight" in name and "scale" not in name]
    assert ("INT8" in matrices) == (dtype == "int8")
    assert {one.type.tensor_type.elem_type for one in graph.input} == {getattr(onnx.TensorProto, ids.upper())}


def test_large_parameters_go_to_a_second_file(checkpoint, tmp_path, monkeypatch):
    from roberta_onnx import graph

    monkeypatch.setattr(graph, "EMBEDDED", 1000)
    made = exports.export(checkpoint("Model", vocab_size=101), tmp_path / "out", "onnx")
    assert made.files["model.onnx.data"] > 4096
    assert len(made.checks) == 5


def test_an_exported_classifier_keeps_its_labels_and_tokenizer(checkpoint, tmp_path):
    source = checkpoint("ForSequenceClassification", id2label={0: "bad", 1: "good"}, label2id={"bad": 0, "good": 1})
    exports.export(source, tmp_path / "out", "onnx", check=False)
    texts = ["One text.", "Another, longer text."]
    want, found = (
        pipeline("text-classification", folder, framework="onnx")(texts) for folder in (source, tmp_path / "out")
    )
    assert [one["label"] for one in found] == [one["label"] for one in want]
    np.testing.assert_allclose([one["score"] for one in found], [one["score"] for one in want], rtol=1e-5)
    with pytest.raises(checkpoints.CheckpointError, match="has the graph of RobertaForSequenceClassification, not of"):
        pipeline("token-classification", tmp_path / "out", framework="onnx")
    with pytest.raises(ValueError, match="keeps the dtype that it was exported with"):
        pipeline("text-classification", tmp_path / "out", framework="onnx", dtype="int8")


def test_an_exported_sentence_model_keeps_its_pooling(checkpoint, tmp_path):
    encoder = checkpoint("Model")
    modules = SentenceModules(Pooling(("max", "mean")), (Normalize(),))
    save_modules(
        tmp_path / "sentences", modules, 12,
        lambda folder: [(folder / one.name).write_bytes(one.read_bytes()) for one in encoder.iterdir()],
    )  # fmt: skip
    exports.export(tmp_path / "sentences", tmp_path / "out", "onnx", check=False)
    want, found = (
        pipeline("sentence-embedding", tmp_path / name, framework="onnx")("A text.") for name in ("sentences", "out")
    )
    assert found.shape == (24,)
    np.testing.assert_allclose(found, want, atol=1e-6)


def test_a_wrong_export_is_not_kept(checkpoint, tmp_path, monkeypatch):
    from roberta_onnx import layers

    add = layers.Tensor.add

    def spoil(tensor, operator, *others, **settings):
        return add(tensor, operator, *others, **(settings | ({"epsilon": 1.0} if "epsilon" in settings else {})))

    monkeypatch.setattr(layers.Tensor, "add", spoil)
    source = checkpoint("ForTokenClassification", vocab_size=101)
    with pytest.raises(checkpoints.CheckpointError, match=r"wrong at \(1, 1\), so it was not kept: logits: error"):
        exports.export(source, tmp_path / "out", "onnx")
    assert not (tmp_path / "out").exists()
    assert not [one for one in tmp_path.iterdir() if one.name.startswith(".")]


def test_the_command_prints_error_and_expected_rounding(checkpoint, tmp_path, capsys):
    source = str(checkpoint("ForQuestionAnswering"))
    with pytest.raises(SystemExit) as ended:
        main(["export", source, str(tmp_path / "out"), "--to", "onnx", "--json"])
    assert ended.value.code == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["class"] == "RobertaForQuestionAnswering"
    assert {"model.onnx", "config.json", "tokenizer.json"} <= set(facts["files"])
    assert all(0 < check["error"] < 10 * check["expected"] for check in facts["checks"])
    with pytest.raises(SystemExit) as ended:
        main(["parity", source, "--against", f"onnx:{tmp_path / 'out' / 'model.onnx'}"])
    assert ended.value.code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"to": "pickle"}, "'pickle' is not a format to export to; the formats are onnx, "),
        ({"dtype": "bfloat16"}, "dtype is 'bfloat16'; onnx supports float32, float16, int8"),
        ({"ids": "int8"}, "ids is 'int8'; onnx supports int64, int32"),
        ({"architecture": "ForTokens"}, "'ForTokens' is not a RoBERTa class"),
        ({"architecture": "ForTokenClassification"}, "lacks .*classifier.* train the head of RobertaForTokenClass"),
    ],
)
def test_what_cannot_be_exported_is_refused(checkpoint, tmp_path, arguments, message):
    with pytest.raises((ValueError, checkpoints.CheckpointError), match=message):
        exports.export(checkpoint("ForMaskedLM"), tmp_path / "out", **{"to": "onnx", **arguments})
    assert not (tmp_path / "out").exists()


def test_values_beyond_float16_and_a_folder_with_files_are_refused(checkpoint, tmp_path, config, weights):
    source = checkpoint("Model", vocab_size=101)
    tensors = weights(config, "Model")
    tensors["encoder.layer.0.output.dense.weight"][1, 2] = 1e6
    checkpoints.save(source, config, "Model", tensors)
    message = "not finite in float16: encoder.layer.0.output.dense.weight"
    with pytest.raises(checkpoints.CheckpointError, match=message):
        exports.export(source, tmp_path / "out", "onnx", dtype="float16")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(checkpoints.CheckpointError, match="is not an empty folder"):
        exports.export(source, tmp_path / "full", "onnx")


def test_cross_attention_is_refused(checkpoint, tmp_path):
    with pytest.raises(checkpoints.CheckpointError, match="has cross-attention: an exported model has no input"):
        exports.export(checkpoint("ForCausalLM", add_cross_attention=True), tmp_path / "out", "onnx")
