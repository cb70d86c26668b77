import jax
import numpy as np

from roberta_core.outputs import OUTPUTS


def test_a_tree_keeps_fields_that_become_none():
    output = OUTPUTS[0](last_hidden_state=np.zeros(2), pooler_output=np.ones(2))
    structure = jax.tree.structure(output)
    assert structure.unflatten([None, None]).keys() == output.keys()


def test_an_output_passes_through_jit():
    output = OUTPUTS[0](last_hidden_state=np.zeros(2), hidden_states=(np.ones(2), np.ones(3)))
    again = jax.jit(lambda output: output)(output)
    assert type(again) is type(output)
    assert list(again) == list(output)
    assert [state.shape for state in again.hidden_states] == [(2,), (3,)]
