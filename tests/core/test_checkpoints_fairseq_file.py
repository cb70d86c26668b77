"""Checkpoints written by fairseq are read bit for bit, and checkpoints are written in its format.

The checkpoints are in `../shared/fixtures/fairseq` (or below ROBERTA_SHARED); without them those tests are skipped.
"""

import os
import pickle
import shutil
import sys
import types
import zlib
from pathlib import Path

import numpy as np
import pytest

from roberta_core import checkpoints
from roberta_core.checkpoints import CheckpointError, conversion, fairseq_file, fairseq_writer, torch_file
from roberta_core.checkpoints.plain_pickle import Plain
from roberta_core.checkpoints.torch_writer import Code, describe, encode_dict, write
from roberta_core.config import RobertaConfig
from roberta_core.parameters import Kind, Parameter, parameters

SHARED = Path(os.environ.get("ROBERTA_SHARED") or Path(__file__).parents[3] / "shared")
FAIRSEQ = SHARED / "fixtures" / "fairseq"
published = pytest.mark.skipif(not FAIRSEQ.is_dir(), reason=f"needs the published fixtures in {FAIRSEQ}")

VERSIONS = ["old_style", "v0.8.0", "v0.9.0", "v0.10.2", "v0.12.2"]
CHECKPOINTS = [(f"{version}-{kind}", kind) for version in VERSIONS for kind in ("masked_lm", "classification")]
CHECKPOINTS.append(("v0.12.2-untied", "masked_lm"))
CLASSES = {"masked_lm": "ForMaskedLM", "classification": "ForSequenceClassification"}

# Published module -> module of fairseq 0.12.
BODY = {
    "embeddings.word_embeddings": "embed_tokens",
    "embeddings.position_embeddings": "embed_positions",
    "embeddings.LayerNorm": "layernorm_embedding",
    "attention.self.query": "self_attn.q_proj",
    "attention.self.key": "self_attn.k_proj",
    "attention.self.value": "self_attn.v_proj",
    "attention.output.dense": "self_attn.out_proj",
    "attention.output.LayerNorm": "self_attn_layer_norm",
    "intermediate.dense": "fc1",
    "output.dense": "fc2",
    "output.LayerNorm": "final_layer_norm",
}


def fairseq_name(name, head):
    """Return the name from which the fixtures derive the values of a published tensor."""
    module, _, leaf = name.rpartition(".")
    if module.startswith("lm_head"):
        return name.replace("lm_head.decoder.weight", "lm_head.weight")
    if module.startswith("classifier."):
        return f"classification_heads.{head}.{module.partition('.')[2]}.{leaf}"
    module = module.removeprefix("roberta.")
    if module.startswith("encoder.layer."):
        _, _, layer, module = module.split(".", 3)
        return f"sentence_encoder.layers.{layer}.{BODY[module]}.{leaf}"
    return f"sentence_encoder.{BODY[module]}.{leaf}"


def draw(name, shape):
    generator = np.random.default_rng([20240608, zlib.crc32(name.encode())])
    if ("layer_norm" in name or "layernorm" in name) and name.endswith("weight"):
        return generator.uniform(0.5, 1.5, shape).astype(np.float32)
    return generator.normal(0, 0.5, shape).astype(np.float32)


@published
@pytest.mark.parametrize(("name", "kind"), CHECKPOINTS)
def test_every_tensor_is_read_bit_for_bit(name, kind):
    config = fairseq_file.read_config(FAIRSEQ / name)
    tensors, report = checkpoints.load(FAIRSEQ / name, config, CLASSES[kind])
    assert list(tensors) == list(parameters(config, CLASSES[kind]))
    head = "mnli" if name.startswith("v0.12") else "sentence_classification_head"
    for key, array in tensors.items():
        if "token_type" in key:
            assert array.tobytes() == bytes(4 * 24)
        elif kind == "masked_lm" or not key.startswith("classifier"):
            assert array.tobytes() == draw(fairseq_name(key, head), array.shape).tobytes(), key
    assert report.sentences() == ()
    assert report.unexpected == ()


