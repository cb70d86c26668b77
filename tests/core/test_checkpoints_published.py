"""Checkpoints written by transformers are read bit for bit.

The checkpoints are in `../shared/fixtures/hf` (or below ROBERTA_SHARED); without them these tests are skipped.
"""

import os
import zlib
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from roberta_core import checkpoints
from roberta_core.config import RobertaConfig
from roberta_core.parameters import ARCHITECTURES, parameters

SHARED = Path(os.environ.get("ROBERTA_SHARED") or Path(__file__).parents[3] / "shared")
HF = SHARED / "fixtures" / "hf"
pytestmark = pytest.mark.skipif(not HF.is_dir(), reason=f"needs the published fixtures in {HF}")

VARIANTS = [
    "Model",
    "ForCausalLM",
    "ForCausalLM_cross",
    "ForMaskedLM",
    "ForMaskedLM_untied",
    "ForSequenceClassification",
    "ForMultipleChoice",
    "ForTokenClassification",
    "ForQuestionAnswering",
]
FORMATS = ["pt-safetensors", "v5-safetensors", "tf-safetensors", "flax-safetensors", "pt-bin", "flax-msgpack", "tf-h5"]
SHARDED = [
    "pt-safetensors-sharded",
    "v5-safetensors-sharded",
    "pt-bin-sharded",
    "flax-msgpack-sharded",
    "tf-h5-sharded",
]
CHECKPOINTS = [
    *[(variant, format) for variant in VARIANTS for format in FORMATS],
    *[("ForMaskedLM", format) for format in SHARDED],
]
for format in ("tf-safetensors", "tf-h5"):
    CHECKPOINTS.remove(("ForMaskedLM_untied", format))  # the TensorFlow class did not support untied embeddings


def draw(name, shape, salt=""):
    """Return the values that the README of the fixtures defines, from a generator seeded by the name without prefix."""
    name = name.removeprefix("roberta.")
    generator = np.random.default_rng([20240607, zlib.crc32((salt + name).encode())])
    if name.endswith(("LayerNorm.weight", "layer_norm.weight")):
        return generator.uniform(0.5, 1.5, shape).astype(np.float32)
    return generator.normal(0, 0.5, shape).astype(np.float32)


def load(folder, architecture, **options):
    config = RobertaConfig.from_pretrained(HF / folder)
    return config, *checkpoints.load(HF / folder, config, architecture, **options)


def assert_drawn(tensors, dtype=np.float32, salted=()):
    """Assert that every tensor has the values that the README defines, bit for bit."""
    for name, array in tensors.items():
        want = draw(*salted[name], "quirk:") if name in salted else draw(name, array.shape)
        assert array.dtype == dtype, name
        assert array.tobytes() == want.astype(dtype).tobytes(), name


@pytest.mark.parametrize(("variant", "format"), CHECKPOINTS)
def test_every_tensor_is_read_bit_for_bit(variant, format):
    architecture = variant.split("_")[0]
    config, tensors, report = load(f"checkpoints/{variant}/{format}", architecture)
    assert list(tensors) == list(report.loaded) == list(parameters(config, architecture))
    assert_drawn(tensors)
    assert report.sentences() == ()
    assert report.as_dict() == {"missing_keys": [], "unexpected_keys": [], "mismatched_keys": [], "error_msgs": []}


