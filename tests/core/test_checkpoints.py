"""Loading and saving whole checkpoints that are built here."""

import json
import os
import re

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from roberta_core import checkpoints
from roberta_core.checkpoints import CheckpointError, safetensors_file
from roberta_core.checkpoints.formats import FORMATS
from roberta_core.config import RobertaConfig
from roberta_core.parameters import ARCHITECTURES, Kind, draw, parameters, spell

SIZES = {
    "vocab_size": 101,
    "hidden_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 20,
    "max_position_embeddings": 19,
    "type_vocab_size": 7,
    "layer_norm_eps": 1e-5,
}
WORDS = "roberta.embeddings.word_embeddings.weight"
CROSS = {"is_decoder": True, "add_cross_attention": True}


def make(**changes):
    return RobertaConfig(**{**SIZES, **changes})


def weights(config, architecture, **options):
    """Return different values for every tensor, including biases."""
    generator = np.random.default_rng(len(architecture))
    return {
        name: generator.standard_normal(parameter.shape, np.float32)
        for name, parameter in parameters(config, architecture, **options).items()
    }


def put(folder, tensors, **metadata):
    """Write a file as another library would."""
    os.makedirs(folder, exist_ok=True)
    tensors = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    save_file(tensors, folder / "model.safetensors", metadata or None)
    return folder


def assert_same(found, expected):
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype, name
        assert found[name].tobytes() == array.tobytes(), name


@pytest.mark.parametrize("changes", [{}, {"tie_word_embeddings": False}, CROSS, {"pruned_heads": {1: [0, 2]}}])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_saved_checkpoint_loads(tmp_path, architecture, changes):
    config = make(**changes)
    tensors = weights(config, architecture)
    checkpoints.save(tmp_path, config, architecture, tensors)
    again = RobertaConfig.from_pretrained(tmp_path)
    found, report = checkpoints.load(tmp_path, again, architecture)
    assert_same(found, tensors)
    assert report.sentences() == ()
    assert again.architectures == [f"Roberta{architecture}"]
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == "float32"


@pytest.mark.parametrize(
    ("kind", "prefix"), [("roberta", "Roberta"), ("camembert", "Camembert"), ("xlm-roberta", "XLMRoberta")]
)
def test_a_relative_is_saved_with_its_own_class_names(tmp_path, kind, prefix):
    config = make(model_type=kind, architectures=["RobertaForMaskedLM"])
    checkpoints.save(tmp_path, config, "ForMaskedLM", weights(config, "ForMaskedLM"))
    fields = json.loads((tmp_path / "config.json").read_text())
    assert (fields["model_type"], fields["architectures"]) == (kind, [f"{prefix}ForMaskedLM"])


def test_a_refusal_with_many_reasons_is_short(tmp_path):
    config = make(**CROSS)
    checkpoints.save(tmp_path, config, "ForCausalLM", weights(config, "ForCausalLM"))
    other = make(**CROSS, num_hidden_layers=11, intermediate_size=21, type_vocab_size=2)
    with pytest.raises(
        CheckpointError, match=r"tensors are missing: .* more; parts of .* more; shapes differ"
    ) as caught:
        checkpoints.load(tmp_path, other, "ForCausalLM")
    assert len(str(caught.value)) < 1100 + len(str(tmp_path))


@pytest.mark.parametrize("format", [format.name for format in FORMATS])
@pytest.mark.parametrize("changes", [{}, {"tie_word_embeddings": False}, CROSS])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_format_restores_the_same_bits(tmp_path, architecture, changes, format):
    config = make(**changes)
    tensors = weights(config, architecture)
    untied = "tie_word_embeddings" in changes and "LM" in architecture
    refused = {"tf-safetensors": untied, "h5": untied, "fairseq": changes is CROSS}
    if refused.get(format):
        with pytest.raises(CheckpointError, match="choose another format"):
            checkpoints.save(tmp_path, config, architecture, tensors, format=format)
        assert not os.path.exists(tmp_path / "config.json")
        return
    for size in ("5GB", "2KB"):
        checkpoints.save(tmp_path, config, architecture, tensors, format=format, max_shard_size=size)
        found, report = checkpoints.load(tmp_path, RobertaConfig.from_pretrained(tmp_path), architecture)
        assert_same(found, tensors)
        assert report.sentences() == ()
        assert any("00002" in file for file in os.listdir(tmp_path)) == (size == "2KB" and format != "fairseq")


