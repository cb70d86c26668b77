import keras
import numpy as np
import tensorflow as tf

from roberta_core.outputs import OUTPUTS


def test_every_output_comes_apart_and_back():
    for kind in OUTPUTS:
        output = kind({name: number for number, name in enumerate(kind.fields[:3])})
        for tree in (keras.tree, tf.nest):
            doubled = tree.map_structure(lambda number: number * 2, output)
            assert type(doubled) is kind
            assert doubled.to_tuple() == tuple(2 * number for number in range(len(output)))


def test_a_graph_returns_the_output_it_was_given():
    kind = OUTPUTS[0]
    made = tf.function(lambda x: kind(pooler_output=x, last_hidden_state=x + 1, hidden_states=(x, x)))(tf.constant(1.0))
    assert type(made) is kind
    assert list(made) == ["last_hidden_state", "pooler_output", "hidden_states"]
    np.testing.assert_array_equal(made.to_tuple()[:2], [2, 1])
