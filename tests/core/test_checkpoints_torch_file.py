import io
import os
import pickle
import struct
import zipfile

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from roberta_core.checkpoints import CheckpointError, bin_file, torch_file
from roberta_core.checkpoints.atomic import transaction
from roberta_core.checkpoints.mapped import Content
from roberta_core.config import RobertaConfig

DTYPES = [
    np.float64,
    np.float32,
    np.float16,
    ml_dtypes.bfloat16,
    np.int64,
    np.int32,
    np.int16,
    np.int8,
    np.uint8,
    np.bool_,
]


def some_tensors():
    generator = np.random.default_rng(0)
    return {
        "b": generator.standard_normal((5, 7), np.float32),
        "a": generator.standard_normal((2, 3, 4), np.float32).T,
        "c": np.array(2.5, np.float32),
        "d": np.zeros((0, 4), np.float32),
        "e": generator.standard_normal((2, 11), np.float32).astype(ml_dtypes.bfloat16),
        "f": np.arange(13, dtype=">i4"),
    }


def write(folder, tensors, limit=10**9, same=None):
    with transaction(folder) as save:
        bin_file.stage(save, Content(RobertaConfig(), tensors, {}, same or {}), limit)
    return folder


def assert_same(found, expected):
    assert set(found) == set(expected)
    for name, array in expected.items():
        assert found[name].shape == array.shape, name
        assert found[name].dtype == array.dtype.newbyteorder("<") or found[name].dtype == array.dtype, name
        assert np.array_equal(found[name], array), name


def build_storages(*names):
    """Build the records of a file of torch.save with one float32 storage per tensor."""
    return {f"archive/data/{i}": np.full(6, i, "<f4").tobytes() for i in range(len(names))}


CALL = b"ctorch._utils\n_rebuild_tensor_v2\n"
STORAGE = b"((X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\x000X\3\0\0\0cpuK\6tQ"


def build_pickle(*, storage=STORAGE, offset=b"K\0", shape=b"K\2K\3\x86", strides=b"K\3K\1\x86", rest=b"\x89}tR"):
    """Build a pickled state dict with the tensor `x`."""
    return b"\x80\x02}X\1\0\0\0x" + CALL + storage + offset + shape + strides + rest + b"s."


def build_zip(records, **options):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", **options) as archive:
        for name, content in records.items():
            archive.writestr(name, content)
    return stream.getvalue()


def build_archive(pickle=None, **more):
    return build_zip({"archive/data.pkl": pickle or build_pickle(), **build_storages("x"), **more})


def build_legacy(pickle=None, keys=("0",), count=6, magic=torch_file.LEGACY_MAGIC, version=1001, **system):
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}, **system}
    body = (pickle or build_pickle()).replace(b"K\6tQ", b"K\6NtQ").replace(b"K\5tQ", b"K\5NtQ")
    parts = [dump(magic), dump(version), dump(system), body, dump(list(keys))]
    return b"".join(parts) + struct.pack("<q", count) + np.zeros(6, "<f4").tobytes()


def dump(value):
    return pickle.dumps(value, 2)


def put(folder, content):
    (folder / "pytorch_model.bin").write_bytes(content)
    return folder / "pytorch_model.bin"


def list_tensors(path):
    return {name: tensor.array() for name, tensor in torch_file.select_tensors(torch_file.read(path)).items()}


@pytest.mark.parametrize("content", [build_archive(), build_legacy()], ids=["zip", "stream"])
def test_both_containers_are_read(tmp_path, content):
    assert_same(list_tensors(put(tmp_path, content)), {"x": np.zeros((2, 3), np.float32)})


@pytest.mark.parametrize("limit", [10**9, 150])
def test_a_written_file_is_read(tmp_path, limit):
    write(tmp_path, some_tensors(), limit)
    assert len(os.listdir(tmp_path)) == (1 if limit == 10**9 else 4)
    assert_same(bin_file.read(tmp_path), some_tensors())


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_is_preserved(tmp_path, dtype):
    tensors = {"x": np.arange(6).astype(dtype).reshape(2, 3)}
    assert_same(bin_file.read(write(tmp_path, tensors)), tensors)


@pytest.mark.parametrize("dtype", [np.complex64, np.uint64, "O"])
def test_a_dtype_that_the_format_does_not_support_is_refused(tmp_path, dtype):
    with pytest.raises(CheckpointError, match="which a PyTorch file cannot store"):
        write(tmp_path, {"x": np.zeros(3, dtype)})
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("limit", [10**9, 150])
def test_aliases_share_the_bytes_of_the_first_name(tmp_path, limit):
    write(tmp_path, some_tensors(), limit, {"b again": "b"})
    found = bin_file.read(tmp_path)
    assert_same(found, {**some_tensors(), "b again": some_tensors()["b"]})
    assert np.shares_memory(found["b"], found["b again"])


