"""The published methods of PyTorch models beside 4.57.6, on the same weights: the same results."""

import inspect

import pytest

transformers = pytest.importorskip("transformers", reason="runs transformers itself")
torch = pytest.importorskip("torch")
if not transformers.__version__.startswith("4."):
    pytest.skip("written for 4.57.6", allow_module_level=True)

import roberta_pt  # noqa: E402
from roberta_core import RobertaConfig  # noqa: E402

HEADS = ("Model", "ForMaskedLM", "ForCausalLM", "ForSequenceClassification", "ForTokenClassification",
         "ForMultipleChoice", "ForQuestionAnswering")  # fmt: skip
MASK = torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0]])
IDS = torch.tensor([[5, 6, 7, 1], [8, 9, 1, 1]])
LOGITS = torch.linspace(-3, 3, 2 * 4 * 101).view(2, 4, 101)
LABELS = torch.tensor([[5, -100, 7, 9], [3, 4, -100, -100]])


@pytest.fixture(scope="module")
def load(tmp_path_factory):
    """Return `load(architecture, decoder)`: our model and that of transformers, with the same weights."""
    root, found = tmp_path_factory.mktemp("models"), {}

    def load(architecture, decoder=False):
        key = architecture, decoder
        if key not in found:
            config = RobertaConfig(
                vocab_size=101, hidden_size=12, num_hidden_layers=2, num_attention_heads=3, intermediate_size=20,
                max_position_embeddings=19, is_decoder=decoder, num_labels=2,
            )  # fmt: skip
            folder = root / f"{architecture}{decoder}"
            model = getattr(roberta_pt, f"Roberta{architecture}")(config)
            model.save_pretrained(folder)
            found[key] = [
                getattr(one, f"Roberta{architecture}").from_pretrained(folder) for one in (roberta_pt, transformers)
            ]
        return found[key]

    return load


def same(call, pair):
    ours, theirs = (call(model) for model in pair)
    if isinstance(theirs, torch.Tensor):
        torch.testing.assert_close(ours, theirs)
    else:
        assert ours == theirs


