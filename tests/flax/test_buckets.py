import jax
import jax.numpy as jnp
import numpy as np
import pytest

import roberta_flax
from roberta_core.data.streams import round_down
from roberta_core.parameters import ARCHITECTURES
from roberta_flax.buckets import LENGTHS, Sizes, measure, round_up

pytestmark = pytest.mark.usefixtures("eager")

CLASSES = {name: getattr(roberta_flax, f"FlaxRoberta{name}") for name in ARCHITECTURES}


def close(got, want, rtol=1e-5):
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=rtol, atol=rtol * float(np.abs(other).max()))


def both(model, **arguments):
    """Return the result of a call, which rounds sizes up, and that of the forward pass with the original sizes."""
    called = model(**arguments)
    options = {name: arguments.pop(name) for name in [*arguments] if name.startswith("output_")}
    cache = arguments.pop("past_key_values", None)
    arrays = {name: jnp.asarray(value) for name, value in arguments.items()}
    return called, model._forward(**arrays, **options, past_key_values=cache) if cache else model._forward(
        **arrays, **options
    )


def test_sizes_are_rounded_to_a_few():
    sizes = (1, 16, 17, 100, 512, 513, 641)
    assert [round_up(size, LENGTHS, 128) for size in sizes] == [16, 16, 24, 128, 512, 640, 768]


def test_a_batch_of_a_stream_is_not_filled_up(make, config):
    model, sizes = make(CLASSES["Model"], config), (1, 3, 8, 9, 32, 33, 65, 100)
    given = [{"input_ids": np.zeros((size, 5), int)} for size in sizes]
    assert [measure(model, inputs)[1].batch for inputs in given] == [1, 4, 8, 16, 32, 64, 96, 128]
    for size in sizes:
        assert measure(model, {"input_ids": np.zeros((round_down(size), 5), int)})[1].batch == round_down(size)


@pytest.mark.parametrize("architecture", ["Model", "ForMultipleChoice", "ForCausalLM"])
def test_rounding_changes_no_output(make, config, ids, architecture):
    ids = np.concatenate([ids, ids[:1, ::-1]])
    inputs = {"input_ids": ids, "attention_mask": ids != 1}
    if architecture == "ForMultipleChoice":
        inputs = {name: np.stack([value, value[:, ::-1]], 1) for name, value in inputs.items()}
    called, plain = both(
        make(CLASSES[architecture], config), **inputs, output_hidden_states=True, output_attentions=True
    )
    assert list(called) == list(plain)
    close(called, plain)


@pytest.mark.parametrize("rank", [2, 3, 4])
def test_even_a_masked_row_does_not_see_the_padding(make, config, ids, rank):
    model = make(CLASSES["Model"], config)
    mask = np.ones((2, *((), (7,), (1, 7))[rank - 2], 7), int)
    mask[1] = 0
    called, plain = both(model, input_ids=ids, attention_mask=mask, output_attentions=True)
    close(called, plain)
    close(called.attentions[0][1], np.full((3, 7, 7), 1 / 7, np.float32))


@pytest.mark.parametrize(
    ("architecture", "reduction"),
    [("ForMaskedLM", "mean"), ("ForCausalLM", "none"), ("ForSequenceClassification", "mean")],
)
def test_rounding_changes_no_loss(make, config, ids, architecture, reduction):
    config.num_labels = 1  # a regression loss includes every row
    ids = np.concatenate([ids, ids[:1, ::-1]])
    labels = np.array([0.5, -2.0, 3.0], np.float32) if architecture == "ForSequenceClassification" else ids
    close(*both(make(CLASSES[architecture], config, loss_reduction=reduction), input_ids=ids, labels=labels))


def test_rounding_does_not_move_the_ends_of_a_span(make, config, ids):
    positions = {"start_positions": np.array([1, 9]), "end_positions": np.array([6, 3])}  # 9 is outside the 7 positions
    close(*both(make(CLASSES["ForQuestionAnswering"], config), input_ids=ids, **positions))


@pytest.mark.parametrize("masked", [False, True])
def test_a_cache_is_rounded_too(make, config, ids, masked):
    config.is_decoder = config.add_cross_attention = True
    model = make(CLASSES["ForCausalLM"], config)
    states = np.random.default_rng(0).standard_normal((2, 5, 12), np.float32)
    ids = ids[:, ::-1]
    mask = {"attention_mask": (ids != 1).astype(int)} if masked else {}
    start = model(ids[:, :5], encoder_hidden_states=states, **{name: value[:, :5] for name, value in mask.items()})
    arguments = {"input_ids": ids[:, 5:], "encoder_hidden_states": states, "past_key_values": start.past_key_values}
    called, plain = both(model, **arguments, **mask, output_attentions=True)
    assert [part.shape for part in called.past_key_values[1]] == [(2, 3, 7, 4)] * 2 + [(2, 3, 5, 4)] * 2
    close(called, plain)


def test_embeddings_do_not_run_out_of_positions(make, config):
    model = make(CLASSES["Model"], config)
    words = np.random.default_rng(0).standard_normal((2, 17, 12), np.float32)
    called, plain = both(model, inputs_embeds=words)
    close(called, plain)


def test_what_is_labelled_keeps_its_batch(make, config, ids):
    model = make(CLASSES["ForMaskedLM"], config)
    ids = np.repeat(ids, 3, axis=0)
    assert measure(model, {"input_ids": ids})[1] == Sizes(8, 1, 16, 0, 0)
    assert measure(model, {"input_ids": ids, "labels": ids})[1] == Sizes(6, 1, 16, 0, 0)
