import torch
from torch.utils import _pytree as pytree

from roberta_core.outputs import OUTPUTS
from roberta_pt import RobertaForMaskedLM


def test_every_output_comes_apart_and_back():
    for kind in OUTPUTS:
        output = kind({name: number for number, name in enumerate(kind.fields[:3])})
        doubled = pytree.tree_map(lambda number: number * 2, output)
        assert type(doubled) is kind
        assert doubled.to_tuple() == (0, 2, 4)


def test_a_model_exports_with_free_sizes(make, config, ids):
    model = make(RobertaForMaskedLM, config)
    sizes = {0: torch.export.Dim("batch", min=1, max=8), 1: torch.export.Dim("sequence", min=2, max=17)}
    exported = torch.export.export(model, (ids, (ids != 1).long()), dynamic_shapes=(sizes, sizes)).module()
    other = torch.cat([ids, ids + 1], dim=1)[:1, :11].clamp(max=100)
    mask = (other != 1).long()
    torch.testing.assert_close(exported(other, mask).logits, model(other, mask).logits, rtol=1e-4, atol=1e-5)
