from roberta_pt import RobertaForMaskedLM


def test_a_frozen_part_stays_frozen(make, config):
    model = make(RobertaForMaskedLM, config)
    model.roberta.requires_grad_(False)
    model.resize_token_embeddings(103)
    assert not model.get_input_embeddings().weight.requires_grad