@published
@pytest.mark.parametrize(("name", "kind"), CHECKPOINTS)
def test_classification_heads_are_the_same_in_all_versions(name, kind):
    if kind == "classification":
        heads = [
            checkpoints.load(FAIRSEQ / folder, fairseq_file.read_config(FAIRSEQ / folder), CLASSES[kind])[0]
            for folder in (name, "old_style-classification")
        ]
        for key in heads[0]:
            if key.startswith("classifier") and not name.startswith("v0.12"):
                assert heads[0][key].tobytes() == heads[1][key].tobytes()
                assert heads[0][key].any()


@published
@pytest.mark.parametrize(("name", "kind"), CHECKPOINTS)
def test_the_configuration_is_found(name, kind):
    want = {
        "vocab_size": 105,
        "hidden_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 40,
        "max_position_embeddings": 19,
        "type_vocab_size": 1,
        "layer_norm_eps": 1e-5,
        "hidden_act": "gelu",
        "classifier_dropout": 0.0,
        "tie_word_embeddings": "untied" not in name,
        "num_labels": 3 if kind == "classification" else 2,
    }
    config = fairseq_file.read_config(FAIRSEQ / name)
    assert {key: getattr(config, key) for key in want} == want
    assert config.max_sequence_length == 17


@published
def test_a_pre_norm_model_is_refused():
    for read in (fairseq_file.read_config, fairseq_file.read):
        with pytest.raises(CheckpointError, match="normalises before each block"):
            read(FAIRSEQ / "v0.12.2-prenorm")


@published
def test_a_head_with_another_activation_is_skipped_and_reported():
    config = fairseq_file.read_config(FAIRSEQ / "v0.12.2-relu")
    assert config.hidden_act == "relu"
    tensors, report = checkpoints.load(FAIRSEQ / "v0.12.2-relu", config, "ForMaskedLM")
    assert {name for name in parameters(config, "ForMaskedLM") if name not in tensors} == set(report.missing)
    assert all(name.startswith("lm_head.") for name in report.missing)
    assert "lm_head was newly initialised" in report.sentences()[0]
    body, report = checkpoints.load(FAIRSEQ / "v0.12.2-relu", config, "Model", pooler=False)
    assert body.keys() == parameters(config, "Model", pooler=False).keys()


@published
def test_a_dictionary_of_another_size_is_explained(tmp_path):
    shutil.copy(FAIRSEQ / "v0.12.2-masked_lm" / "model.pt", tmp_path)
    assert fairseq_file.read_config(tmp_path).vocab_size == 105
    lines = (FAIRSEQ / "v0.12.2-masked_lm" / "dict.txt").read_text().splitlines()
    (tmp_path / "dict.txt").write_text("\n".join(lines[:-3]) + "\n")
    with pytest.raises(CheckpointError, match="97 lines; with 4 special tokens and <mask> that is 102 tokens, but"):
        fairseq_file.read_config(tmp_path)


@published
def test_labels_have_the_names_of_the_dictionary(tmp_path):
    shutil.copy(FAIRSEQ / "v0.12.2-classification" / "model.pt", tmp_path)
    (tmp_path / "label.dict.txt").write_text("contradiction 1\nneutral 1\nentailment 1\nmadeupword0000 0\n")
    assert fairseq_file.read_config(tmp_path).id2label == {0: "contradiction", 1: "neutral", 2: "entailment"}
    assert fairseq_file.read_config(FAIRSEQ / "v0.12.2-classification").id2label[0] == "LABEL_0"


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


