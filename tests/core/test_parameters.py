import numpy as np
import pytest

from roberta_core.config import RobertaConfig
from roberta_core.parameters import (
    ARCHITECTURES,
    Kind,
    aliases,
    draw,
    has_weight_decay,
    is_transposed,
    parameters,
    spell,
)

TINY = {
    "vocab_size": 101, "hidden_size": 12, "num_attention_heads": 3, "intermediate_size": 20, "num_hidden_layers": 2,
    "max_position_embeddings": 19, "type_vocab_size": 5,
}  # fmt: skip


def test_roberta_base_has_its_published_tensors():
    table = parameters(RobertaConfig.base(), "ForMaskedLM")
    assert len(table) == 202
    assert sum(parameter.size for parameter in table.values()) == 124_697_433


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("dialect", ["pt", "tf", "flax"])
def test_every_name_and_shape_equals_that_of_transformers(shared, architecture, dialect):
    from safetensors import safe_open

    folder = shared / f"fixtures/hf/checkpoints/{architecture}/{dialect}-safetensors"
    config = RobertaConfig.from_json_file(folder / "config.json")
    with safe_open(folder / "model.safetensors", "np") as file:
        written = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    prefix = "roberta/" if (dialect, architecture) == ("tf", "Model") else ""
    ours = {
        prefix + spell(row, dialect): row.shape[::-1] if is_transposed(row, dialect) else row.shape
        for row in parameters(config, architecture).values()
    }
    assert ours == written


def test_the_count_of_tensors_follows_the_layers():
    for layers in (0, 1, 3):
        config = RobertaConfig(**{**TINY, "num_hidden_layers": layers})
        assert len(parameters(config, "Model")) == 5 + 16 * layers + 2
        assert len(parameters(config, "Model", pooler=False)) == 5 + 16 * layers
        decoder = RobertaConfig(**{**TINY, "num_hidden_layers": layers}, is_decoder=True, add_cross_attention=True)
        assert len(parameters(decoder, "ForCausalLM")) == 5 + 26 * layers + 5


def test_an_untied_head_stores_a_separate_matrix():
    config = RobertaConfig(**TINY, tie_word_embeddings=False)
    assert parameters(config, "ForMaskedLM")["lm_head.decoder.weight"].shape == (101, 12)
    assert aliases(config, "ForMaskedLM") == {"lm_head.decoder.bias": "lm_head.bias"}
    assert "lm_head.decoder.weight" in aliases(RobertaConfig(**TINY), "ForMaskedLM")
    assert not aliases(config, "ForTokenClassification")


def test_pruned_heads_change_only_the_sizes_of_their_layer():
    table = parameters(RobertaConfig(**TINY, pruned_heads={"1": [0, 2]}), "Model")
    assert table["encoder.layer.1.attention.self.query.weight"].shape == (4, 12)
    assert table["encoder.layer.1.attention.output.dense.weight"].shape == (12, 4)
    assert table["encoder.layer.0.attention.self.query.weight"].shape == (12, 12)


def test_biases_and_norms_have_no_weight_decay():
    table = parameters(RobertaConfig(**TINY), "ForMaskedLM")
    spared = {name for name, parameter in table.items() if not has_weight_decay(parameter)}
    assert spared == {name for name in table if name.endswith("bias") or "LayerNorm" in name or "layer_norm" in name}


def test_initial_values_have_their_distribution():
    config = RobertaConfig(**{**TINY, "hidden_size": 120, "vocab_size": 1000}, initializer_range=0.3)
    values = dict(draw(config, "ForMaskedLM", 7))
    table = parameters(config, "ForMaskedLM")
    assert list(values) == list(table)
    for name, value in values.items():
        assert (value.shape, value.dtype) == (table[name].shape, np.float32)
        if name.endswith("bias"):
            assert not value.any()
        elif table[name].kind is Kind.NORM:
            assert (value == 1).all()
    words = values["roberta.embeddings.word_embeddings.weight"]
    assert not words[1].any()
    assert not values["roberta.embeddings.position_embeddings.weight"][1].any()
    assert words[2:].std() == pytest.approx(0.3, rel=0.02)


def test_a_tensor_drawn_alone_has_the_same_values():
    config = RobertaConfig(**TINY)
    whole = dict(draw(config, "ForTokenClassification", 3))
    alone = dict(draw(config, "ForTokenClassification", 3, only={"classifier.weight"}))
    assert list(alone) == ["classifier.weight"]
    np.testing.assert_array_equal(alone["classifier.weight"], whole["classifier.weight"])
    body = dict(draw(config, "Model", 3))
    np.testing.assert_array_equal(body["pooler.dense.bias"], 0)
    name = "encoder.layer.1.attention.self.key.weight"
    np.testing.assert_array_equal(body[name], whole[f"roberta.{name}"])


def test_seeds_and_tensors_differ_from_each_other():
    config = RobertaConfig(**TINY)
    first, second = dict(draw(config, "Model", 0)), dict(draw(config, "Model", 1))
    name = "encoder.layer.0.attention.self.{}.weight"
    assert (first[name.format("key")] != second[name.format("key")]).any()
    assert (first[name.format("key")] != first[name.format("query")]).any()


def test_unknown_classes_and_settings_are_refused():
    with pytest.raises(ValueError, match="ForMasked' is not a RoBERTa class"):
        parameters(RobertaConfig(), "ForMasked")
    with pytest.raises(ValueError, match="num_labels must be 2, got 3"):
        parameters(RobertaConfig(num_labels=3), "ForQuestionAnswering")
    with pytest.raises(ValueError, match="relative_key"):
        parameters(RobertaConfig(position_embedding_type="relative_key"), "Model")
