"""Sentence-transformers folders: settings read and written, and what follows the encoder."""

import json
import math

import numpy as np
import pytest

from roberta_core.checkpoints import CheckpointError, resolve, safetensors_file
from roberta_core.sentences import (
    CrossEncoder,
    Dense,
    Normalize,
    Pooling,
    SentenceModules,
    find_encoder,
    read_cross_encoder,
    read_modules,
    save_modules,
)

STATES = np.array([[1.0, -2.0], [3.0, 4.0], [-5.0, 6.0]])
POOLED = {
    "cls": [1, -2],
    "max": [3, 6],
    "mean": [-1 / 3, 8 / 3],
    "mean_sqrt_len": [-1 / math.sqrt(3), 8 / math.sqrt(3)],
    "weightedmean": [(1 + 6 - 15) / 6, (-2 + 8 + 18) / 6],
    "lasttoken": [-5, 6],
}
AFTER_PROMPT = {"cls": [3, 4], "mean": [-1, 5], "weightedmean": [(6 - 15) / 5, (8 + 18) / 5]}


@pytest.mark.parametrize("mode", POOLED)
def test_each_pooling_has_its_definition(mode):
    np.testing.assert_allclose(Pooling((mode,))(STATES), POOLED[mode])
    np.testing.assert_allclose(Pooling((mode, "max"))(STATES), [*POOLED[mode], 3, 6])


@pytest.mark.parametrize("mode", AFTER_PROMPT)
def test_a_prompt_is_pooled_only_if_it_is_included(mode):
    np.testing.assert_allclose(Pooling((mode,), include_prompt=False)(STATES, skip=1), AFTER_PROMPT[mode])
    np.testing.assert_allclose(Pooling((mode,))(STATES, skip=1), POOLED[mode])


def test_a_text_of_nothing_but_its_prompt_is_refused():
    with pytest.raises(ValueError, match="no tokens besides the 3 of its prompt"):
        Pooling(("mean",), include_prompt=False)(STATES, skip=3)


def test_layers_follow_in_order():
    weight, bias = np.array([[1.0, 2.0], [0.5, 0.0], [0.0, 1.0]]), np.array([0.0, 1.0, -1.0])
    modules = SentenceModules(Pooling(("max",)), (Dense(weight, bias, residual=weight), Normalize()), dimensions=2)
    expected = np.tanh(weight @ [3, 6] + bias) + weight @ [3, 6]
    found = modules.embed(STATES)
    np.testing.assert_allclose(found, (expected / np.linalg.norm(expected))[:2], rtol=1e-6)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(Normalize()(np.zeros(3)), np.zeros(3))


def write(folder, **files):
    """Write JSON files; `a__b` is the file b.json in the folder a."""
    for name, value in files.items():
        path = folder.joinpath(*name.split("__")).with_suffix(".json")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value), encoding="utf-8")
    return folder


def list_rows(*kinds, encoder="", package="sentence_transformers.models"):
    """The content of modules.json."""
    paths = [encoder, *(f"{number}_{kind}" for number, kind in enumerate(kinds, 1))]
    return [
        {"idx": idx, "name": str(idx), "path": path, "type": f"{package}.{kind}"}
        for idx, (path, kind) in enumerate(zip(paths, ("Transformer", *kinds), strict=True))
    ]


def test_the_files_of_older_and_newer_versions_are_read(tmp_path):
    old = {"word_embedding_dimension": 2, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}
    older = write(
        tmp_path / "old",
        modules=list_rows("Pooling", "Normalize", encoder="0_Transformer"),
        **{"1_Pooling__config": old, "0_Transformer__sentence_roberta_config": {"max_seq_length": 9}},
    )
    found = read_modules(older)
    assert (found.pooling, found.layers, found.max_length) == (Pooling(("mean",)), (Normalize(),), 9)
    assert find_encoder(older) == older / "0_Transformer"
    newer = write(
        tmp_path / "new",
        modules=list_rows("Pooling", "Dropout", package="sentence_transformers.base.modules.x"),
        sentence_bert_config={"transformer_task": "feature-extraction", "do_lower_case": True},
        config_sentence_transformers={
            "prompts": {"query": "q: ", "document": ""}, "default_prompt_name": "query", "similarity_fn_name": "dot",
            "truncate_dim": 1,
        },
        **{"1_Pooling__config": {"pooling_mode": ["lasttoken", "cls"], "include_prompt": False}},
    )  # fmt: skip
    found = read_modules(newer)
    assert found.pooling == Pooling(("lasttoken", "cls"), include_prompt=False)
    assert (found.layers, found.lower_case, found.similarity, found.dimensions) == ((), True, "dot", 1)
    assert (found.find_prompt(None), found.find_prompt("document")) == ("q: ", "")
    with pytest.raises(ValueError, match="prompt_name is 'x'; the prompts of this model are query, document"):
        found.find_prompt("x")
    assert (read_modules(tmp_path).pooling, find_encoder(tmp_path)) == (Pooling(("mean",)), tmp_path)