@pytest.mark.parametrize(("variant", "format"), [pair for pair in CHECKPOINTS if pair[0] != "ForCausalLM_cross"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_body_of_any_class_loads_into_any_other(architecture, variant, format):
    folder = HF / "checkpoints" / variant / format
    config = RobertaConfig.from_pretrained(folder, num_labels=2)
    tensors, report = checkpoints.load(folder, config, architecture, ignore_mismatched_sizes=True)
    assert_drawn(tensors)
    expected = parameters(config, architecture)
    assert set(expected) == {*tensors, *report.new}
    body = {name.removeprefix("roberta.") for name in tensors}
    assert set(parameters(config, "Model", pooler=False)) <= body
    assert not any(name.removeprefix("roberta.").startswith(("embeddings.", "encoder.")) for name in report.new)


def test_a_model_can_be_loaded_without_its_pooler():
    _, tensors, report = load("checkpoints/Model/pt-safetensors", "Model", pooler=False)
    assert not any("pooler" in name for name in tensors)
    assert report.unused == ("pooler.dense.bias", "pooler.dense.weight")
    assert report.sentences() == ()


QUIRKS = {
    "no_metadata/pt-safetensors": {},
    "gamma_beta/pt-safetensors": {"renamed": 10},
    "gamma_beta_lm_head/pt-safetensors": {"renamed": 12},
    "position_ids/pt-safetensors": {"buffers": 1},
    "decoder_bias_only/pt-safetensors": {"renamed": 1},
    "gamma_beta/pt-bin": {"renamed": 10},
    "gamma_beta_lm_head/pt-bin": {"renamed": 12},
    "position_ids/pt-bin": {"buffers": 1},
    "decoder_bias_only/pt-bin": {"renamed": 1},
    "legacy_pickle/pt-bin": {"duplicate": 2},
    "released_layout/pt-bin": {"unused": 2},
}
OLD = [
    (version, architecture, format)
    for version in ("2.1.1", "3.5.1")
    for architecture in ("Model", "ForMaskedLM", "ForSequenceClassification")
    for format in ("pt-bin", "tf-h5")
]


@pytest.mark.parametrize("quirk", QUIRKS)
def test_an_unusual_but_equivalent_file_is_read_without_warnings(quirk):
    config, tensors, report = load(f"quirks/{quirk}", "ForMaskedLM")
    assert list(tensors) == list(parameters(config, "ForMaskedLM"))
    assert_drawn(tensors)
    assert {kind: len(getattr(report, kind)) for kind in QUIRKS[quirk]} == QUIRKS[quirk]
    assert report.sentences() == ()


@pytest.mark.parametrize(("version", "architecture", "format"), OLD)
def test_files_of_2019_and_2020_are_read_without_warnings(version, architecture, format):
    config, tensors, report = load(f"old/{version}/{architecture}/{format}", architecture)
    assert list(tensors) == list(parameters(config, architecture))
    assert_drawn(tensors)
    assert report.sentences() == ()


@pytest.mark.parametrize("format", ["pt-safetensors", "flax-safetensors", "pt-bin", "flax-msgpack"])
@pytest.mark.parametrize(("quirk", "dtype"), [("fp16", np.float16), ("bf16", ml_dtypes.bfloat16)])
def test_half_precision_is_kept_as_stored(quirk, dtype, format):
    _, tensors, report = load(f"quirks/{quirk}/{format}", "ForMaskedLM")
    assert_drawn(tensors, dtype)
    assert report.sentences() == ()


@pytest.mark.parametrize("format", ["pt-safetensors", "pt-bin"])
def test_conflicting_biases_are_reported_and_that_of_the_decoder_is_used(format):
    _, tensors, report = load(f"quirks/bias_conflict/{format}", "ForMaskedLM")
    assert_drawn(tensors, salted={"lm_head.bias": ("conflict.bias", (101,))})
    assert report.conflicting == (("lm_head.decoder.bias", "lm_head.bias"),)
    (sentence,) = report.sentences()
    assert "lm_head.decoder.bias and lm_head.bias" in sentence


@pytest.mark.parametrize("format", ["pt-safetensors", "pt-bin"])
def test_a_decoder_weight_in_conflict_with_the_tied_embeddings_is_reported_and_not_used(format):
    _, tensors, report = load(f"quirks/tied_weight_conflict/{format}", "ForMaskedLM")
    assert_drawn(tensors)
    assert report.conflicting == (("roberta.embeddings.word_embeddings.weight", "lm_head.decoder.weight"),)
    assert len(report.sentences()) == 1


def test_conflicts_in_the_language_model_head_do_not_affect_other_classes():
    for quirk in ("bias_conflict", "tied_weight_conflict"):
        _, tensors, report = load(f"quirks/{quirk}/pt-safetensors", "Model", pooler=False)
        assert_drawn(tensors)
        assert report.conflicting == ()
        assert report.sentences() == ()


def test_the_bias_trained_by_version_5_is_used_if_the_head_is_untied():
    _, tensors, report = load("quirks/v5_untied_zero_bias/pt-safetensors", "ForMaskedLM")
    assert_drawn(tensors)
    assert report.conflicting == (("lm_head.decoder.bias", "lm_head.bias"),)


@pytest.mark.parametrize("format", ["pt-safetensors", "pt-bin"])
def test_a_base_checkpoint_loads_into_the_body_of_a_head_class(format):
    _, tensors, report = load(f"quirks/base_no_prefix/{format}", "ForSequenceClassification")
    assert_drawn(tensors)
    assert report.as_dict()["missing_keys"] == [
        f"classifier.{module}.{leaf}" for module in ("dense", "out_proj") for leaf in ("weight", "bias")
    ]
    assert sorted(report.as_dict()["unexpected_keys"]) == ["pooler.dense.bias", "pooler.dense.weight"]
    (sentence,) = report.sentences()
    assert "classifier was newly initialised" in sentence
    assert "train the model before using logits" in sentence


@pytest.mark.parametrize(("variant", "format"), CHECKPOINTS)
def test_saved_files_have_the_published_keys_and_values(tmp_path, variant, format):
    from safetensors.numpy import load_file

    architecture = variant.split("_")[0]
    config, tensors, _ = load(f"checkpoints/{variant}/{format}", architecture)
    checkpoints.save(tmp_path, config, architecture, tensors)
    written = load_file(tmp_path / "model.safetensors")
    published = load_file(HF / "checkpoints" / variant / "v5-safetensors" / "model.safetensors")
    assert list(written) == list(published)
    assert all(written[name].tobytes() == array.tobytes() for name, array in published.items())


@pytest.mark.parametrize("variant", [variant for variant in VARIANTS if variant != "ForMaskedLM_untied"])
def test_saved_files_have_the_bytes_of_transformers_4(tmp_path, variant):
    architecture = variant.split("_")[0]
    config, tensors, _ = load(f"checkpoints/{variant}/pt-safetensors", architecture)
    checkpoints.save(tmp_path, config, architecture, tensors)
    published = HF / "checkpoints" / variant / "pt-safetensors"
    assert (tmp_path / "model.safetensors").read_bytes() == (published / "model.safetensors").read_bytes()
    assert RobertaConfig.from_pretrained(tmp_path) == RobertaConfig.from_pretrained(published)
