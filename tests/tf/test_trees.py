import numpy as np
import tensorflow as tf

from roberta_core.outputs import OUTPUTS, KeyValueCache


def test_a_graph_returns_the_output_it_was_given():
    kind = OUTPUTS[0]
    made = tf.function(lambda x: kind(pooler_output=x, last_hidden_state=x + 1, hidden_states=(x, x)))(tf.constant(1.0))
    assert type(made) is kind
    assert list(made) == ["last_hidden_state", "pooler_output", "hidden_states"]
    np.testing.assert_array_equal(made.to_tuple()[:2], [2, 1])


def test_a_cache_keeps_its_real_tokens_in_nest_and_in_a_graph():
    cache = KeyValueCache(((tf.ones(2), tf.zeros(2)),), tf.constant([3]))
    mapped = tf.nest.map_structure(lambda part: part + 1, cache)
    assert (type(mapped), mapped.real.numpy().tolist()) == (KeyValueCache, [4])

    @tf.function
    def step(cache):
        return {"past_key_values": KeyValueCache(tuple(cache), cache.real + 1)}

    one = step(cache)["past_key_values"]
    two = step(one)["past_key_values"]
    assert [made.real.numpy().tolist() for made in (one, two)] == [[4], [5]]
    assert step.experimental_get_tracing_count() == 1
