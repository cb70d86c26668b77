import os

import ml_dtypes
import numpy as np
import pytest

from roberta_core import checkpoints
from roberta_core.checkpoints import CheckpointError, conversion
from roberta_core.checkpoints.formats import FORMATS
from roberta_core.config import RobertaConfig
from roberta_core.parameters import ARCHITECTURES, parameters

SIZES = {
    "vocab_size": 101,
    "hidden_size": 12,
    "num_attention_heads": 3,
    "intermediate_size": 20,
    "num_hidden_layers": 2,
    "max_position_embeddings": 19,
    "type_vocab_size": 1,
    "layer_norm_eps": 1e-5,
}
NAMES = [format.name for format in FORMATS]


def save(folder, architecture="ForMaskedLM", format="safetensors", **changes):
    config = RobertaConfig(**{**SIZES, **changes})
    generator = np.random.default_rng(0)
    tensors = {
        name: generator.standard_normal(parameter.shape, np.float32)
        for name, parameter in parameters(config, architecture).items()
    }
    checkpoints.save(folder, config, architecture, tensors, format=format)
    return config, tensors


def assert_same(found, expected):
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype, name
        assert found[name].tobytes() == array.tobytes(), name


@pytest.mark.parametrize("to", NAMES)
@pytest.mark.parametrize("start", NAMES)
def test_every_format_is_converted_to_every_other_and_back(tmp_path, start, to):
    config, tensors = save(tmp_path / "start", format=start)
    summary = conversion.convert(tmp_path / "start", tmp_path / "to", to)
    assert (summary.source.format, summary.format, summary.tensors) == (start, to, len(tensors))
    assert conversion.compare_result(summary) == []
    conversion.convert(tmp_path / "to", tmp_path / "back", "safetensors")
    assert_same(checkpoints.load(tmp_path / "back", config, "ForMaskedLM")[0], tensors)


VARIANTS = {
    **{architecture: (architecture, {}) for architecture in ARCHITECTURES},
    "ForCausalLM, decoder": ("ForCausalLM", {"is_decoder": True}),
    "ForCausalLM, cross": ("ForCausalLM", {"is_decoder": True, "add_cross_attention": True}),
    "ForMaskedLM, untied": ("ForMaskedLM", {"tie_word_embeddings": False}),
    "ForTokenClassification, 5 labels": ("ForTokenClassification", {"num_labels": 5}),
}
# Models that a format cannot express and refuses.
IMPOSSIBLE = [
    *[(f"ForCausalLM, {kind}", "fairseq") for kind in ("decoder", "cross")],
    *[("ForMaskedLM, untied", format) for format in ("h5", "tf-safetensors")],
]