def test_a_format_that_would_not_be_read_is_not_saved_next_to_another(tmp_path):
    tensors = weights(make(), "Model")
    checkpoints.save(tmp_path, make(), "Model", tensors)
    with pytest.raises(CheckpointError, match=r"has model\.safetensors, which is read instead of pytorch_model\.bin"):
        checkpoints.save(tmp_path, make(), "Model", tensors, format="bin")
    assert sorted(os.listdir(tmp_path)) == ["config.json", "model.safetensors"]
    with pytest.raises(ValueError, match="'bim' is not a format; the formats are safetensors"):
        checkpoints.save(tmp_path, make(), "Model", tensors, format="bim")


def test_the_best_format_in_a_folder_is_read(tmp_path):
    old, new = weights(make(), "Model"), weights(make(), "ForMultipleChoice")
    new = {name.removeprefix("roberta."): array for name, array in new.items() if "classifier" not in name}
    checkpoints.save(tmp_path, make(), "Model", old, format="bin")
    checkpoints.save(tmp_path, make(), "Model", new)
    assert_same(checkpoints.load(tmp_path, make(), "Model")[0], new)


@pytest.mark.parametrize("dialect", ["pt", "tf", "flax"])
@pytest.mark.parametrize("metadata", [{}, {"format": "pt"}, {"format": "tf"}, {"format": "flax"}, {"format": "mlx"}])
@pytest.mark.parametrize("architecture", ["Model", "ForMaskedLM", "ForSequenceClassification"])
def test_a_dialect_is_detected_with_any_metadata(tmp_path, architecture, metadata, dialect):
    config = make()
    tensors = weights(config, architecture)
    table = parameters(config, architecture)
    turned = {
        name: array.T if dialect != "pt" and table[name].kind is Kind.LINEAR and array.ndim == 2 else array
        for name, array in tensors.items()
    }
    base = "roberta/" if dialect == "tf" and architecture == "Model" else ""
    respell = {base + spell(table[name], dialect): array for name, array in turned.items()}
    found, report = checkpoints.load(put(tmp_path, respell, **metadata), config, architecture)
    assert_same(found, tensors)
    assert report.renamed == ()


def test_a_transposed_matrix_is_a_view_of_the_file(tmp_path):
    config = make()
    name = "roberta.encoder.layer.0.intermediate.dense.weight"
    table = parameters(config, "ForMaskedLM")
    tensors = weights(config, "ForMaskedLM")
    respell = {
        spell(table[key], "flax"): array.T if table[key].kind is Kind.LINEAR else array
        for key, array in tensors.items()
    }
    found, _ = checkpoints.load(put(tmp_path, respell, format="flax"), config, "ForMaskedLM")
    assert found[name].shape == (20, 12)
    assert found[name].T.flags.c_contiguous
    assert not found[name].flags.owndata


def test_tensors_of_a_file_without_alignment_are_aligned(tmp_path):
    config = make()
    tensors = weights(config, "Model")
    checkpoints.save(tmp_path, config, "Model", tensors)
    content = (tmp_path / "model.safetensors").read_bytes()
    length = int.from_bytes(content[:8], "little")
    moved = (length + 1).to_bytes(8, "little") + content[8 : 8 + length] + b" " + content[8 + length :]
    (tmp_path / "model.safetensors").write_bytes(moved)
    found, _ = checkpoints.load(tmp_path, config, "Model")
    assert_same(found, tensors)
    assert all(array.flags.aligned for array in found.values())


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64])
def test_the_dtype_is_kept_and_written_into_the_configuration(tmp_path, dtype):
    config = make()
    tensors = {name: array.astype(dtype) for name, array in weights(config, "Model").items()}
    checkpoints.save(tmp_path, config, "Model", tensors)
    assert_same(checkpoints.load(tmp_path, config, "Model")[0], tensors)
    assert RobertaConfig.from_pretrained(tmp_path).dtype == np.dtype(dtype).name


def test_saving_does_not_write_into_the_configuration(tmp_path):
    config = make(architectures=["Mine"])
    checkpoints.save(tmp_path, config, "Model", weights(config, "Model"))
    assert config.architectures == ["Mine"]
    assert config.dtype is None


