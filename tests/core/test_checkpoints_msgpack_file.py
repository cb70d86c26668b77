import os
import struct

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from roberta_core.checkpoints import CheckpointError, msgpack_file
from roberta_core.checkpoints.atomic import transaction
from roberta_core.checkpoints.mapped import Content
from roberta_core.config import RobertaConfig


def some_tensors():
    """Return nested tensors with different sizes and more than fifteen entries in one map."""
    generator = np.random.default_rng(0)
    many = {f"layer.{number}.bias": np.full(3, number, np.float16) for number in range(20)}
    return {
        "body.a.kernel": generator.standard_normal((5, 7), np.float32),
        "body.b.kernel": generator.standard_normal((2, 11), np.float32).T,
        "body.scalar": np.array(2.5, np.float64),
        "body.empty": np.zeros((0, 4), np.float32),
        "half": generator.standard_normal((300, 2), np.float32).astype(ml_dtypes.bfloat16),
        "long": np.arange(70_000),
        **many,
    }


def write(folder, tensors, limit=10**9):
    with transaction(folder) as save:
        msgpack_file.stage(save, Content(RobertaConfig(), tensors, {}, {}), limit)
    return folder


def put(folder, content):
    (folder / "flax_model.msgpack").write_bytes(content)
    return folder


def assert_same(found, expected):
    assert set(found) == set(expected)
    for name, array in expected.items():
        assert found[name].shape == array.shape, name
        assert found[name].dtype == array.dtype, name
        assert np.array_equal(found[name], array), name


@pytest.mark.parametrize("limit", [10**9, 1000])
def test_a_written_file_is_read(tmp_path, limit):
    write(tmp_path, some_tensors(), limit)
    assert len(os.listdir(tmp_path)) == (1 if limit == 10**9 else 5)
    assert_same(msgpack_file.read(tmp_path), some_tensors())


def test_an_array_of_more_than_a_gigabyte_is_written_in_pieces_and_read_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(msgpack_file, "MAX_CHUNK", 700)
    write(tmp_path, some_tensors())
    assert b"__msgpack_chunked_array__" in (tmp_path / "flax_model.msgpack").read_bytes()
    assert_same(msgpack_file.read(tmp_path), some_tensors())


def test_arrays_are_mapped_and_writing_to_them_does_not_change_the_file(tmp_path):
    found = msgpack_file.read(write(tmp_path, some_tensors()))
    before = (tmp_path / "flax_model.msgpack").read_bytes()
    array = found["body.a.kernel"]
    assert not array.flags.owndata
    array[...] = 1
    assert (tmp_path / "flax_model.msgpack").read_bytes() == before


def test_a_dtype_that_weights_cannot_have_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="which cannot be written to msgpack"):
        write(tmp_path, {"x": np.zeros(3, np.complex64)})
    assert os.listdir(tmp_path) == []


def test_big_endian_values_are_written_by_value(tmp_path):
    write(tmp_path, {"x": np.arange(5, dtype=">f4")})
    assert msgpack_file.read(tmp_path)["x"].tolist() == [0, 1, 2, 3, 4]


def text(value):
    return bytes([0xA0 + len(value)]) + value.encode()


def array(shape=b"\x92\2\3", name="float32", data=b"\0" * 24, head=b"\x93", size=None, kind=1):
    inner = head + shape + text(name) + b"\xc4" + bytes([len(data)]) + data
    return b"\xc7" + bytes([len(inner) if size is None else size, kind]) + inner


FOUR = array(b"\x91\4", data=b"\0" * 16)


def pieces(first="shape", shape=b"\x82\xa10\2\xa11\3", chunks=None, second="chunks"):
    chunks = chunks or b"\x82\xa10" + FOUR + b"\xa11" + array(b"\x91\2", data=b"\0" * 8)
    return b"\x83\xb9__msgpack_chunked_array__\xc3" + text(first) + shape + text(second) + chunks


def file(value):
    return b"\x81\xa1x" + value


def test_the_files_built_by_hand_are_valid(tmp_path):
    for value in (array(), pieces()):
        assert_same(msgpack_file.read(put(tmp_path, file(value))), {"x": np.zeros((2, 3), np.float32)})
    numbers = b"\x85\xa1a\x07\xa1b\xcb" + b"\0" * 8 + b"\xa1c\xc0\xa1d\xa2no\xa1x" + array()
    assert list(msgpack_file.read(put(tmp_path, numbers))) == ["x"]


