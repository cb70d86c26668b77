"""msgpack files, compared with Flax."""

import flax.serialization
import flax.traverse_util
import ml_dtypes
import numpy as np
import pytest

from roberta_core.checkpoints import msgpack_file
from roberta_core.checkpoints.atomic import transaction
from roberta_core.checkpoints.mapped import Content
from roberta_core.config import RobertaConfig


def some_tensors():
    generator = np.random.default_rng(0)
    return {
        "body.a.kernel": generator.standard_normal((5, 7), np.float32),
        "body.b.kernel": generator.standard_normal((2, 11), np.float32).T,
        "body.scalar": np.array(2.5, np.float32),
        "half": generator.standard_normal((300, 2), np.float32).astype(ml_dtypes.bfloat16),
        **{f"layer.{number}.bias": np.full(3, number, np.float16) for number in range(20)},
    }


@pytest.fixture(params=[1 << 30, 64], ids=["whole", "in pieces"])
def pieces(request, monkeypatch):
    monkeypatch.setattr(msgpack_file, "MAX_CHUNK", request.param)
    monkeypatch.setattr(flax.serialization, "MAX_CHUNK_SIZE", request.param)


def assert_same(found, expected):
    assert set(found) == set(expected)
    for name, array in expected.items():
        assert found[name].shape == array.shape, name
        assert found[name].dtype == array.dtype, name
        assert np.array_equal(found[name], array), name


@pytest.mark.usefixtures("pieces")
def test_what_flax_writes_is_read(tmp_path):
    tree = flax.traverse_util.unflatten_dict(some_tensors(), sep=".")
    (tmp_path / "flax_model.msgpack").write_bytes(flax.serialization.to_bytes(tree))
    assert_same(msgpack_file.read(tmp_path), some_tensors())


@pytest.mark.usefixtures("pieces")
def test_flax_reads_what_is_written(tmp_path):
    with transaction(tmp_path) as save:
        msgpack_file.stage(save, Content(RobertaConfig(), some_tensors(), {}, {}), 10**9)
    tree = flax.serialization.msgpack_restore((tmp_path / "flax_model.msgpack").read_bytes())
    assert_same(flax.traverse_util.flatten_dict(tree, sep="."), some_tensors())
