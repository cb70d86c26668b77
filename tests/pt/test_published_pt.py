"""Methods of the published PyTorch classes that RoBERTa itself does not need."""

import pytest
import torch

from roberta_core.checkpoints import CheckpointError
from roberta_core.checkpoints.card import build_card
from roberta_pt import RobertaForMaskedLM, RobertaForMultipleChoice, RobertaForSequenceClassification, RobertaModel
from roberta_pt.losses import causal_loss, token_loss

IDS = torch.tensor([[0, 5, 6, 2]])


def test_the_loss_of_a_class_can_be_called_and_replaced(config):
    config.num_labels = 3
    model = RobertaForMaskedLM(config)
    logits, labels = torch.randn(1, 4, config.vocab_size), torch.tensor([[5, -1, 7, -100]])
    found = model.loss_function(logits=logits, labels=labels, vocab_size=config.vocab_size, ignore_index=-1)
    torch.testing.assert_close(found, token_loss(logits, torch.tensor([[5, -100, 7, -100]])))
    scores = RobertaForSequenceClassification(config).loss_function(torch.tensor([1]), torch.zeros(1, 3), config)
    assert scores.item() == pytest.approx(1.0986123)
    other = RobertaForMultipleChoice(config).loss_function(logits, IDS, config.vocab_size, num_items_in_batch=2)
    torch.testing.assert_close(other, causal_loss(logits, IDS, count=2))
    model.loss_function = sum
    assert model.loss_function is sum


def test_values_are_drawn_again_from_the_seed(config, tmp_path):
    model = RobertaForMaskedLM(config, seed=3)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        model.lm_head.dense.weight += 1
    model.initialize_weights()
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    model.tie_embeddings_and_encoder_decoder()
    assert model.lm_head.decoder.weight is model.get_input_embeddings().weight
    model.save_pretrained(tmp_path)
    loaded = RobertaForMaskedLM.from_pretrained(tmp_path)
    assert loaded.name_or_path == str(tmp_path)
    loaded.initialize_weights()
    assert loaded.seed is None


def test_a_model_is_on_one_device_and_uses_its_own_kernels(config):
    model = RobertaModel(config)
    assert (model.tp_plan, model.pp_plan, model.tp_size, model.can_record_outputs) == ({}, {}, None, {})
    found = model.is_parallelizable, model.supports_tp_plan, model.supports_pp_plan, model.use_kernels
    assert not any(found)
    assert not model.is_backend_compatible()
    assert model.get_decoder() is model
    model.use_kernels = False
    with pytest.raises(ValueError, match="use_kernels=True is not supported: attn_implementation="):
        model.use_kernels = True


def test_attention_is_changed_in_every_layer(config):
    config.is_decoder = config.add_cross_attention = True
    model = RobertaForMaskedLM(config)
    states = torch.randn(1, 3, config.hidden_size)
    before = model(IDS, encoder_hidden_states=states).logits
    model.set_attn_implementation("eager")
    found = {one.attn_implementation for one in model.modules() if hasattr(one, "attn_implementation")}
    assert found == {"eager"}
    torch.testing.assert_close(model.eval()(IDS, encoder_hidden_states=states).logits.shape, before.shape)


def test_tags_are_written_into_a_new_model_card(config):
    text = build_card("a/b", config, "Model", 7, "safetensors", ["roberta", 'my "tag"'])
    assert 'tags:\n- roberta\n- "my \\"tag\\""\n---' in text
    assert "tags:\n- roberta\n---" in build_card("a/b", config, "Model", 7, "safetensors")


def test_the_tags_of_a_model_reach_its_card(config, monkeypatch):
    cards = []
    monkeypatch.setattr("roberta_core.checkpoints.hub.push", lambda name, save, card, *_, **__: cards.append(card))
    model = RobertaModel(config)
    model.add_model_tags("mine")
    model.push_to_hub("a/b")
    assert '- "mine"' in cards[0]


def test_masks_are_those_of_the_published_class(config):
    model, low = RobertaModel(config), torch.finfo(torch.float32).min
    mask = torch.tensor([[1, 1, 0]])
    assert model.get_extended_attention_mask(mask, (1, 3)).tolist() == [[[[0, 0, low]]]]
    assert model.get_extended_attention_mask(mask[:, None], (1, 1)).shape == (1, 1, 1, 3)
    with pytest.raises(ValueError, match=r"attention_mask has the shape \(3,\); it must be"):
        model.get_extended_attention_mask(mask[0], (1, 3))
    config.is_decoder = True
    cached = model.get_extended_attention_mask(mask, (1, 2))
    assert cached.tolist() == [[[[0, 0, low], [0, 0, low]]]]
    assert model.get_head_mask(None, 2) == [None, None]
    assert model.get_head_mask(torch.ones(2, 3), 2).shape == (2, 1, 3, 1, 1)


def test_a_state_dict_is_loaded_instead_of_a_checkpoint(config, tmp_path):
    model = RobertaForMaskedLM(config, seed=3)
    state = {**model.state_dict(), "lm_head.decoder.weight": model.get_input_embeddings().weight}
    loaded, info = RobertaForMaskedLM.from_pretrained(None, config=config, state_dict=state, output_loading_info=True)
    assert not loaded.training
    assert info["missing_keys"] == []
    torch.testing.assert_close(loaded(IDS).logits, model.eval()(IDS).logits)
    with torch.no_grad():
        loaded.lm_head.bias += 1
    assert not torch.equal(loaded.lm_head.bias, model.lm_head.bias)
    half = {name: value.half() for name, value in state.items()}
    assert RobertaForMaskedLM.from_pretrained(None, config=config, state_dict=half, dtype="auto").dtype == torch.float16

    RobertaForMaskedLM(config, seed=5).save_pretrained(tmp_path)
    other = RobertaForMaskedLM.from_pretrained(tmp_path, state_dict=state)
    assert torch.equal(other.lm_head.dense.weight, model.lm_head.dense.weight)
    assert other.name_or_path == str(tmp_path)
    del state["roberta.embeddings.LayerNorm.weight"]
    with pytest.raises(CheckpointError, match=r"state_dict does not load as .*roberta.embeddings.LayerNorm.weight"):
        RobertaForMaskedLM.from_pretrained(None, config=config, state_dict=state)
    for given in ({}, {"config": config}, {"state_dict": state}):
        with pytest.raises(ValueError, match=r"pretrained_model_name_or_path is None: .* In PyTorch, config"):
            RobertaForMaskedLM.from_pretrained(None, **given)


def test_a_model_is_moved_by_pytorch_itself():
    assert RobertaModel.cuda is torch.nn.Module.cuda  # its argument is the device
    assert RobertaModel.half is torch.nn.Module.half
