import json
import os
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


def test_the_defaults_equal_the_published_ones_and_no_other_field_is_saved():
    assert json.loads(RobertaConfig().to_json_string()) == {**PUBLISHED, "model_type": "roberta"}


def test_base_and_large_are_the_released_shapes():
    base, large = RobertaConfig.base(), RobertaConfig.large()
    assert (base.hidden_size, base.num_hidden_layers, base.max_position_embeddings) == (768, 12, 514)
    assert (large.hidden_size, large.num_hidden_layers, large.num_attention_heads) == (1024, 24, 16)
    assert (base.type_vocab_size, base.layer_norm_eps, base.max_sequence_length) == (1, 1e-5, 512)


def test_the_longest_sequence_depends_on_the_pad():
    assert RobertaConfig.base(pad_token_id=3).max_sequence_length == 510


def test_a_saved_configuration_is_read_equal(tmp_path: Path):
    config = RobertaConfig(vocab_size=101, is_decoder=True, problem_type="regression", num_labels=1, foo="bar")
    config.save_pretrained(tmp_path)
    again = RobertaConfig.from_pretrained(tmp_path)
    assert again == config
    assert again.foo == "bar"
    assert again != RobertaConfig(vocab_size=102, is_decoder=True)


def test_inherited_fields_are_saved_only_if_they_differ():
    written = json.loads(RobertaConfig(is_decoder=True, num_labels=2).to_json_string())
    assert written["is_decoder"] is True
    assert not {"id2label", "label2id", "tie_word_embeddings", "architectures"} & set(written)


def test_label_names_are_strings_in_json_and_numbers_in_memory():
    config = RobertaConfig(id2label={"0": "no", "1": "yes", "2": "maybe"})
    assert (config.num_labels, config.id2label[2], config.label2id["yes"]) == (3, "maybe", 1)
    assert json.loads(config.to_json_string())["id2label"] == {"0": "no", "1": "yes", "2": "maybe"}


def test_label2id_without_id2label_names_the_labels():
    assert RobertaConfig(label2id={"yes": 1, "no": 0}).id2label == {0: "no", 1: "yes"}


def test_setting_num_labels_renames_them():
    config = RobertaConfig(id2label={0: "a", 1: "b"})
    config.num_labels = 3
    assert config.id2label == {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}
    assert config.label2id["LABEL_2"] == 2


def test_id2label_has_priority_over_num_labels_with_a_warning():
    with pytest.warns(UserWarning, match="num_labels 5"):
        assert RobertaConfig(num_labels=5, id2label={0: "a", 1: "b"}).num_labels == 2


def test_num_labels_given_to_a_load_replaces_the_names_in_the_file():
    assert RobertaConfig.from_dict({"id2label": {"0": "a", "1": "b"}}, num_labels=4).num_labels == 4


def test_unused_arguments_are_returned_or_refused():
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
        ({"hidden_size": 770}, "hidden_size 770 is not divisible by num_attention_heads 12"),
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
        ({"add_cross_attention": True}, "add_cross_attention requires is_decoder"),
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


def test_configurations_of_transformers_are_read_and_written_with_the_same_fields(shared: Path):
    files = sorted((shared / "fixtures/hf/checkpoints").glob("*/pt-safetensors/config.json"))
    assert len(files) == 9
    for file in files:
        fields = json.loads(file.read_text())
        assert json.loads(RobertaConfig.from_json_file(file).to_json_string()) == fields


