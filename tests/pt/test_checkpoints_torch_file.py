"""Files of torch.save, compared with PyTorch."""

import ml_dtypes
import numpy as np
import pytest
import torch

from roberta_core.checkpoints import bin_file, torch_file
from roberta_core.checkpoints.atomic import transaction
from roberta_core.checkpoints.mapped import Content
from roberta_core.config import RobertaConfig


def some_tensors():
    generator = np.random.default_rng(0)
    return {
        "b": generator.standard_normal((5, 7), np.float32),
        "a": generator.standard_normal((2, 3, 4), np.float32).T,
        "c": np.array(2.5, np.float32),
        "d": np.zeros((0, 4), np.float32),
        "e": generator.standard_normal((2, 11), np.float32).astype(ml_dtypes.bfloat16),
        "f": np.arange(13),
    }


@pytest.mark.parametrize("new", [True, False], ids=["zip", "stream"])
@pytest.mark.parametrize("protocol", [2, 4])
def test_what_torch_writes_is_read(tmp_path, new, protocol):
    matrix = torch.arange(20.0).reshape(4, 5)
    state = {"m": matrix, "t": matrix.t(), "s": matrix[1:, 2], "h": matrix.to(torch.bfloat16), "i": torch.tensor(7),
             "p": torch.nn.Parameter(torch.ones(3)), "e": torch.zeros(0, 2)}  # fmt: skip
    torch.save(state, tmp_path / "x", _use_new_zipfile_serialization=new, pickle_protocol=protocol)
    tensors = torch_file.select_tensors(torch_file.read(tmp_path / "x"))
    found = {name: tensor.array() for name, tensor in tensors.items()}
    assert set(found) == set(state)
    for name, tensor in state.items():
        assert found[name].astype(np.float32).tolist() == tensor.detach().float().tolist()


@pytest.mark.parametrize("mmap", [True, False])
def test_torch_reads_what_is_written(tmp_path, mmap):
    with transaction(tmp_path) as save:
        bin_file.stage(save, Content(RobertaConfig(), some_tensors(), {}, {"b again": "b"}), 10**9)
    found = torch.load(tmp_path / "pytorch_model.bin", weights_only=True, mmap=mmap)
    assert found["b again"].data_ptr() == found["b"].data_ptr()
    for name, array in some_tensors().items():
        assert found[name].shape == array.shape
        assert found[name].float().tolist() == array.astype(np.float32).tolist()
