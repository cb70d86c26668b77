import numpy as np
import tensorflow as tf

from roberta_core.outputs import OUTPUTS


def test_a_graph_returns_the_output_it_was_given():
    kind = OUTPUTS[0]
    made = tf.function(lambda x: kind(pooler_output=x, last_hidden_state=x + 1, hidden_states=(x, x)))(tf.constant(1.0))
    assert type(made) is kind
    assert list(made) == ["last_hidden_state", "pooler_output", "hidden_states"]
    np.testing.assert_array_equal(made.to_tuple()[:2], [2, 1])
