import copy
import pickle
from itertools import product

import pytest
import torch
from torch import nn

import roberta_pt
from roberta_core.config import RobertaConfig
from roberta_core.pipelines import pipeline
from roberta_pt import RobertaForMaskedLM, RobertaModel, frozen, packing, products
from roberta_pt.encoder import SelfAttention
from roberta_pt.layers import Linear
from roberta_pt.weights import assign

pytestmark = pytest.mark.skipif(not products._has_onednn(), reason="this PyTorch is built without oneDNN")

# Of the largest value: two orders of summation in float32. These weights are large; a pooler gave 1.8e-6 with AVX.
LIMIT = 5e-6
OF_LOGITS = 5e-5  # a head with large weights amplifies the difference of hidden states
CLASSES = ("Model", "ForMaskedLM", "ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering")


@pytest.fixture(autouse=True)
def packs(monkeypatch):
    """Pack on any CPU."""
    monkeypatch.setattr(frozen, "find_packing_obstacle", lambda: None)


@pytest.fixture
def model(make, config):
    return make(RobertaForMaskedLM, config)


def error(got, want):
    return float((got - want).abs().max() / want.abs().max())


def check(view, model, *args, path="oneDNN packed", **kwargs):
    """Call both, and compare every output; `path` begins as given."""
    with torch.no_grad():
        got, want = view(*args, **kwargs), model(*args, **kwargs)
    assert view.path.startswith(path), view.path
    assert list(got) == list(want)
    for name, value in want.items():
        if name == "past_key_values":
            continue
        for one, other in zip(*((x,) if isinstance(x, torch.Tensor) else x for x in (got[name], value)), strict=True):
            assert error(one, other) <= (OF_LOGITS if "logits" in name else LIMIT), name


@pytest.mark.parametrize("architecture", CLASSES)
def test_a_view_returns_what_its_model_returns(make, config, ids, architecture):
    model = make(getattr(roberta_pt, f"Roberta{architecture}"), config)
    view = model.frozen()
    for mask, keep in product((None, ids != 1, torch.tensor([[1] * 7, [0] * 7]), torch.ones(2, 7, 7)), (False, True)):
        check(view, model, ids, mask, output_hidden_states=keep)
    check(view, model, ids.numpy(), token_type_ids=(ids % 5).numpy(), position_ids=ids % 7 + 2)
    check(view, model, inputs_embeds=torch.randn(2, 5, 12, generator=torch.Generator().manual_seed(1)))
    with torch.inference_mode():
        assert view(ids, return_dict=False)[0].shape == model(ids, return_dict=False)[0].shape
    with pytest.raises(ValueError, match="input_ids contains 101"), torch.no_grad():
        view(ids + 1)


def test_choices_other_activations_and_pruned_heads_are_served(make, config, ids):
    model = make(roberta_pt.RobertaForMultipleChoice, config)
    check(model.frozen(), model, ids[None], attention_mask=(ids != 1)[None])
    config.hidden_act = "silu"
    model = make(RobertaModel, config)
    model.prune_heads({1: [2]})
    check(model.frozen(), model, ids, ids != 1)


def test_rows_without_padding_equal_padded_ones(make, config, ids):
    model = make(RobertaForMaskedLM, config)
    view = model.frozen()
    ids = torch.cat([ids, ids[1:]])
    seen = []
    with torch.no_grad():
        want = model(ids, ids != 1, output_hidden_states=True)
        run = frozen.run_encoder
        frozen.run_encoder = lambda layers, rows, *others: seen.append(len(rows)) or run(layers, rows, *others)
        try:
            got = view(ids, ids != 1, skip_padding=True, output_hidden_states=True)
        finally:
            frozen.run_encoder = run
    assert seen == [7 + 4 + 4]
    real = ids != 1
    for one, other in zip((got.logits, *got.hidden_states), (want.logits, *want.hidden_states), strict=True):
        assert error(one[real], other[real]) <= (OF_LOGITS if one is got.logits else LIMIT)
    for mask in (torch.flip(ids != 1, [1]), torch.tensor([[1] * 7, [0] * 7, [1] * 7])):  # not at the front, none
        with torch.no_grad():
            assert error(view(ids, mask, skip_padding=True).logits, model(ids, mask).logits) <= OF_LOGITS


@pytest.mark.parametrize("masked", [False, True])
def test_long_texts_attend_by_onednn_with_the_same_result(make, config, masked, monkeypatch):
    monkeypatch.setattr(packing, "select_library", lambda: "onednn")
    monkeypatch.setattr(packing, "_cores", {})
    config.max_position_embeddings = 300
    config.num_hidden_layers = 1
    model = make(RobertaModel, config)
    ids = torch.randint(2, 101, (2, 257), generator=torch.Generator().manual_seed(2))
    mask = torch.ones_like(ids)
    if masked:
        mask[0, 250:], mask[1] = 0, 0
    check(model.frozen(), model, ids, mask)
    assert list(packing._cores) == [(3, 4, 320)]
    assert not torch.jit.onednn_fusion_enabled()