def test_aliases_are_omitted_if_tied_and_saved_otherwise(tmp_path):
    tied = weights(make(), "ForMaskedLM")
    full = {**tied, "lm_head.decoder.weight": tied[WORDS], "lm_head.decoder.bias": tied["lm_head.bias"]}
    checkpoints.save(tmp_path / "tied", make(), "ForMaskedLM", full)
    assert set(load_file(tmp_path / "tied" / "model.safetensors")) == set(tied)
    config = make(tie_word_embeddings=False)
    untied = weights(config, "ForMaskedLM")
    checkpoints.save(tmp_path / "untied", config, "ForMaskedLM", untied)
    stored = load_file(tmp_path / "untied" / "model.safetensors")
    assert set(stored) == {*untied, "lm_head.decoder.bias"}
    assert np.array_equal(stored["lm_head.decoder.bias"], untied["lm_head.bias"])
    assert not np.array_equal(stored["lm_head.decoder.weight"], untied[WORDS])


def test_a_model_saves_with_or_without_its_pooler(tmp_path):
    for pooler in (True, False):
        tensors = weights(make(), "Model", pooler=pooler)
        checkpoints.save(tmp_path, make(), "Model", tensors)
        found, report = checkpoints.load(tmp_path, make(), "Model", pooler=pooler)
        assert_same(found, tensors)
        assert report.sentences() == ()


def test_tensors_of_another_model_are_refused_with_all_faults(tmp_path):
    tensors = weights(make(), "ForMaskedLM")
    tensors["lm_head.dense.weight"] = np.zeros((12, 13), np.float32)
    tensors["extra"] = tensors.pop("lm_head.bias")
    with pytest.raises(
        CheckpointError, match=r"missing: lm_head\.bias; unknown: extra; wrong shapes: lm_head\.dense"
    ) as caught:
        checkpoints.save(tmp_path / "new", make(), "ForMaskedLM", tensors)
    assert "[12, 13] instead of [12, 12]" in str(caught.value)
    assert not (tmp_path / "new").exists()


def test_a_folder_of_an_interrupted_save_is_not_read(tmp_path):
    checkpoints.save(tmp_path, make(), "Model", weights(make(), "Model"))
    (tmp_path / "unfinished-save.json").write_text('{"renames": {}, "removals": []}')
    with pytest.raises(CheckpointError, match="between two checkpoints"):
        checkpoints.load(tmp_path, make(), "Model")
    assert checkpoints.finish(tmp_path)
    checkpoints.load(tmp_path, make(), "Model")


def test_a_wrong_shard_size_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match="max_shard_size"):
        checkpoints.save(tmp_path / "new", make(), "Model", weights(make(), "Model"), max_shard_size="much")
    assert not (tmp_path / "new").exists()


def test_metadata_are_written(tmp_path):
    checkpoints.save(tmp_path, make(), "Model", weights(make(), "Model"), metadata={"format": "pt", "step": "7"})
    assert safetensors_file.metadata(tmp_path) == {"format": "pt", "step": "7"}


def test_missing_tensors_of_a_head_can_be_drawn(tmp_path):
    config = make(num_labels=5)
    put(tmp_path, weights(config, "ForMaskedLM"))
    found, report = checkpoints.load(tmp_path, config, "ForTokenClassification")
    assert report.new == ("classifier.weight", "classifier.bias")
    whole = {**found, **dict(draw(config, "ForTokenClassification", only=report.new))}
    assert whole.keys() == parameters(config, "ForTokenClassification").keys()


NEW_PARTS = {
    ("ForMaskedLM", "Model"): "pooler was newly initialised .*: train the model before using pooler_output",
    ("ForMaskedLM", "ForMultipleChoice"): "pooler was newly initialised .*: train the model before using logits",
    ("Model", "ForMaskedLM"): "lm_head was newly initialised .*: train the model before using logits",
    ("Model", "ForQuestionAnswering"): "qa_outputs was newly initialised .* before using start_logits and end_logits",
}


@pytest.mark.parametrize(("stored", "wanted"), NEW_PARTS)
def test_a_newly_initialised_part_is_reported_in_one_sentence_with_its_outputs(tmp_path, stored, wanted):
    put(tmp_path, weights(make(), stored))
    _, report = checkpoints.load(tmp_path, make(), wanted)
    sentences = [text for text in report.sentences() if NEW_PARTS[stored, wanted].split()[0] in text]
    assert len(sentences) == 1
    assert re.search(NEW_PARTS[stored, wanted], sentences[0])