CALLS = {
    "extended mask": lambda m: m.get_extended_attention_mask(attention_mask=MASK, input_shape=(2, 4)),
    "extended mask of a dtype": lambda m: m.get_extended_attention_mask(MASK, (2, 4), dtype=torch.float16),
    "extended mask on a device": lambda m: m.get_extended_attention_mask(MASK, (2, 4), device=torch.device("cpu")),
    "extended mask of 3 axes": lambda m: m.get_extended_attention_mask(MASK[:, None].expand(2, 4, 4), (2, 4)),
    "extended mask with a cache": lambda m: m.get_extended_attention_mask(MASK, (2, 2)),
    "decoder mask": lambda m: m.create_extended_attention_mask_for_decoder(
        input_shape=(2, 3), attention_mask=MASK, device=torch.device("cpu")
    ),
    "invert_attention_mask": lambda m: m.invert_attention_mask(encoder_attention_mask=MASK),
    "invert_attention_mask of 3 axes": lambda m: m.invert_attention_mask(MASK[:, None]),
    "get_head_mask": lambda m: m.get_head_mask(head_mask=torch.tensor([1.0, 0, 1]), num_hidden_layers=2),
    "get_head_mask of layers": lambda m: m.get_head_mask(torch.eye(2, 3), 2, is_attention_chunked=True),
    "no head mask": lambda m: m.get_head_mask(None, 2),
    "get_memory_footprint": lambda m: m.get_memory_footprint(return_buffers=False),
    "floating_point_ops": lambda m: [
        m.floating_point_ops(input_dict={"input_ids": IDS}, exclude_embeddings=one) for one in (True, False)
    ],
    "estimate_tokens": lambda m: [m.estimate_tokens(input_dict=one) for one in ({"input_ids": IDS}, {})],
    "get_decoder": lambda m: m.get_decoder() is m,
    "get_parameter_or_buffer": lambda m: m.get_parameter_or_buffer(target="roberta.embeddings.LayerNorm.bias").shape,
    "attributes": lambda m: (
        m.framework, m.main_input_name, m.base_model_prefix, m.is_parallelizable, m.can_record_outputs, m.use_kernels,
        m.tp_plan, m.pp_plan, m.tp_size, m.is_backend_compatible(), m.can_generate(), type(m).can_generate(),
        m.supports_gradient_checkpointing, m.model_tags, m.config_class.model_type, m.base_model is m.roberta,
    ),
    "dummy_inputs": lambda m: ([*m.dummy_inputs], m.dummy_inputs["input_ids"].dtype, m.dummy_inputs["input_ids"].dim()),
    "add_model_tags": lambda m: [(m.add_model_tags(tags=one), list(m.model_tags))[1] for one in ("a", ["b", "a"])],
    "name_or_path": lambda m: m.name_or_path,
    "get_correct_attn_implementation": lambda m: [
        m.get_correct_attn_implementation(requested_attention=one, is_init_check=True)
        for one in (None, "eager", "sdpa")
    ],
    "train": lambda m: [m.train(mode=one).training for one in (True, False)],
    "resize_token_embeddings": lambda m: [
        tuple(m.resize_token_embeddings(new_num_tokens=size, mean_resizing=False).weight.shape) for size in (110, 101)
    ],
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("decoder", [False, True])
def test_a_call_of_a_model_does_the_same(load, name, decoder):
    same(CALLS[name], load("ForCausalLM", decoder))


@pytest.mark.parametrize("architecture", HEADS)
def test_the_classes_describe_themselves_alike(load, architecture):
    same(lambda m: (m.can_generate(), m.base_model is getattr(m, "roberta", m)), load(architecture))
    same(lambda m: m.num_parameters(only_trainable=True, exclude_embeddings=True), load(architecture))


def test_buffers_are_counted_in_the_footprint(load):
    for model in load("Model"):
        buffers = sum(one.nelement() * one.element_size() for one in model.buffers())
        without = model.get_memory_footprint(return_buffers=False)
        assert model.get_memory_footprint(return_buffers=True) == without + buffers


LOSSES = {
    "ForMaskedLM": {"logits": LOGITS, "labels": LABELS, "vocab_size": 101},
    "ForCausalLM": {"logits": LOGITS, "labels": LABELS, "vocab_size": 101, "num_items_in_batch": 3},
    "ForMultipleChoice": {"logits": LOGITS, "labels": LABELS, "vocab_size": 101},
    "ForTokenClassification": {"logits": LOGITS[..., :2], "labels": LABELS.clamp(max=1), "config": None},
    "ForSequenceClassification": {"labels": LABELS[:, 0] % 2, "pooled_logits": LOGITS[:, 0, :2], "config": None},
    "ForQuestionAnswering": {
        "start_logits": LOGITS[:, :, 0], "end_logits": LOGITS[:, :, 50], "start_positions": torch.tensor([1, 2]),
        "end_positions": torch.tensor([3, 9]),
    },
}  # fmt: skip


@pytest.mark.parametrize("architecture", LOSSES)
def test_the_loss_function_of_a_class_is_the_same(load, architecture):
    given = LOSSES[architecture]
    found = []
    for model in load(architecture):
        arguments = {name: model.config if name == "config" else value for name, value in given.items()}
        found.append(model.loss_function(**arguments))
        model.loss_function = len
        assert model.loss_function is len
        del model._loss_function
    torch.testing.assert_close(*found)


def test_parameters_are_drawn_again(load):
    for model in load("ForMaskedLM"):
        weight = model.lm_head.dense.weight
        with torch.no_grad():
            weight.fill_(3)
        model.initialize_weights()
        assert weight.std() < 1
        model.tie_embeddings_and_encoder_decoder()
        assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


def test_embeddings_are_replaced_and_heads_pruned(load):
    table = torch.nn.Embedding(101, 12)
    for model in load("ForTokenClassification"):
        model.set_input_embeddings(value=table)
        assert model.get_input_embeddings() is table
        model.prune_heads(heads_to_prune={-1: [0]})
        assert model.roberta.encoder.layer[1].attention.self.query.weight.shape == (8, 12)
    output = torch.nn.Linear(12, 101)
    for model in load("ForMaskedLM"):
        model.config.tie_word_embeddings = False
        model.set_output_embeddings(new_embeddings=output)
        assert model.get_output_embeddings() is output


def test_attention_is_chosen_for_the_whole_model(load):
    ours, theirs = load("ForQuestionAnswering")
    for name in ("eager", "sdpa"):
        ours.set_attn_implementation(attn_implementation=name)
        theirs.set_attn_implementation(attn_implementation=name)
        torch.testing.assert_close(ours(IDS).start_logits, theirs(IDS).start_logits, rtol=1e-4, atol=1e-5)


def test_padding_without_a_mask_is_reported(load, caplog):
    sentences = []
    for model in load("Model"):
        logger = "roberta_pt.published_methods" if "roberta_pt" in type(model).__module__ else "transformers"
        for ids, mask in ((IDS, MASK), (IDS[:, :1], None), (IDS, None)):
            caplog.clear()
            with caplog.at_level("WARNING", logger=logger):
                type(model).warnings_issued = {}
                model.warn_if_padding_and_no_attention_mask(input_ids=ids, attention_mask=mask)
            if "roberta_pt" in type(model).__module__:
                sentences.append(len(caplog.records))
    assert sentences == [0, 0, 1]


def test_gradient_checkpointing_is_turned_off(load):
    for model in load("ForSequenceClassification"):
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        assert model.is_gradient_checkpointing
        model.gradient_checkpointing_disable()
        assert not model.is_gradient_checkpointing


class Own:
    """What a user's class adds: a layer that `post_init` or `init_weights` initialises."""

    def build(self, config, call, model):
        self.roberta = model
        self.extra = torch.nn.Linear(12, 300)
        torch.nn.init.constant_(self.extra.weight, 7.0)
        getattr(self, call)()


@pytest.mark.parametrize("call", ["post_init", "init_weights"])
def test_the_layers_of_a_users_class_are_initialised(load, call):
    for package, body in ((roberta_pt, roberta_pt.RobertaModel), (transformers.models.roberta.modeling_roberta, None)):
        base = package.RobertaPreTrainedModel
        body = body or package.RobertaModel

        class Classifier(base, Own):
            def __init__(self, config, body=body):
                super().__init__(config)
                self.build(config, call, body(config))

        config = load("Model")[0 if package is roberta_pt else 1].config
        model = Classifier(config=config)
        assert model.extra.weight.std().item() == pytest.approx(0.02, rel=0.1)
        assert "config" in inspect.signature(base.__init__).parameters
