import json
from pathlib import Path

import pytest

from roberta_core.config import RobertaConfig

PUBLISHED = {
    "vocab_size": 50265, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
    "intermediate_size": 3072, "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1,
    "max_position_embeddings": 512, "type_vocab_size": 2, "initializer_range": 0.02, "layer_norm_eps": 1e-12,
    "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "position_embedding_type": "absolute", "use_cache": True,
    "classifier_dropout": None,
}  # fmt: skip


def test_the_defaults_are_the_published_ones_and_are_all_that_is_written():
    assert json.loads(RobertaConfig().to_json_string()) == {**PUBLISHED, "model_type": "roberta"}


def test_base_and_large_are_the_released_shapes():
    base, large = RobertaConfig.base(), RobertaConfig.large()
    assert (base.hidden_size, base.num_hidden_layers, base.max_position_embeddings) == (768, 12, 514)
    assert (large.hidden_size, large.num_hidden_layers, large.num_attention_heads) == (1024, 24, 16)
    assert (base.type_vocab_size, base.layer_norm_eps, base.max_sequence_length) == (1, 1e-5, 512)


def test_the_longest_sequence_depends_on_the_pad():
    assert RobertaConfig.base(pad_token_id=3).max_sequence_length == 510


def test_a_saved_configuration_reads_back_equal(tmp_path: Path):
    config = RobertaConfig(vocab_size=101, is_decoder=True, problem_type="regression", num_labels=1, foo="bar")
    config.save_pretrained(tmp_path)
    again = RobertaConfig.from_pretrained(tmp_path)
    assert again == config
    assert again.foo == "bar"
    assert again != RobertaConfig(vocab_size=102, is_decoder=True)


def test_inherited_fields_are_written_only_where_they_differ():
    written = json.loads(RobertaConfig(is_decoder=True, num_labels=2).to_json_string())
    assert written["is_decoder"] is True
    assert not {"id2label", "label2id", "tie_word_embeddings", "architectures"} & set(written)


def test_label_names_are_strings_in_json_and_numbers_in_memory():
    config = RobertaConfig(id2label={"0": "no", "1": "yes", "2": "maybe"})
    assert (config.num_labels, config.id2label[2], config.label2id["yes"]) == (3, "maybe", 1)
    assert json.loads(config.to_json_string())["id2label"] == {"0": "no", "1": "yes", "2": "maybe"}


def test_label2id_alone_names_the_labels():
    assert RobertaConfig(label2id={"yes": 1, "no": 0}).id2label == {0: "no", 1: "yes"}


def test_setting_num_labels_renames_them():
    config = RobertaConfig(id2label={0: "a", 1: "b"})
    config.num_labels = 3
    assert config.id2label == {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}
    assert config.label2id["LABEL_2"] == 2


def test_id2label_wins_over_num_labels_with_a_warning():
    with pytest.warns(UserWarning, match="num_labels 5"):
        assert RobertaConfig(num_labels=5, id2label={0: "a", 1: "b"}).num_labels == 2


def test_num_labels_given_to_a_load_replaces_the_names_in_the_file():
    assert RobertaConfig.from_dict({"id2label": {"0": "a", "1": "b"}}, num_labels=4).num_labels == 4


def test_unused_arguments_come_back_or_are_refused():
    config, unused = RobertaConfig.from_dict({}, return_unused_kwargs=True, hidden_size=24, use_cach=False)
    assert (config.hidden_size, unused) == (24, {"use_cach": False})
    with pytest.raises(TypeError, match="use_cach"):
        RobertaConfig.from_dict({}, use_cach=False)


def test_torch_dtype_is_the_older_name_of_dtype():
    assert RobertaConfig(torch_dtype="torch.float16").dtype == "float16"
    assert RobertaConfig(dtype="bfloat16").torch_dtype == "bfloat16"


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"hidden_size": 770}, "hidden_size 770 does not split into 12 heads"),
        ({"vocab_size": 0}, "vocab_size is 0"),
        ({"num_hidden_layers": -1}, "num_hidden_layers is -1"),
        ({"intermediate_size": 2.5}, "intermediate_size is 2.5"),
        ({"hidden_dropout_prob": 1.0}, "hidden_dropout_prob is 1.0"),
        ({"classifier_dropout": -0.1}, "classifier_dropout is -0.1"),
        ({"layer_norm_eps": -1e-5}, "layer_norm_eps is -1e-05"),
        ({"pad_token_id": 50265}, "pad_token_id is 50265"),
        ({"pad_token_id": None}, "pad_token_id is None"),
        ({"max_position_embeddings": 2}, "max_position_embeddings 2 leaves no position"),
        ({"hidden_act": "gelu2"}, "hidden_act is 'gelu2'"),
        ({"problem_type": "ranking"}, "problem_type is 'ranking'"),
        ({"position_embedding_type": "rotary"}, "position_embedding_type is 'rotary'"),
        ({"model_type": "bert"}, "model_type is 'bert'"),
        ({"add_cross_attention": True}, "add_cross_attention needs is_decoder"),
        ({"num_labels": 0}, "num_labels is 0"),
        ({"id2label": {1: "a", 2: "b"}}, r"id2label has the ids \[1, 2\]"),
    ],
)
def test_a_wrong_value_is_refused_with_the_numbers(fields: dict, sentence: str):
    with pytest.raises(ValueError, match=sentence):
        RobertaConfig(**fields)


def test_a_broken_file_is_named(tmp_path: Path):
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config\.json is not JSON"):
        RobertaConfig.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("[1]")
    with pytest.raises(ValueError, match="holds a JSON list"):
        RobertaConfig.from_pretrained(tmp_path)
    (tmp_path / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no config\.json"):
        RobertaConfig.from_pretrained(tmp_path)


def test_configurations_written_by_transformers_read_and_write_the_same_fields(shared: Path):
    files = sorted((shared / "fixtures/hf/checkpoints").glob("*/pt-safetensors/config.json"))
    assert len(files) == 9
    for file in files:
        fields = json.loads(file.read_text())
        assert json.loads(RobertaConfig.from_json_file(file).to_json_string()) == fields
