import pytest

from roberta_core.parameters import ARCHITECTURES, parameters


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("tied", [True, False])
def test_a_model_has_exactly_the_tensors_of_the_table(framework, config, architecture, tied):
    config.tie_word_embeddings = tied
    model = framework.kind(architecture)(config)
    table = {name: parameter.shape for name, parameter in parameters(config, architecture).items()}
    assert {name: value.shape for name, value in framework.tensors(model).items()} == table
    assert framework.own_names(model) == table.keys()  # no state besides the parameters