def test_written_tensors_are_aligned_and_mapped(tmp_path):
    found = bin_file.read(write(tmp_path, some_tensors()))
    before = (tmp_path / "pytorch_model.bin").read_bytes()
    for array in found.values():
        assert not array.size or array.ctypes.data % 64 == 0
        array[...] = 1
    assert (tmp_path / "pytorch_model.bin").read_bytes() == before


def test_a_large_record_is_written_with_64_bit_sizes(tmp_path, monkeypatch):
    monkeypatch.setattr("roberta_core.checkpoints.torch_writer.LARGE", 100)
    write(tmp_path, some_tensors())
    assert_same(bin_file.read(tmp_path), some_tensors())
    for array in bin_file.read(tmp_path).values():
        assert not array.size or array.ctypes.data % 64 == 0


def test_entries_that_are_not_tensors_are_skipped(tmp_path):
    content = b"\x80\x02}(X\7\0\0\0versionK\3X\1\0\0\0x" + build_pickle()[9:-2] + b"u."
    assert list(list_tensors(put(tmp_path, build_archive(content)))) == ["x"]


def test_a_slice_and_a_transposed_matrix_keep_their_strides(tmp_path):
    content = build_pickle(offset=b"K\1", shape=b"K\2K\2\x86", strides=b"K\1K\2\x86")
    (array,) = list_tensors(
        put(tmp_path, build_archive(content, **{"archive/data/0": np.arange(6, dtype="<f4").tobytes()}))
    ).values()
    assert array.tolist() == [[1, 3], [2, 4]]


BROKEN = {
    "empty": b"",
    "a safetensors file": b"\2\0\0\0\0\0\0\0{}",
    "no zip": b"PK\3\4" + b"\0" * 100,
    "no pickle": build_zip({"archive/data/0": b""}),
    "two pickles": build_archive(**{"other/data.pkl": b"N."}),
    "compressed": build_zip(
        {"archive/data.pkl": build_pickle(), **build_storages("x")}, compression=zipfile.ZIP_DEFLATED
    ),
    "a zip bomb": build_zip({"archive/data.pkl": b"\0" * 10**7}, compression=zipfile.ZIP_DEFLATED),
    "big-endian": build_archive(**{"archive/byteorder": b"big"}),
    "no storage record": build_zip({"archive/data.pkl": build_pickle()}),
    "a short storage": build_archive(**{"archive/data/0": b"\0" * 23}),
    "larger than its storage": build_archive(build_pickle(shape=b"K\2K\4\x86")),
    "behind its storage": build_archive(build_pickle(offset=b"K\1")),
    "terabytes": build_archive(build_pickle(shape=b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86", strides=b"K\0K\0\x86")),
    "repeated numbers": build_archive(build_pickle(shape=b"K\7K\3\x86", strides=b"K\0K\1\x86")),
    "negative offset": build_archive(build_pickle(offset=b"J\xff\xff\xff\xff")),
    "negative stride": build_archive(build_pickle(strides=b"J\xfd\xff\xff\xffK\1\x86")),
    "negative size": build_archive(build_pickle(shape=b"J\xfe\xff\xff\xffK\3\x86")),
    "another rank": build_archive(build_pickle(strides=b"K\1\x85")),
    "no strides": build_archive(build_pickle(strides=b"N")),
    "a size that is a text": build_archive(build_pickle(shape=b"X\1\0\0\0aK\3\x86")),
    "a storage that is a text": build_archive(build_pickle(storage=b"(X\1\0\0\0a")),
    "another kind outside": build_archive(build_pickle(storage=STORAGE.replace(b"storage", b"storagf"))),
    "a storage of no class": build_archive(
        build_pickle(storage=STORAGE.replace(b"ctorch\nFloatStorage\n", b"X\1\0\0\0a"))
    ),
    "a storage of a foreign class": build_archive(
        build_pickle(storage=STORAGE.replace(b"FloatStorage", b"EvilStorage"))
    ),
    "a storage key with a path": build_archive(
        build_pickle(storage=STORAGE.replace(b"X\1\0\0\x000", b"X\7\0\0\0../../a"))
    ),
    "not a dict": build_archive(b"\x80\x02]."),
    "a call": build_archive(b"\x80\x02cos\nsystem\nX\5\0\0\0false\x85R."),
    "wrong magic": build_legacy(magic=7),
    "wrong version": build_legacy(version=1002),
    "a big-endian stream": build_legacy(little_endian=False),
    "another list of storages": build_legacy(keys=("1",)),
    "a storage too many": build_legacy(keys=("0", "1")),
    "a storage twice": build_legacy(keys=("0", "0")),
    "another count": build_legacy(count=5),
    "a cut-off stream": build_legacy()[:-1],
    "a call in a stream": build_legacy(b"\x80\x02cos\nsystem\nX\5\0\0\0false\x85R."),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_or_hostile_file_is_refused_in_one_sentence(tmp_path, case):
    path = put(tmp_path, BROKEN[case])
    with pytest.raises(CheckpointError) as caught:
        torch_file.select_tensors(torch_file.read(path))
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 300 + len(str(tmp_path))


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("compressed", "compressed or encrypted"),
        ("a zip bomb", "compressed or encrypted"),
        ("a call", r"it names os\.system"),
        ("a storage of a foreign class", r"it names torch\.EvilStorage"),
        ("terabytes", "no valid shape"),
        ("repeated numbers", "larger than its storage"),
        ("big-endian", "big-endian"),
    ],
)
def test_the_reason_is_reported(tmp_path, case, reason):
    with pytest.raises(CheckpointError, match=reason):
        torch_file.read(put(tmp_path, BROKEN[case]))


def test_a_duplicate_record_is_refused(tmp_path):
    stream = io.BytesIO(build_archive())
    with zipfile.ZipFile(stream, "a") as twice, pytest.warns(UserWarning, match="Duplicate name"):
        twice.writestr("archive/data/0", b"\0" * 24)
    with pytest.raises(CheckpointError, match="a record occurs twice"):
        torch_file.read(put(tmp_path, stream.getvalue()))


def test_sizes_and_offsets_of_64_bits_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 10)
    content = build_archive()
    assert b"PK\6\6" in content  # the 64-bit end record
    assert_same(list_tensors(put(tmp_path, content)), {"x": np.zeros((2, 3), np.float32)})


