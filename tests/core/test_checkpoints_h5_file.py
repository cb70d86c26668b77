import os

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from roberta_core.checkpoints import CheckpointError, h5_file
from roberta_core.checkpoints.atomic import transaction
from roberta_core.checkpoints.mapped import Content
from roberta_core.config import RobertaConfig

h5py = pytest.importorskip("h5py", reason="tf_model.h5 needs h5py")
pytest.importorskip("pyfive", reason="tf_model.h5 needs pyfive")

NAME = "roberta/encoder/layer_._0/output/dense/kernel:0"


def some_tensors():
    generator = np.random.default_rng(0)
    return {
        NAME: generator.standard_normal((50, 7), np.float32),
        "roberta/embeddings/LayerNorm/gamma:0": generator.standard_normal((2, 11), np.float32).T,
        "roberta/half:0": generator.standard_normal((300, 2)).astype(np.float16),
        "roberta/empty:0": np.zeros((0, 4), np.float32),
        "lm_head/bias:0": np.arange(13, dtype=np.float64),
        "lm_head/scalar:0": np.array(2.5, np.float32),
    }


def write(folder, tensors, limit=10**9):
    with transaction(folder) as save:
        h5_file.stage(save, Content(RobertaConfig(), tensors, {}, {}), limit)
    return folder


@pytest.fixture
def file(tmp_path):
    """Return an open tf_model.h5 that tests fill."""
    with h5py.File(tmp_path / "tf_model.h5", "w") as file:
        yield file


def assert_same(found, expected):
    assert set(found) == set(expected)
    for name, array in expected.items():
        assert found[name].shape == array.shape, name
        assert found[name].dtype == array.dtype, name
        assert np.array_equal(found[name], array), name


@pytest.mark.parametrize("limit", [10**9, 1000])
def test_a_written_file_is_read(tmp_path, limit):
    write(tmp_path, some_tensors(), limit)
    assert len(os.listdir(tmp_path)) == (1 if limit == 10**9 else 4)
    assert_same(h5_file.read(tmp_path), some_tensors())


def test_a_single_file_has_the_groups_and_attributes_that_keras_expects(tmp_path):
    with h5py.File(write(tmp_path, some_tensors()) / "tf_model.h5") as file:
        assert list(file.attrs["layer_names"]) == ["lm_head", "roberta"]
        for layer in file.attrs["layer_names"]:
            for name in file[layer].attrs["weight_names"]:
                assert np.array_equal(file[layer][name], some_tensors()[name.partition("/")[2]])


def test_the_embeddings_are_also_in_the_head_and_stored_once(tmp_path):
    name = "roberta/embeddings/word_embeddings/weight:0"
    table = np.arange(20_000, dtype=np.float32).reshape(100, 200)
    write(tmp_path, {name: table, "lm_head/bias:0": np.zeros(100, np.float32)})
    with h5py.File(tmp_path / "tf_model.h5") as file:
        assert f"tf_roberta/{name}" in list(file["lm_head"].attrs["weight_names"])
        assert file[f"lm_head/tf_roberta/{name}"] == file[f"roberta/tf_roberta/{name}"]
    assert (tmp_path / "tf_model.h5").stat().st_size < 1.5 * table.nbytes
    assert np.array_equal(h5_file.read(tmp_path)[name], table)


def test_a_shard_has_neither_layer_groups_nor_a_model_name(tmp_path):
    write(tmp_path, some_tensors(), 1000)
    names = []
    for shard in sorted(path for path in os.listdir(tmp_path) if path.endswith(".h5")):
        with h5py.File(tmp_path / shard) as file:
            names += [name for name in file.attrs["layer_names"] if isinstance(file[name], h5py.Dataset)]
    assert sorted(names) == sorted(some_tensors())


def test_arrays_are_mapped_and_aligned(tmp_path):
    found = h5_file.read(write(tmp_path, some_tensors()))
    before = (tmp_path / "tf_model.h5").read_bytes()
    array = found[NAME]
    assert not array.flags.owndata
    assert array.ctypes.data % 64 == 0
    array[...] = 1
    assert (tmp_path / "tf_model.h5").read_bytes() == before


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, np.complex64, np.bool_])
def test_a_dtype_that_h5_does_not_support_is_refused(tmp_path, dtype):
    with pytest.raises(CheckpointError, match="which cannot be written to h5"):
        write(tmp_path, {"roberta/x:0": np.zeros(3, dtype)})
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("model", ["tf_roberta_for_masked_lm", "tf_roberta_for_masked_lm_7", "mine"])
def test_any_name_of_the_model_is_removed_from_the_keys(tmp_path, file, model):
    file[f"lm_head/{model}/lm_head/bias:0"] = np.arange(3.0)
    file[f"lm_head/{model}/{NAME}"] = np.ones(2)
    file[f"roberta/{model}/{NAME}"] = np.ones(2)
    file.create_group("dropout_47")
    file.close()
    assert_same(h5_file.read(tmp_path), {"lm_head/bias:0": np.arange(3.0), NAME: np.ones(2)})


