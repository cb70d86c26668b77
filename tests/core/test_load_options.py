import re

import numpy as np
import pytest

from roberta_core import checkpoints
from roberta_core.checkpoints.load_options import UNSUPPORTED, find_stored_dtype, refuse_unsupported
from roberta_core.config import RobertaConfig
from roberta_core.parameters import draw


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_an_unsupported_option_is_refused_with_the_alternative(name):
    with pytest.raises(ValueError, match=re.escape(f"{name}='x' is not supported: {UNSUPPORTED[name]}.")):
        refuse_unsupported({name: "x"})


def test_unsupported_options_that_request_nothing_are_removed():
    arguments = {**dict.fromkeys(UNSUPPORTED), "load_in_8bit": False, "num_labels": 3}
    refuse_unsupported(arguments)
    assert arguments == {"num_labels": 3}


@pytest.mark.parametrize("format", ["safetensors", "bin", "h5", "msgpack", "fairseq"])
def test_the_stored_dtype_is_that_of_the_configuration_else_of_the_weights(tmp_path, format):
    config = RobertaConfig(
        vocab_size=101, hidden_size=12, num_hidden_layers=1, num_attention_heads=3, intermediate_size=20,
        max_position_embeddings=19, type_vocab_size=1, layer_norm_eps=1e-5,
    )  # fmt: skip
    tensors = {name: array.astype(np.float16) for name, array in draw(config, "ForMaskedLM", 0)}
    checkpoints.save(tmp_path, config, "ForMaskedLM", tensors, format=format)
    assert find_stored_dtype(tmp_path, config) == "float16"
    config.dtype = "float64"
    assert find_stored_dtype(tmp_path, config) == "float64"