def test_an_encoder_becomes_a_decoder_with_new_cross_attention(tmp_path):
    put(tmp_path, weights(make(), "ForMaskedLM"))
    _, report = checkpoints.load(tmp_path, make(**CROSS), "ForCausalLM")
    assert len(report.missing) == 2 * 10
    (sentence,) = report.sentences()
    assert "crossattention was newly initialised" in sentence
    assert "all outputs" in sentence


def test_half_a_cross_attention_is_an_error(tmp_path):
    tensors = weights(make(**CROSS), "ForCausalLM")
    del tensors["roberta.encoder.layer.1.crossattention.self.key.bias"]
    with pytest.raises(
        CheckpointError, match=r"parts of the cross-attention are missing: .*1\.crossattention\.self\.key\.bias"
    ):
        checkpoints.load(put(tmp_path, tensors), make(**CROSS), "ForCausalLM")


@pytest.mark.parametrize(
    "name",
    ["embeddings.LayerNorm.bias", "encoder.layer.1.attention.self.key.bias", "encoder.layer.0.output.dense.weight"],
)
def test_missing_tensors_of_the_body_are_an_error(tmp_path, name):
    tensors = weights(make(), "Model")
    del tensors[name]
    with pytest.raises(CheckpointError, match=f"1 of the encoder's 37 tensors are missing: {name}"):
        checkpoints.load(put(tmp_path, tensors), make(), "Model")


def test_a_file_of_another_model_is_an_error_with_its_keys(tmp_path):
    put(tmp_path, {f"model.layers.{i}.weight": np.zeros((3, 2), np.float32) for i in range(5)})
    with pytest.raises(CheckpointError, match=r"none of the encoder's 37 tensors .* like model\.layers\.0\.weight"):
        checkpoints.load(tmp_path, make(), "ForMaskedLM")


def test_all_reasons_are_reported_at_once(tmp_path):
    tensors = weights(make(), "ForMaskedLM")
    del tensors["roberta.embeddings.LayerNorm.bias"]
    tensors[WORDS] = np.zeros((100, 12), np.float32)
    tensors["lm_head.bias"] = np.zeros(101, np.int8)
    with pytest.raises(CheckpointError) as caught:
        checkpoints.load(put(tmp_path, tensors), make(), "ForMaskedLM")
    quantised = "lm_head.bias has dtype int8: quantised weights are not supported"
    for text in ("LayerNorm.bias", f"{WORDS} is [100, 12], expected [101, 12]", quantised):
        assert text in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_different_size_is_an_error_unless_ignored(tmp_path):
    put(tmp_path, weights(make(num_labels=3), "ForSequenceClassification"))
    config = make(num_labels=4)
    with pytest.raises(CheckpointError, match=r"classifier\.out_proj\.weight is \[3, 12\], expected \[4, 12\]"):
        checkpoints.load(tmp_path, config, "ForSequenceClassification")
    found, report = checkpoints.load(tmp_path, config, "ForSequenceClassification", ignore_mismatched_sizes=True)
    assert report.new == ("classifier.out_proj.weight", "classifier.out_proj.bias")
    assert report.as_dict()["mismatched_keys"][0] == ("classifier.out_proj.weight", (3, 12), (4, 12))
    assert found.keys() == parameters(config, "ForSequenceClassification").keys() - set(report.new)
    (sentence,) = report.sentences()
    assert "[3, 12] in the file, not [4, 12]" in sentence


def test_different_shapes_of_a_pruned_file_are_reported_as_pruning(tmp_path):
    put(tmp_path, weights(make(), "Model"))
    with pytest.raises(CheckpointError, match="pruned_heads"):
        checkpoints.load(tmp_path, make(pruned_heads={0: [1]}), "Model")


@pytest.mark.parametrize("dialect", ["config", "keys"])
def test_relative_positions_are_refused(tmp_path, dialect):
    tensors = weights(make(), "Model")
    if dialect == "keys":
        tensors["encoder.layer.0.attention.self.distance_embedding.weight"] = np.zeros((37, 4), np.float32)
    config = make(position_embedding_type="relative_key") if dialect == "config" else make()
    with pytest.raises(CheckpointError, match="positions"):
        checkpoints.load(put(tmp_path, tensors), config, "Model")


