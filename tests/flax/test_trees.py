import jax
import numpy as np

from roberta_core.outputs import OUTPUTS


def test_every_output_comes_apart_and_back():
    for kind in OUTPUTS:
        output = kind({name: number for number, name in enumerate(kind.fields[:3])})
        doubled = jax.tree.map(lambda number: number * 2, output)
        assert type(doubled) is kind
        assert doubled.to_tuple() == (0, 2, 4)
        paths = [jax.tree_util.keystr(path, simple=True) for path, _ in jax.tree_util.tree_leaves_with_path(output)]
        assert paths == list(kind.fields[:3])


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