BROKEN = {
    "empty": b"",
    "no map": b"\x91\1",
    "no array": file(b"\x91\1"),
    "an unknown byte": file(b"\xc1"),
    "another extension": file(array(kind=2)),
    "a key that is no text": b"\x81\1" + array(),
    "a key twice": b"\x82\xa1x" + array() + b"\xa1x" + array(),
    "a key that is no UTF-8": b"\x81\xa1\xff" + array(),
    "a long key": b"\x81\xda\xff\xff" + b"x" * 65_535 + array(),
    "deep maps": b"\x81\xa1x" * 100_000 + array(),
    "a map of terabytes": b"\xdf\xff\xff\xff\xff" + b"\xa1x\1" * 10,
    "a large array": file(array(b"\x92\xce\xff\xff\xff\xff\xce\xff\xff\xff\xff")),
    "a larger array": file(array(b"\x92\xcf" + b"\xff" * 8 + b"\3")),
    "another size": file(array(b"\x92\2\4")),
    "a negative size": file(array(b"\x92\xfe\xfd")),
    "a size that is no number": file(array(b"\x92\xc0\3")),
    "a fraction for a size": file(array(b"\x92\xcb" + struct.pack(">d", 2) + b"\3")),
    "too many sizes": file(array(b"\x9f" + b"\1" * 15)),
    "an unknown dtype": file(array(name="object")),
    "a dtype that numpy would take": file(array(name="V4", data=b"\0" * 24)),
    "four parts": file(array(head=b"\x94")),
    "a longer extension": file(array(size=200)),
    "a shorter extension": file(array(size=20)),
    "something behind": file(array()) + b"\0",
    "pieces without a shape": file(pieces("shap")),
    "pieces without pieces": file(pieces(second="chunk")),
    "pieces of another size": file(pieces(shape=b"\x82\xa10\2\xa11\4")),
    "two dtypes": file(pieces(chunks=b"\x82\xa10" + FOUR + b"\xa11" + array(b"\x91\2", "float16", b"\0" * 4))),
    "pieces in another order": file(pieces(chunks=b"\x81\xa11" + array(b"\x91\6"))),
    "no pieces": file(pieces(shape=b"\x80", chunks=b"\x80")),
    "very many pieces": file(pieces(shape=b"\xdf\xff\xff\xff\xff")),
    "pieces of a negative shape": file(pieces(shape=b"\x82\xa10\xfe\xa11\xfd")),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_refused_in_one_sentence(tmp_path, case):
    with pytest.raises(CheckpointError, match="not a readable Flax file") as caught:
        msgpack_file.read(put(tmp_path, BROKEN[case]))
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 300 + len(str(tmp_path))


def test_too_many_entries_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(msgpack_file, "MAX_ENTRIES", 20)
    with pytest.raises(CheckpointError, match="more than 20 in all"):
        msgpack_file.read(write(tmp_path, some_tensors()))


def test_too_many_pieces_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(msgpack_file, "MAX_CHUNKS", 1)
    with pytest.raises(CheckpointError, match="more than 1 chunks"):
        msgpack_file.read(put(tmp_path, file(pieces())))


@pytest.mark.parametrize("value", [array(), pieces()], ids=["array", "pieces"])
def test_every_truncation_is_refused(tmp_path, value):
    for length in range(len(file(value))):
        with pytest.raises(CheckpointError):
            msgpack_file.read(put(tmp_path, file(value)[:length]))


@settings(max_examples=300, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_mutated_file_is_read_or_refused(tmp_path, data):
    content = bytearray(b"\x82\xa1x" + array() + b"\xa1y" + pieces())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
        content = content or bytearray(1)
    try:
        found = msgpack_file.read(put(tmp_path, bytes(content)))
    except CheckpointError:
        return
    assert sum(array.nbytes for array in found.values()) <= len(content)


HUGE_SHAPES = {
    "a fraction": (b"\xca\x3f\x80\0\0", b"\x01"),
    "a truth value": (b"\xc3", b"\x01"),
    "a negative size": (b"\xff", b"\xff"),
    "an empty array with a size of 2^63": (b"\0", b"\xcf\x80" + bytes(7)),
    "an empty array of 2^80 elements": (b"\0", *(b"\xce\0\x0f\xff\xff",) * 4),
}


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("case", HUGE_SHAPES)
def test_an_impossible_shape_is_refused_before_numpy_is_called(tmp_path, case, chunked):
    def text(value):
        return bytes([0xA0 + len(value)]) + value.encode()

    sizes = HUGE_SHAPES[case]

    def array(dimensions):
        body = b"\x93" + bytes([0x90 + len(dimensions)]) + b"".join(dimensions) + text("float32") + b"\xc4\0"
        return b"\xc7" + bytes([len(body), 1]) + body

    content = array(sizes)
    if chunked:
        shape = bytes([0x80 + len(sizes)]) + b"".join(text(str(i)) + size for i, size in enumerate(sizes))
        content = b"\x83" + text(msgpack_file.CHUNKED) + b"\xc3"
        content += text("shape") + shape + text("chunks") + b"\x81" + text("0") + array([b"\0"])
    (tmp_path / msgpack_file.FILE).write_bytes(b"\x81" + text("x") + content)
    with pytest.raises(CheckpointError, match="is not a readable Flax file"):
        list(msgpack_file.read(tmp_path).values())