POOLING = {"1_Pooling__config": {"pooling_mode": "mean"}}
REFUSED = {
    "another module": ({"modules": list_rows("Pooling", "LSTM")}, "has the module LSTM; supported are Transformer"),
    "code of the model": ({"modules": list_rows(package="custom_st")}, "'custom_st.Transformer', which is not one of"),
    "no pooling": ({"modules": list_rows("Normalize")}, "must have one Pooling after the Transformer"),
    "no transformer": ({"modules": list_rows("Pooling")[1:]}, "has no Transformer as its first module"),
    "a path outside": ({"modules": list_rows(encoder="../x")}, "'../x', which is not a folder inside"),
    "not a list": ({"modules": {"a": 1}}, "is not a list of modules"),
    "an unknown pooling": (
        {"modules": list_rows("Pooling"), "1_Pooling__config": {"pooling_mode": "median"}},
        "pooling is 'median'; expected cls, max, mean, mean_sqrt_len, weightedmean, lasttoken, or several joined by +",
    ),
    "an unknown old pooling": (
        {"modules": list_rows("Pooling"), "1_Pooling__config": {"pooling_mode_median_tokens": True}},
        "has pooling_mode_median_tokens",
    ),
    "another task": (
        {"modules": list_rows("Pooling"), **POOLING, "sentence_bert_config": {"transformer_task": "fill-mask"}},
        "has the transformer_task 'fill-mask'",
    ),
    "settings of the tokenizer": (
        {"modules": list_rows("Pooling"), **POOLING, "sentence_bert_config": {"processing_kwargs": {"text": {}}}},
        "has processing_kwargs {'text': {}}, which is not supported",
    ),
    "a wrong length": (
        {"modules": list_rows("Pooling"), **POOLING, "sentence_bert_config": {"max_seq_length": 0}},
        "has the max_seq_length 0; it must be a positive integer",
    ),
    "a prompt that is missing": (
        {"modules": list_rows("Pooling"), **POOLING, "config_sentence_transformers": {"default_prompt_name": "a"}},
        "has the default_prompt_name 'a'",
    ),
    "an unknown similarity": (
        {"modules": list_rows("Pooling"), **POOLING, "config_sentence_transformers": {"similarity_fn_name": "maxsim"}},
        "has the similarity_fn_name 'maxsim'; expected one of cosine",
    ),
    "an activation of the model": (
        {"modules": list_rows("Pooling", "Dense"), **POOLING, "2_Dense__config": {"activation_function": "my.Act"}},
        "has the activation function 'my.Act'; supported are those of torch.nn: Tanh",
    ),
    "token vectors": (
        {"modules": list_rows("Pooling", "Dense"), **POOLING, "2_Dense__config": {"module_input_name": "tokens"}},
        "has the module_input_name 'tokens'; only sentence_embedding is supported",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_supported_is_refused(tmp_path, case):
    files, message = REFUSED[case]
    with pytest.raises(CheckpointError, match=message):
        read_modules(write(tmp_path, **files))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"bias": False}, "expected linear.weight"),
        ({"in_features": 2, "out_features": 4}, r"says \(4, 2\)"),
    ],
)
def test_a_dense_module_is_compared_with_its_configuration(tmp_path, config, message):
    files = {"modules": list_rows("Pooling", "Dense"), **POOLING}
    write(tmp_path, **files, **{"2_Dense__config": {"in_features": 2, "out_features": 3, **config}})
    safetensors_file.write(tmp_path / "2_Dense", {"linear.weight": np.ones((3, 2)), "linear.bias": np.ones(3)})
    with pytest.raises(CheckpointError, match=message):
        read_modules(tmp_path)