HOSTILE = {
    "_attn_implementation_internal": "evil/kernel:code",
    "_attn_implementation": "evil/kernel",
    "attn_implementation": "evil/kernel:code",
    "_experts_implementation_internal": "evil/kernel",
    "auto_map": {"AutoModel": "evil--modeling.Model"},
    "custom_pipelines": {"x": {"impl": "evil.Pipeline"}},
    "quantization_config": {"quant_method": "evil"},
    "transformers_weights": "../other.safetensors",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_keys_that_load_code_are_dropped_reported_and_never_written(tmp_path: Path, caplog, name: str):
    fields = {name: HOSTILE[name], "custom": {"deep": [{name: HOSTILE[name], "kept": 1}]}, "other": 2}
    (tmp_path / "config.json").write_text(json.dumps(fields))
    config = RobertaConfig.from_pretrained(tmp_path)
    assert (name in vars(config), config.custom, config.other) == (False, {"deep": [{"kept": 1}]}, 2)
    assert f"Dropped {name} from the configuration" in caplog.text
    setattr(config, name, HOSTILE[name])  # as other libraries set it on a loaded configuration
    config.save_pretrained(tmp_path / "saved")
    for text in ((tmp_path / "saved" / "config.json").read_text(), config.to_json_string(use_diff=False)):
        assert name not in text
        assert "evil" not in text


def test_keys_without_a_value_are_dropped_without_a_report(caplog):
    assert "auto_map" not in vars(RobertaConfig(auto_map=None))
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"layer_norm_eps": "1e-5"}, "layer_norm_eps is '1e-5'; it must be a finite number"),
        ({"layer_norm_eps": float("nan")}, "layer_norm_eps is nan"),
        ({"initializer_range": float("inf")}, "initializer_range is inf"),
        ({"hidden_dropout_prob": "0.1"}, "hidden_dropout_prob is '0.1'; it must be a number"),
        ({"attention_probs_dropout_prob": None}, "attention_probs_dropout_prob is None"),
        ({"classifier_dropout": [0.1]}, r"classifier_dropout is \[0.1\]"),
        ({"id2label": ["a", "b"]}, r"id2label is \['a', 'b'\]; it must map ids to names"),
        ({"id2label": {"x": "a"}}, "id2label is .*; it must map ids to names"),
        ({"id2label": {"0": ["a"]}}, "id2label is .*; it must map ids to names"),
        ({"label2id": ["a", "b"]}, r"label2id is \['a', 'b'\]; it must map names to ids"),
        ({"label2id": {"a": "x"}}, "label2id is .*; it must map names to ids"),
        ({"pruned_heads": [[0], [1]]}, r"pruned_heads is \[\[0\], \[1\]\]; it must map layers to lists of heads"),
        ({"pruned_heads": {"0": "x"}}, "pruned_heads is .*; it must map layers to lists of heads"),
        (
            {"pruned_heads": {"0": [12]}},
            r"pruned_heads has the heads \[12\] for layer 0; the model has 12 layers of 12",
        ),
        ({"pruned_heads": {"12": [0]}}, "for layer 12; the model has 12 layers"),
        ({"pruned_heads": {"0": [*range(12)]}}, "each layer must keep one"),
        ({"eos_token_id": "2"}, "eos_token_id is '2'; it must be None or a token id below vocab_size 50265"),
        ({"eos_token_id": [2]}, r"eos_token_id is \[2\]"),
        ({"bos_token_id": 500, "vocab_size": 120}, "bos_token_id is 500; .* below vocab_size 120"),
        ({"sep_token_id": -1}, "sep_token_id is -1"),
        ({"decoder_start_token_id": True}, "decoder_start_token_id is True"),
        ({"is_decoder": "false"}, "is_decoder is 'false'; it must be true or false"),
        ({"tie_word_embeddings": None}, "tie_word_embeddings is None; it must be true or false"),
        ({"use_cache": 1}, "use_cache is 1; it must be true or false"),
        ({"architectures": "RobertaModel"}, "architectures is 'RobertaModel'; it must be a list of class names"),
        ({"architectures": [1]}, r"architectures is \[1\]"),
        ({"dtype": 32}, "dtype is 32; it must be a string"),
        ({"torch_dtype": {"a": "b"}}, "dtype is {'a': 'b'}; it must be a string"),
        ({"prefix": []}, r"prefix is \[\]; it must be a string"),
        ({"hidden_act": ["gelu"]}, r"hidden_act is \['gelu'\]"),
        ({"model_type": ["roberta"]}, r"model_type is \['roberta'\]"),
        ({"model_type": []}, r"model_type is \[\]; it must be one of roberta"),
        ({"task_specific_params": 3}, "task_specific_params is 3; it must be a dict"),
        ({"chunk_size_feed_forward": "1"}, "chunk_size_feed_forward is '1'"),
        ({"num_labels": 10**9}, "num_labels is 1000000000; it must be an integer from 1 to 200,000"),
        ({"vocab_size": -(10**5000)}, "vocab_size is an integer of 16,610 bits"),
        *(({name: 1}, f"'{name}' cannot be a field") for name in ("self", "validate", "head_size", "__dict__")),
        *(({name: 1}, f"'{name}' cannot be a field") for name in ("__class__", "to_dict", "_read_labels", "from_dict")),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_in_one_sentence(fields: dict, sentence: str):
    with pytest.raises(ValueError, match=sentence) as caught:
        RobertaConfig.from_dict(fields)
    assert len(str(caught.value)) < 300