@pytest.mark.parametrize("to", NAMES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_class_is_converted_to_every_format_bit_for_bit(tmp_path, variant, to):
    architecture, changes = VARIANTS[variant]
    _, tensors = save(tmp_path / "start", architecture, **changes)
    if (variant, to) in IMPOSSIBLE:
        with pytest.raises(CheckpointError, match="choose another format"):
            conversion.convert(tmp_path / "start", tmp_path / "to", to)
        assert not (tmp_path / "to").exists()
        return
    conversion.convert(tmp_path / "start", tmp_path / "to", to)
    conversion.convert(tmp_path / "to", tmp_path / "back", "safetensors")
    written, file = (tmp_path / name / "model.safetensors" for name in ("start", "back"))
    assert file.read_bytes() == written.read_bytes()
    assert_same(conversion.open_checkpoint(tmp_path / "back").tensors, tensors)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_class_is_inferred_without_its_name(tmp_path, architecture):
    _, tensors = save(tmp_path, architecture)
    config = (tmp_path / "config.json").read_text().replace(f"Roberta{architecture}", "Unknown")
    if architecture == "ForCausalLM":
        config = config.replace("{", '{"is_decoder": true,', 1)
    (tmp_path / "config.json").write_text(config)
    opened = conversion.open_checkpoint(tmp_path)
    assert opened.architecture == architecture
    assert_same(opened.tensors, tensors)


def test_a_head_class_is_converted_to_the_base_class_and_back(tmp_path):
    config, tensors = save(tmp_path / "head")
    conversion.convert(tmp_path / "head", tmp_path / "base", "bin", architecture="Model")
    found, _ = checkpoints.load(tmp_path / "base", config, "Model", pooler=False)
    assert {f"roberta.{name}" for name in found} == {name for name in tensors if name.startswith("roberta.")}
    summary = conversion.convert(
        tmp_path / "base", tmp_path / "again", "h5", architecture="ForTokenClassification", seed=7
    )
    assert "classifier was newly initialised" in summary.source.report.sentences()[0]
    again, _ = checkpoints.load(tmp_path / "again", config, "ForTokenClassification")
    assert again["classifier.weight"].std() > 0
    assert all(again[f"roberta.{name}"].tobytes() == array.tobytes() for name, array in found.items())


@pytest.mark.parametrize("dtype", conversion.DTYPES)
def test_numbers_are_rounded_to_the_dtype(tmp_path, dtype):
    config, tensors = save(tmp_path / "start")
    summary = conversion.convert(tmp_path / "start", tmp_path / "to", "safetensors", dtype=dtype)
    assert conversion.compare_result(summary) == []
    want = {name: array.astype(conversion.DTYPES[dtype]) for name, array in tensors.items()}
    assert_same(checkpoints.load(tmp_path / "to", config, "ForMaskedLM")[0], want)
    assert RobertaConfig.from_pretrained(tmp_path / "to").dtype == dtype
    assert summary.bytes == sum(array.nbytes for array in want.values())


def test_non_finite_values_are_reported_or_refused(tmp_path):
    config, tensors = save(tmp_path / "start")
    tensors["lm_head.bias"][3] = 1e5
    tensors["lm_head.dense.bias"][2] = np.nan
    checkpoints.save(tmp_path / "start", config, "ForMaskedLM", tensors)
    assert conversion.convert(tmp_path / "start", tmp_path / "a", "bin").not_finite == ("lm_head.dense.bias",)
    both = ("lm_head.bias", "lm_head.dense.bias")
    assert conversion.convert(tmp_path / "start", tmp_path / "b", "bin", dtype="float16").not_finite == both
    with pytest.raises(CheckpointError, match=r"not finite in float16: lm_head\.bias, lm_head\.dense\.bias"):
        conversion.convert(tmp_path / "start", tmp_path / "c", "bin", dtype="float16", strict=True)
    assert not (tmp_path / "c").exists()


def test_a_tokenizer_is_copied_and_other_files_are_not(tmp_path):
    save(tmp_path / "start")
    for name in ("vocab.json", "merges.txt", "notes.txt"):
        (tmp_path / "start" / name).write_text(name)
    summary = conversion.convert(tmp_path / "start", tmp_path / "to", "bin")
    assert summary.carried == ("vocab.json", "merges.txt")
    assert (tmp_path / "to" / "merges.txt").read_text() == "merges.txt"
    assert not (tmp_path / "to" / "notes.txt").exists()


def test_a_folder_can_have_two_formats(tmp_path):
    config, tensors = save(tmp_path)
    summary = conversion.convert(tmp_path, tmp_path, "bin")
    assert conversion.compare_result(summary) == []
    assert sorted(os.listdir(tmp_path)) == ["config.json", "model.safetensors", "pytorch_model.bin"]
    assert_same(checkpoints.load(tmp_path, config, "ForMaskedLM")[0], tensors)
    with pytest.raises(CheckpointError, match="which is read instead of"):
        conversion.convert(tmp_path, tmp_path, "h5", dtype="float16")


def test_a_checkpoint_can_be_converted_onto_itself(tmp_path):
    config, tensors = save(tmp_path)
    conversion.convert(tmp_path, tmp_path, "safetensors", dtype="bfloat16", max_shard_size="2KB")
    want = {name: array.astype(ml_dtypes.bfloat16) for name, array in tensors.items()}
    assert_same(checkpoints.load(tmp_path, config, "ForMaskedLM")[0], want)
    assert not (tmp_path / "model.safetensors").exists()


def test_a_difference_is_found(tmp_path):
    config, tensors = save(tmp_path / "start")
    summary = conversion.convert(tmp_path / "start", tmp_path / "to", "bin")
    tensors["lm_head.dense.weight"] = tensors["lm_head.dense.weight"].T
    checkpoints.save(tmp_path / "to", config, "ForMaskedLM", tensors, format="bin")
    assert conversion.compare_result(summary) == ["lm_head.dense.weight"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"to": "docx"}, "is not a format"),
        ({"dtype": "int8"}, "is not a dtype to convert to"),
        ({"architecture": "ForNothing"}, "is not a RoBERTa class"),
        ({"max_shard_size": "much"}, "max_shard_size is"),
    ],
)
def test_wrong_names_and_sizes_are_refused_before_anything_is_written(tmp_path, wrong, message):
    save(tmp_path / "start")
    with pytest.raises(ValueError, match=message):
        conversion.convert(tmp_path / "start", tmp_path / "to", **{"to": "bin", **wrong})
    assert not (tmp_path / "to").exists()


def test_a_source_with_different_shapes_is_refused(tmp_path):
    save(tmp_path / "start")
    config = (tmp_path / "start" / "config.json").read_text().replace('"vocab_size": 101', '"vocab_size": 100')
    (tmp_path / "start" / "config.json").write_text(config)
    with pytest.raises(CheckpointError, match=r"is \[101, 12\], expected \[100, 12\]"):
        conversion.convert(tmp_path / "start", tmp_path / "to", "bin")