def save(folder, architecture="ForMaskedLM", **changes):
    config = RobertaConfig(**{**SIZES, **changes})
    generator = np.random.default_rng(0)
    table = parameters(config, architecture)
    tensors = {name: generator.standard_normal(parameter.shape, np.float32) for name, parameter in table.items()}
    tensors["roberta.embeddings.token_type_embeddings.weight"][...] = 0
    checkpoints.save(folder, config, architecture, tensors, format="fairseq")
    return config, tensors


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("architecture", ["ForMaskedLM", "ForSequenceClassification"])
def test_a_written_checkpoint_is_read_with_its_configuration(tmp_path, architecture, tied):
    settings = {
        "hidden_act": "gelu",
        "classifier_dropout": 0.25,
        "hidden_dropout_prob": 0.2,
        "tie_word_embeddings": tied,
    }
    config, tensors = save(tmp_path, architecture, num_labels=2, **settings)
    found, report = checkpoints.load(tmp_path, config, architecture)
    assert all(found[name].tobytes() == array.tobytes() for name, array in tensors.items())
    assert report.sentences() == ()
    read = fairseq_file.read_config(tmp_path)
    ours = RobertaConfig.from_pretrained(tmp_path)
    assert {**read.to_diff_dict(), "architectures": 0, "dtype": 0} == {
        **ours.to_diff_dict(),
        "architectures": 0,
        "dtype": 0,
    }


def test_a_written_checkpoint_has_the_keys_of_fairseq(tmp_path):
    save(tmp_path)
    state = torch_file.read(tmp_path / "model.pt", {"argparse.Namespace": Plain})
    assert set(state) == {"args", "model", "optimizer_history", "extra_state", "last_optimizer_state"}
    if FAIRSEQ.is_dir():
        theirs = torch_file.read(FAIRSEQ / "v0.10.2-masked_lm" / "model.pt", {"argparse.Namespace": Plain})
        assert set(state["model"]) == set(theirs["model"]) - {"encoder.sentence_encoder.version"}
        assert set(state["args"].fields) <= {*theirs["args"].fields, "untie_weights_roberta"}
    assert (
        state["model"]["encoder.lm_head.weight"].storage
        is state["model"]["encoder.sentence_encoder.embed_tokens.weight"].storage
    )


@pytest.mark.parametrize("kind", ["masked_lm", "classification"])
def test_a_file_of_fairseq_is_written_again_with_its_keys_shapes_and_values(tmp_path, shared, kind):
    source = shared / "fixtures/fairseq" / f"v0.10.2-{kind}"
    architecture = {"masked_lm": "ForMaskedLM", "classification": "ForSequenceClassification"}[kind]
    conversion.convert(source, tmp_path / "plain", "safetensors", architecture=architecture)
    conversion.convert(tmp_path / "plain", tmp_path / "again", "fairseq")
    names = fairseq_file._Names(fairseq_file.NAMES)
    ours, theirs = (
        torch_file.select_tensors(torch_file.read(folder / "model.pt", names)["model"])
        for folder in (tmp_path / "again", source)
    )
    dropped = {"encoder.sentence_encoder.version"}
    if kind == "classification":  # the class has no language-model head
        dropped |= {name for name in theirs if name.startswith("encoder.lm_head.")}
    assert set(ours) == set(theirs) - dropped
    for name, tensor in ours.items():
        np.testing.assert_array_equal(tensor.array(), theirs[name].array(), err_msg=name)


@pytest.mark.parametrize(
    "changes", [{"layer_norm_eps": 1e-12}, {"pad_token_id": 3}, {"is_decoder": True}, {"hidden_act": "silu"}]
)
def test_models_that_fairseq_cannot_express_are_refused(tmp_path, changes):
    with pytest.raises(CheckpointError, match="choose another format"):
        save(tmp_path, **changes)
    assert not list(tmp_path.iterdir())


def test_a_regression_head_of_fairseq_is_reported_and_not_dropped(tmp_path):
    config, tensors = save(tmp_path / "plain")
    name = "regression_head.dense.weight"
    table = parameters(config, "ForMaskedLM", False) | {name: Parameter(name, Kind.OTHER, (12, 12))}
    tensors[name] = np.ones((12, 12), np.float32)
    checkpoints.save(tmp_path / "more", config, "ForMaskedLM", tensors, format="fairseq", table=table)
    assert name in torch_file.read(tmp_path / "more" / "model.pt", {"argparse.Namespace": Plain})["model"]
    for architecture in ("ForMaskedLM", "ForSequenceClassification"):
        _, report = checkpoints.load(tmp_path / "more", config, architecture)
        assert name in report.unexpected
        assert any("regression_head" in sentence for sentence in report.sentences())