def build_modules():
    generator = np.random.default_rng(0)
    weight, bias, other = (generator.normal(size=shape).astype(np.float32) for shape in ((3, 4), 3, (3, 4)))
    gelu, identity = "torch.nn.modules.activation.GELU", "torch.nn.modules.linear.Identity"
    layers = (Dense(weight, bias, gelu, other), Normalize(), Dense(weight[:, :3], None, identity, "input"))
    return SentenceModules(
        Pooling(("mean", "cls"), include_prompt=False), layers, {"query": "q: "}, "query", 11, True, "manhattan", 2
    )  # fmt: skip


def test_a_written_folder_is_read_back(tmp_path):
    modules = build_modules()
    save_modules(tmp_path / "new", modules, 2, lambda folder: write(folder, config={}))
    found = read_modules(tmp_path / "new")
    for name in ("pooling", "prompts", "default_prompt_name", "max_length", "lower_case", "similarity", "dimensions"):
        assert getattr(found, name) == getattr(modules, name)
    np.testing.assert_array_equal(found.embed(STATES, 1), modules.embed(STATES, 1))
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "1_Pooling", "2_Dense", "3_Normalize", "4_Dense", "config.json", "config_sentence_transformers.json",
        "modules.json", "sentence_bert_config.json",
    ]  # fmt: skip


def test_poolings_in_the_old_order_are_written_for_older_versions(tmp_path):
    save_modules(tmp_path / "old", SentenceModules(Pooling(("cls", "mean"))), 2, lambda folder: None)
    written = json.loads((tmp_path / "old" / "1_Pooling" / "config.json").read_text())
    assert [name for name in written if written[name] is True] == [
        "pooling_mode_cls_token", "pooling_mode_mean_tokens", "include_prompt",
    ]  # fmt: skip


def test_a_folder_appears_complete_or_not_at_all(tmp_path):
    def fail(folder):
        raise CheckpointError("no space")

    with pytest.raises(CheckpointError, match="no space"):
        save_modules(tmp_path / "new", SentenceModules(), 2, fail)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "full").mkdir()
    write(tmp_path / "full", other={})
    with pytest.raises(CheckpointError, match="full is not an empty folder: save to a new one"):
        save_modules(tmp_path / "full", SentenceModules(), 2, lambda folder: None)


def test_layers_that_do_not_fit_together_are_refused():
    with pytest.raises(ValueError, match=r"takes vectors of 4 values, but gets 6 from mean\+cls pooling of 3"):
        build_modules().check_size(3)


@pytest.mark.parametrize(
    "files",
    [
        {"config_sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"}},
        {"config": {"sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"}}},
        {"config": {"sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity"}},
    ],
)
def test_the_activation_of_a_cross_encoder_is_where_its_version_wrote_it(tmp_path, files):
    found = read_cross_encoder(write(tmp_path, **files))
    np.testing.assert_array_equal(found.activate(np.array([-3.0, 2.0])), [-3, 2])
    np.testing.assert_allclose(CrossEncoder().activate(np.array([0.0])), [0.5])


def test_a_cross_encoder_of_several_modules_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="has the module Pooling"):
        read_cross_encoder(write(tmp_path, modules=list_rows("Pooling")))


def test_the_hub_gives_the_files_of_the_modules_too(hub, tmp_path):
    hub.add("someone/sentences", resolve("roberta-tiny"))
    folder = write(
        tmp_path / "model", modules=list_rows("Pooling"), config_sentence_transformers={"prompts": {"a": "b"}}
    )
    hub.add("someone/sentences", folder)
    hub.add("someone/sentences", write(tmp_path, **POOLING) / "1_Pooling", prefix="1_Pooling/")
    wants = ("config", "weights", "tokenizer", "sentence")
    found = resolve("someone/sentences", wants)
    assert read_modules(found).prompts == {"a": "b"}
    assert (found / "tokenizer.json").exists()
    hub.asked.clear()
    assert resolve("someone/sentences", wants, local_files_only=True) == found
    assert hub.asked == []
    assert not {name for name in hub.downloads() if name.startswith("1_")}