@pytest.mark.parametrize("make", [build_archive, build_legacy], ids=["zip", "stream"])
def test_a_storage_with_two_definitions_is_refused(tmp_path, make):
    first = build_pickle()[3:-2]  # the name and the tensor
    second = first.replace(b"X\1\0\0\0x", b"X\1\0\0\0y", 1).replace(b"K\6tQ", b"K\5tQ")
    second = second.replace(b"K\2K\3\x86", b"K\1K\3\x86")
    with pytest.raises(CheckpointError, match="one storage in two ways"):
        torch_file.read(put(tmp_path, make(b"\x80\x02}(" + first + second + b"u.")))


@pytest.mark.parametrize("content", [build_archive(), build_legacy()], ids=["zip", "stream"])
def test_every_truncation_is_refused(tmp_path, content):
    for length in range(len(content)):
        with pytest.raises(CheckpointError):
            torch_file.read(put(tmp_path, content[:length]))


@settings(max_examples=300, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_mutated_file_is_read_or_refused(tmp_path, data):
    content = bytearray(data.draw(st.sampled_from([build_archive(), build_legacy()])))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
        content = content or bytearray(1)
    try:
        found = list_tensors(put(tmp_path, bytes(content)))
    except CheckpointError:
        return
    assert all(array.nbytes <= len(content) for array in found.values())


def test_a_too_large_directory_of_the_zip_file_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("roberta_core.checkpoints.zip_file.MAX_DIRECTORY", 50)
    with pytest.raises(CheckpointError, match="its directory"):
        torch_file.read(put(tmp_path, build_archive()))


@pytest.mark.parametrize(
    ("shape", "strides", "reason"),
    [
        (b"K\0\x8a\x09" + bytes(8) + b"\1\x86", b"K\1K\1\x86", "no valid shape"),  # [0, 2^64]
        (b"K\0\x85", b"\x8a\x20" + bytes(31) + b"\1\x85", "no valid strides"),
        (b"(" + b"K\1" * 9 + b"t", b"(" + b"K\1" * 9 + b"t", "no valid shape"),
    ],
)
def test_an_impossible_shape_is_refused_before_numpy_is_called(tmp_path, shape, strides, reason):
    with pytest.raises(CheckpointError, match=reason):
        torch_file.read(put(tmp_path, build_archive(build_pickle(shape=shape, strides=strides))))