def test_tensors_unknown_to_fairseq_keep_their_published_name_so_that_fairseq_refuses_them(tmp_path):
    config, tensors = save(tmp_path, "ForMultipleChoice")
    names = torch_file.read(tmp_path / "model.pt", {"argparse.Namespace": Plain})["model"]
    assert {"roberta.pooler.dense.weight", "classifier.weight"} <= set(names)
    found, _ = checkpoints.load(tmp_path, config, "ForMultipleChoice")
    assert all(found[name].tobytes() == array.tobytes() for name, array in tensors.items())


@pytest.mark.parametrize(
    "content",
    [b"", b"\x80\x02cos\nsystem\nX\4\0\0\0true\x85R.", b"PK\3\4" + b"\0" * 60],
    ids=["empty", "a call", "no zip"],
)
def test_a_broken_or_hostile_file_is_refused(tmp_path, content):
    (tmp_path / "model.pt").write_bytes(content)
    for read in (fairseq_file.read_config, fairseq_file.read):
        with pytest.raises(CheckpointError):
            read(tmp_path)


def build_omegaconf_pickle(settings, monkeypatch):
    """Return pickled settings in the form of OmegaConf, which fairseq 0.10 to 0.12 wrote."""
    classes = {"omegaconf.dictconfig": "DictConfig", "omegaconf.nodes": "AnyNode", "omegaconf.base": "Metadata"}
    made = {}
    monkeypatch.setitem(sys.modules, "omegaconf", types.ModuleType("omegaconf"))
    for module, name in classes.items():
        made[name] = type(name, (), {"__module__": module})
        monkeypatch.setitem(sys.modules, module, types.SimpleNamespace(**{name: made[name]}))

    def node(name, **fields):
        item = made[name]()
        item.__dict__.update(fields, _metadata=made["Metadata"]())
        return item

    def config(content):
        return node("DictConfig", _content=content, _parent=None)

    model = config({name: node("AnyNode", _val=value) for name, value in settings.items()})
    return Code(pickle.dumps(config({"model": model}), 2)[2:-1])


def test_settings_in_the_form_of_omegaconf_are_read(tmp_path, monkeypatch):
    save(tmp_path, classifier_dropout=0.25)
    state = torch_file.select_tensors(torch_file.read(tmp_path / "model.pt", {"argparse.Namespace": Plain})["model"])
    tensors = {name: tensor.array() for name, tensor in state.items()}
    settings = {"encoder_attention_heads": 3, "activation_fn": "gelu", "pooler_dropout": 0.25}
    code = build_omegaconf_pickle({**settings, "untie_weights_roberta": None}, monkeypatch)
    (tmp_path / "dict").mkdir()
    with open(tmp_path / "dict" / "model.pt", "wb") as stream:
        frame = {"args": None, "cfg": code}
        write(stream, tensors, describe(tensors, tensors), {}, lambda state: encode_dict({**frame, "model": state}))
    assert fairseq_file.read_config(tmp_path / "dict") == RobertaConfig(**{**SIZES, "classifier_dropout": 0.25})


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"num_attention_heads": 7}, "is not divisible by num_attention_heads 7"),
        ({"classifier_dropout": -1e307}, "at least 0"),
    ],
)
def test_settings_without_a_model_are_refused(tmp_path, monkeypatch, changes, reason):
    original = fairseq_writer._frame

    def frame(config, classes):
        vars(config).update(changes)
        return original(config, classes)

    monkeypatch.setattr(fairseq_writer, "_frame", frame)
    save(tmp_path)
    with pytest.raises(CheckpointError, match=f"has invalid settings: .*{reason}"):
        fairseq_file.read_config(tmp_path)


def test_a_checkpoint_without_a_model_is_refused(tmp_path):
    with open(tmp_path / "model.pt", "wb") as stream:
        write(stream, {}, {}, {}, lambda state: Code(b"}X\1\0\0\0aK\1s"))
    with pytest.raises(CheckpointError, match="it has no model"):
        fairseq_file.read_config(tmp_path)