def test_layers_that_the_configuration_lacks_are_reported(tmp_path):
    put(tmp_path, weights(make(num_hidden_layers=3), "Model"))
    found, report = checkpoints.load(tmp_path, make(), "Model")
    assert found.keys() == parameters(make(), "Model").keys()
    assert len(report.unexpected) == 16
    (sentence,) = report.sentences()
    assert "does not have: encoder.layer.2." in sentence
    assert "and 10 more" in sentence


def test_an_unused_head_is_reported_and_harmless_parts_are_not(tmp_path):
    tensors = {**weights(make(), "ForMaskedLM"), **weights(make(), "ForSequenceClassification")}
    tensors["roberta.embeddings.token_type_ids"] = np.zeros((1, 19), np.int64)
    _, report = checkpoints.load(put(tmp_path, tensors), make(), "ForQuestionAnswering")
    assert set(report.unused) == {name for name in tensors if name.startswith("lm_head.")}
    assert set(report.unexpected) == {name for name in tensors if name.startswith("classifier.")}
    assert report.buffers == ("roberta.embeddings.token_type_ids",)
    assert "roberta.embeddings.token_type_ids" not in report.as_dict()["unexpected_keys"]


def test_the_same_tensor_twice_is_a_duplicate(tmp_path):
    tensors = weights(make(), "ForMaskedLM")
    twice = {**tensors, "lm_head.decoder.weight": tensors[WORDS], "lm_head.decoder.bias": tensors["lm_head.bias"],
             "embeddings.LayerNorm.bias": tensors["roberta.embeddings.LayerNorm.bias"]}  # fmt: skip
    found, report = checkpoints.load(put(tmp_path, twice), make(), "ForMaskedLM")
    assert_same(found, tensors)
    assert len(report.duplicate) == 3
    assert report.conflicting == ()
    assert report.sentences() == ()


@pytest.mark.parametrize("second", ["embeddings.LayerNorm.bias", "roberta.embeddings.LayerNorm.beta"])
def test_two_different_tensors_for_one_parameter_are_an_error(tmp_path, second):
    tensors = weights(make(), "ForMaskedLM")
    tensors[second] = tensors["roberta.embeddings.LayerNorm.bias"] + 1
    with pytest.raises(CheckpointError, match=r"differ and are both roberta\.embeddings\.LayerNorm\.bias"):
        checkpoints.load(put(tmp_path, tensors), make(), "ForMaskedLM")


@pytest.mark.parametrize("architecture", ["ForMaskedLM", "Model"])
def test_a_decoder_weight_without_word_embeddings_is_used_for_both(tmp_path, architecture):
    tensors = weights(make(), "ForMaskedLM")
    alone = dict(tensors)
    alone["lm_head.decoder.weight"] = alone.pop(WORDS)  # the one that save_model of safetensors keeps
    found, report = checkpoints.load(put(tmp_path, alone), make(), architecture, pooler=False)
    name = next(iter(found))
    assert found[name].tobytes() == tensors[WORDS].tobytes()
    assert report.renamed == (("lm_head.decoder.weight", name),)


def test_an_untied_model_without_a_decoder_weight_is_reported(tmp_path):
    put(tmp_path, weights(make(), "ForMaskedLM"))
    _, report = checkpoints.load(tmp_path, make(tie_word_embeddings=False), "ForMaskedLM")
    assert report.missing == ("lm_head.decoder.weight",)
    assert "lm_head was newly initialised" in report.sentences()[0]


def test_older_leaf_names_are_renamed_only_in_known_norms(tmp_path):
    tensors = weights(make(), "Model")
    tensors["pooler.dense.gamma"] = tensors.pop("pooler.dense.weight")
    _, report = checkpoints.load(put(tmp_path, tensors), make(), "Model")
    assert report.missing == ("pooler.dense.weight",)
    assert report.unexpected == ("pooler.dense.gamma",)


def test_an_unknown_class_is_a_value_error(tmp_path):
    with pytest.raises(ValueError, match="not a RoBERTa class"):
        checkpoints.load(tmp_path, make(), "ForNothing")


def test_the_error_of_a_folder_without_weights_names_the_expected_files(tmp_path):
    with pytest.raises(CheckpointError, match=r"looked for model\.safetensors"):
        checkpoints.load(tmp_path, make(), "Model")
    with pytest.raises(CheckpointError, match="is not a folder"):
        checkpoints.load(tmp_path / "nothing", make(), "Model")
