import torch

from roberta_pt import RobertaForMaskedLM


def test_a_model_exports_with_free_sizes(make, config, ids):
    model = make(RobertaForMaskedLM, config)
    sizes = {0: torch.export.Dim("batch", min=1, max=8), 1: torch.export.Dim("sequence", min=2, max=17)}
    exported = torch.export.export(model, (ids, (ids != 1).long()), dynamic_shapes=(sizes, sizes)).module()
    other = torch.cat([ids, ids + 1], dim=1)[:1, :11].clamp(max=100)
    mask = (other != 1).long()
    torch.testing.assert_close(exported(other, mask).logits, model(other, mask).logits, rtol=1e-4, atol=1e-5)