def test_numbers_as_label_names_are_converted_to_strings():
    config = RobertaConfig.from_dict({"id2label": {"0": 5, "1": 7}, "label2id": {"5": "0", "7": 1}})
    assert (config.id2label, config.label2id) == ({0: "5", 1: "7"}, {"5": 0, "7": 1})


def test_repr_shows_the_sizes_and_what_differs_from_the_defaults():
    config = RobertaConfig(vocab_size=101, hidden_size=12, num_attention_heads=3, num_labels=3, is_decoder=True)
    assert repr(config) == (
        "RobertaConfig(vocab_size=101, hidden_size=12, num_hidden_layers=12, num_attention_heads=3, "
        "intermediate_size=3072, max_position_embeddings=512, type_vocab_size=2, is_decoder=True, num_labels=3)"
    )
    assert "id2label={0: 'no', 1: 'yes'}" in repr(RobertaConfig(id2label={0: "no", 1: "yes"}))
    assert "num_labels=9)" in repr(RobertaConfig(id2label={n: str(n) for n in range(9)}))
    assert eval(repr(config)) == config


def test_a_configuration_that_is_not_a_small_regular_file_is_refused(tmp_path: Path):
    path = tmp_path / "config.json"
    os.mkfifo(path)
    with pytest.raises(ValueError, match=r"config\.json is not a regular file"):
        RobertaConfig.from_pretrained(tmp_path)
    path.unlink()
    path.symlink_to("/dev/zero")
    with pytest.raises(ValueError, match=r"config\.json is not a regular file"):
        RobertaConfig.from_pretrained(tmp_path)
    path.unlink()
    path.write_bytes(b'{"a": "' + b"x" * (17 << 20) + b'"}')
    with pytest.raises(ValueError, match=r"config\.json is larger than 16,777,216 bytes"):
        RobertaConfig.from_json_file(path)
    path.write_text('{"a": ' + "[" * 1000 + "]" * 1000 + "}")
    with pytest.raises(ValueError, match=r"config\.json is (nested more than 100 levels deep|not JSON)"):
        RobertaConfig.from_pretrained(tmp_path)
    path.write_text('{"vocab_size": ' + "9" * 5000 + "}")
    with pytest.raises(ValueError, match=r"config\.json is not JSON"):
        RobertaConfig.from_pretrained(tmp_path)


def test_saving_replaces_the_file_in_one_step(tmp_path: Path, monkeypatch):
    RobertaConfig(vocab_size=101).save_pretrained(tmp_path)
    before = (tmp_path / "config.json").read_text()

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        RobertaConfig(vocab_size=102).save_pretrained(tmp_path)
    assert (tmp_path / "config.json").read_text() == before
    assert os.listdir(tmp_path) == ["config.json"]