def test_the_number_of_prepared_lengths_is_bounded(monkeypatch):
    monkeypatch.setattr(packing, "_cores", dict.fromkeys([(1, 1, n) for n in range(packing.MOST_CORES)]))
    assert packing._find_core(3, 4, 320) is None


def test_a_wrong_core_is_not_used(monkeypatch, caplog):
    monkeypatch.setattr(packing._Core, "forward", lambda self, query, key, value, mask: value + mask.sum())
    assert not packing._PaddedCore(3, 4, 256).is_right()
    assert "PyTorch's is used" in caplog.text


FAULTS = {
    "queries and keys swapped": lambda packed: packed._replace(
        inputs=packed.inputs._replace(bias=packed.inputs.bias.roll(12))
    ),
    "a square matrix transposed": lambda packed: packed._replace(
        context=packed.context._replace(weight=packing._pack(packed.layer.attention.output.dense.weight.t()))
    ),
    "a bias missing": lambda packed: packed._replace(wide=packed.wide._replace(bias=None)),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_packing_is_refused_with_the_figure(model, monkeypatch, fault):
    pack = packing._pack_layer
    monkeypatch.setattr(packing, "_pack_layer", lambda layer: FAULTS[fault](pack(layer)))
    with pytest.raises(ValueError, match=r"differs from the ordinary one by \d\.\de[-+]\d\d .* the limit is 1e-05"):
        model.frozen()


def test_another_gelu_is_refused(model, monkeypatch):
    monkeypatch.setitem(packing.FUSED, nn.functional.gelu, ("gelu", [], "tanh"))
    with pytest.raises(ValueError, match="differs"):
        model.frozen()


def test_texts_that_attend_to_each_other_are_refused(model, monkeypatch):
    monkeypatch.setattr(frozen, "_find_runs", lambda lengths: [(1, sum(lengths))])
    with pytest.raises(ValueError, match="differs"):
        model.frozen()


def test_pipelines_run_frozen_with_the_same_results():
    texts = ["She opened the<mask> and went in.", "He<mask>.", "A<mask> one of these, and more."]
    found = pipeline("fill-mask", "roberta-tiny", framework="pt", device="cpu")
    plain = pipeline("fill-mask", found.model.model, framework="pt")
    assert found.model.path.startswith("oneDNN packed")
    for one, other in zip(found(texts), plain(texts), strict=True):
        assert [answer["token"] for answer in one] == [answer["token"] for answer in other]
        assert [answer["score"] for answer in one] == pytest.approx([answer["score"] for answer in other], rel=1e-5)


def double(parameter):
    parameter.data = parameter.data * 2


def step(model):
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    model(torch.tensor([[0, 45, 2]]), labels=torch.tensor([[0, 45, 2]])).loss.backward()
    optimizer.step()


def query(model):
    return model.roberta.encoder.layer[1].attention.self.query


class Adapter(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner, self.out_features = inner, inner.out_features

    def forward(self, x):
        return 2 * self.inner(x)


def replace(model):
    model.roberta.encoder.layer[1].attention.self.query = Adapter(query(model))


def replace_encoder(model):
    model.roberta.encoder = copy.deepcopy(model.roberta.encoder)
    double(query(model).weight)


def patch(model):
    query(model).forward = lambda x: 2 * Linear.forward(query(model), x)


CHANGES = {
    "a replaced .data": (lambda model: double(query(model).weight), "weights were changed"),
    "an optimizer step": (step, "weights were changed"),
    "a write in place": (lambda model: query(model).bias.detach().mul_(2), "weights were changed"),
    "loaded weights": (
        lambda model: model.load_state_dict({name: 2 * value for name, value in model.state_dict().items()}),
        "weights were changed",
    ),
    "assigned weights": (
        lambda model: assign(query(model), [("bias", query(model).bias.detach().numpy() * 2)]),
        "weights were changed",
    ),
    "a replaced module": (replace, "a module of the encoder was changed"),
    "a replaced encoder": (replace_encoder, "the encoder was replaced"),
    "a replaced forward": (patch, "a module of the encoder was changed"),
    "a forward hook": (lambda model: query(model).register_forward_hook(lambda *given: 2 * given[2]), "a hook is reg"),
    "a hook before": (
        lambda model: query(model).register_forward_pre_hook(lambda module, given: (given[0] * 2,)),
        "a hook is registered",
    ),
    "a hook of the body": (
        lambda model: model.roberta.register_forward_hook(lambda *given: None),
        "a hook is registered",
    ),
    "float64": (lambda model: model.double(), "weights were changed"),
    "pruned heads": (lambda model: model.prune_heads({0: [1]}), "weights were changed"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_model_is_called_itself(model, ids, change):
    view = model.frozen()
    function, reason = CHANGES[change]
    with torch.no_grad():
        before = view(ids).logits
    function(model)
    check(view, model, ids, path=f"plain: {reason}")
    with torch.no_grad():
        if change != "a hook of the body":
            assert error(view(ids).logits.float(), before) > 1e-4 or change == "float64"
    view.refresh()
    still = change in ("a replaced module", "a replaced forward", "float64") or "hook" in change
    check(view, model, ids, path="plain" if still else "oneDNN packed")


def test_a_write_through_data_is_seen_by_refresh(model, ids):
    view = model.frozen()
    query(model).weight.data.mul_(2)
    view.refresh()
    check(view, model, ids)


CALLS = {
    "output_attentions": ({"output_attentions": True}, "the call has output_attentions"),
    "head_mask": ({"head_mask": torch.tensor([1.0, 0, 1])}, "the call has head_mask"),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_that_is_not_served_goes_to_the_model(model, ids, name):
    view = model.frozen()
    arguments, reason = CALLS[name]
    check(view, model, ids, path=f"plain: {reason}", **arguments)
    check(view, model, ids)


def test_gradients_go_to_the_model(model, ids):
    view = model.frozen()
    loss = view(ids, labels=ids).loss
    assert view.path.startswith("plain: gradients are enabled")
    loss.backward()
    assert query(model).weight.grad is not None


def test_training_mode_goes_to_the_model_until_it_ends(make, config, ids):
    model = make(RobertaModel, config).train()
    view = model.frozen()
    with torch.no_grad():
        assert not torch.equal(view(ids).last_hidden_state, view(ids).last_hidden_state)
    assert view.path == f"plain: {frozen.TRAINING}"
    check(view, model.eval(), ids)
    model.train()
    with torch.no_grad():
        view(ids)
    assert view.path == f"plain: {frozen.TRAINING}"


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_transformed_calls_go_to_the_model(model, ids):
    view = model.frozen()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert view(ids).logits.dtype == torch.bfloat16
        assert "autocast" in view.path
    with torch.no_grad():
        got = torch.func.vmap(lambda row: view(row[None]).logits[0])(ids)
        assert "transformed" in view.path
        assert error(got, model(ids).logits) <= OF_LOGITS


def user_class():
    class Own(RobertaModel):
        pass

    return Own


MODELS = {
    "a decoder": (RobertaModel, {"is_decoder": True}, {}, "the model is a decoder"),
    "eager attention": (RobertaModel, {}, {"attn_implementation": "eager"}, "attn_implementation is eager"),
    "a user's class": (user_class(), {}, {}, "Own is not a class of roberta_pt"),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_that_cannot_be_packed_is_called_itself(make, config, ids, name):
    kind, fields, settings, reason = MODELS[name]
    given = RobertaConfig.from_dict({**config.to_dict(), **fields})
    model = make(kind, given, **settings)
    check(model.frozen(), model, ids, path=f"plain: {reason}")


def test_other_dtypes_broken_weights_and_patched_classes_are_not_packed(make, config, ids, monkeypatch):
    model = make(RobertaModel, config).bfloat16()
    check(model.frozen(), model, ids, path="plain: encoder.layer.0.attention.self.query.weight is torch.bfloat16")
    model = make(RobertaModel, config)
    nn.init.constant_(model.encoder.layer[0].output.dense.bias, float("nan"))
    assert model.frozen().path == "plain: its outputs are not finite"
    monkeypatch.setattr(SelfAttention, "attend", lambda self, query, key, value, *others: (value, None))
    model = make(RobertaModel, config)
    check(model.frozen(), model, ids, path="plain: SelfAttention.attend was replaced")


def test_the_variable_and_the_cpu_decide_whether_weights_are_packed(monkeypatch):
    def find(vendor):
        monkeypatch.setattr(products, "_read_vendor", lambda: vendor)
        products.find_packing_obstacle.cache_clear()
        products.select_library.cache_clear()
        return products.find_packing_obstacle()

    monkeypatch.delenv(products.VARIABLE, raising=False)
    assert find("AuthenticAMD") is None
    assert "not measured on CPUs of Intel" in str(find("GenuineIntel"))
    monkeypatch.setenv(products.VARIABLE, "onednn")
    assert find("GenuineIntel") is None
    monkeypatch.setenv(products.VARIABLE, "torch")
    assert find("AuthenticAMD") == "ROBERTA_LINEAR is torch"
    monkeypatch.undo()
    products.find_packing_obstacle.cache_clear()
    products.select_library.cache_clear()


def test_copies_and_pickles_pack_again(model, ids):
    view = model.frozen()
    for copied in (copy.deepcopy(view), pickle.loads(pickle.dumps(view))):
        assert copied.model is not model
        check(copied, model, ids)
    assert view.config is model.config  # attributes are the model's
    assert repr(view).startswith("FrozenModel(RobertaForMaskedLM, oneDNN packed")