def test_a_tensor_stored_twice_with_different_values_is_refused(tmp_path, file):
    file[f"lm_head/m/{NAME}"] = np.ones(2)
    file[f"roberta/m/{NAME}"] = np.zeros(2)
    file.close()
    with pytest.raises(CheckpointError, match="two different tensors"):
        h5_file.read(tmp_path)


def virtual(file):
    layout = h5py.VirtualLayout((5,), "f4")
    layout[:] = h5py.VirtualSource("/tmp/other.h5", "x", (5,))
    file.create_virtual_dataset("x", layout)


def deep(file):
    file["/".join("x" * 40)] = np.ones(2)


ODD = {
    "a link to another file": lambda file: file.update(x=h5py.ExternalLink("/tmp/other.h5", "/x")),
    "values in another file": lambda file: file.create_dataset("x", (5,), "f4", external=[("/etc/hostname", 0, 20)]),
    "a view of another file": virtual,
    "a link to itself": lambda file: file.update(x=h5py.SoftLink("/")),
    "deep groups": deep,
    "chunks": lambda file: file.create_dataset("x", data=np.ones(5), chunks=(2,)),
    "a compressed bomb": lambda file: file.create_dataset(
        "x", data=np.zeros(10**6), chunks=(10**6,), compression="gzip"
    ),
    "a checksum": lambda file: file.create_dataset("x", data=np.ones(5), fletcher32=True),
    "values that were never written": lambda file: file.create_dataset("x", (10**9, 10**9), "f4"),
    "texts": lambda file: file.update(x="text"),
    "references": lambda file: file.update(x=np.array([file.ref], h5py.ref_dtype)),
    "records": lambda file: file.update(x=np.zeros(3, [("a", "f4"), ("b", "f4")])),
    "complex numbers": lambda file: file.update(x=np.zeros(3, np.complex64)),
}


@pytest.mark.parametrize("case", ODD)
def test_datasets_that_are_not_plain_arrays_are_refused(tmp_path, file, case):
    ODD[case](file)
    file.close()
    with pytest.raises(CheckpointError, match="not a readable TensorFlow file") as caught:
        h5_file.read(tmp_path)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 300 + len(str(tmp_path))


@pytest.mark.parametrize("case", ["a view of another file", "chunks", "a compressed bomb", "a checksum", "texts"])
def test_the_reason_is_reported(tmp_path, file, case):
    ODD[case](file)
    file.close()
    with pytest.raises(CheckpointError, match="x is not a contiguous dataset of numbers"):
        h5_file.read(tmp_path)


def test_too_many_entries_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(h5_file, "MAX_ENTRIES", 5)
    with pytest.raises(CheckpointError, match="more than 5 entries"):
        h5_file.read(write(tmp_path, some_tensors()))


@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n", b"\0" * 4096, b"PK\3\4" * 100])
def test_a_file_that_is_not_h5_is_refused(tmp_path, content):
    (tmp_path / "tf_model.h5").write_bytes(content)
    with pytest.raises(CheckpointError, match="not a readable TensorFlow file"):
        h5_file.read(tmp_path)


def test_a_truncated_file_is_refused_or_whole(tmp_path):
    content = (write(tmp_path, some_tensors()) / "tf_model.h5").read_bytes()
    refused = 0
    for length in range(0, len(content), 97):
        (tmp_path / "tf_model.h5").write_bytes(content[:length])
        try:
            assert_same(h5_file.read(tmp_path), some_tensors())  # the removed bytes were not needed
        except CheckpointError:
            refused += 1
    assert refused > 100


@settings(max_examples=150, deadline=5000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_mutated_file_is_read_or_refused(tmp_path, data):
    original = tmp_path / "original"
    if not original.exists():
        original.write_bytes((write(tmp_path, some_tensors()) / "tf_model.h5").read_bytes())
    content = bytearray(original.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    (tmp_path / "tf_model.h5").write_bytes(content)
    try:
        found = h5_file.read(tmp_path)
    except CheckpointError:
        return
    assert all(array.nbytes <= len(content) for array in found.values())
