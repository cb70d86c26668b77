from roberta_core.outputs import OUTPUTS


def test_every_output_is_flattened_and_restored(framework):
    for kind in OUTPUTS:
        output = kind({name: number for number, name in enumerate(kind.fields[:3])})
        doubled = framework.map_tree(lambda number: number * 2, output)
        assert type(doubled) is kind
        assert doubled.to_tuple() == tuple(2 * number for number in range(len(output)))
        assert len(output) == 3
