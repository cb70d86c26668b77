import json
import os
import struct
import subprocess
import sys
import time

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from roberta_core.checkpoints import CheckpointError, safetensors_file, shards

DTYPES = [np.float64, np.float32, np.float16, ml_dtypes.bfloat16, np.int64, np.int32, np.int16, np.int8,
          np.uint64, np.uint32, np.uint16, np.uint8, np.bool_]  # fmt: skip
INDEX = "model.safetensors.index.json"


def some_tensors():
    """Return a matrix, a vector, a scalar, an empty tensor and half precision, all of different sizes."""
    generator = np.random.default_rng(0)
    return {
        "b.weight": generator.standard_normal((5, 7), np.float32),
        "a.bias": generator.standard_normal(3, np.float32),
        "c": np.array(2.5, np.float32),
        "d": np.zeros((0, 4), np.float32),
        "e": generator.standard_normal((2, 11), np.float32).astype(ml_dtypes.bfloat16),
        "f": np.arange(13),
    }


def assert_same(found, expected):
    assert set(found) == set(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype, name
        assert found[name].shape == array.shape, name
        assert found[name].tobytes() == array.tobytes(), name


def build_file(header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def test_a_written_file_is_read(tmp_path):
    safetensors_file.write(tmp_path, some_tensors(), {"format": "pt"})
    assert os.listdir(tmp_path) == ["model.safetensors"]
    assert_same(safetensors_file.read(tmp_path), some_tensors())
    assert safetensors_file.metadata(tmp_path) == {"format": "pt"}


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_is_preserved(tmp_path, dtype):
    tensors = {"x": np.arange(6).astype(dtype).reshape(2, 3)}
    safetensors_file.write(tmp_path, tensors)
    assert_same(safetensors_file.read(tmp_path), tensors)


@pytest.mark.parametrize("dtype", [np.complex64, np.longdouble, "O", "U4", "M8[s]"])
def test_a_dtype_that_the_format_does_not_support_is_refused(tmp_path, dtype):
    with pytest.raises(CheckpointError, match="which safetensors cannot store"):
        safetensors_file.write(tmp_path, {"x": np.zeros(3, dtype)})
    assert os.listdir(tmp_path) == []


def test_transposed_sliced_and_big_endian_arrays_are_written_by_value(tmp_path):
    matrix = np.arange(20, dtype=np.float32).reshape(4, 5)
    large = np.arange(70 * 131, dtype=np.float32).reshape(70, 131)  # more than one block
    arrays = {"t": matrix.T, "l": large.T, "e": large.T, "s": matrix[::2, 1:4], "b": matrix}
    big = {"e": large.astype(">f4").T, "b": matrix.astype(">f4")}
    safetensors_file.write(tmp_path, {**arrays, **big})
    expected = {name: array.copy() for name, array in arrays.items()}
    assert_same(safetensors_file.read(tmp_path), expected)


@pytest.mark.parametrize("metadata", [{"format": "pt"}, {}])
def test_the_bytes_equal_those_of_the_library(tmp_path, metadata):
    tensors = some_tensors()
    safetensors_file.write(tmp_path, tensors, metadata)
    assert (tmp_path / "model.safetensors").read_bytes() == safetensors.numpy.save(tensors, metadata or None)


def test_shards_are_read_together_and_separately(tmp_path):
    tensors = some_tensors()
    safetensors_file.write(tmp_path, tensors, {"format": "pt"}, max_shard_size=120)
    files = sorted(os.listdir(tmp_path))
    assert files == [*shards.shard_names("model.safetensors", 4), INDEX]
    assert_same(safetensors_file.read(tmp_path), tensors)
    assert safetensors_file.metadata(tmp_path) == {"format": "pt"}
    index = json.loads((tmp_path / INDEX).read_text())
    assert index["metadata"]["total_size"] == sum(array.nbytes for array in tensors.values())
    for file in files[:-1]:
        names = [name for name, where in index["weight_map"].items() if where == file]
        assert_same(safetensors.numpy.load_file(tmp_path / file), {name: tensors[name] for name in names})


def test_saving_fewer_shards_deletes_the_old_ones(tmp_path):
    (tmp_path / "model-of-mine.safetensors").touch()
    for size in (50, 120, "5GB", 50):
        safetensors_file.write(tmp_path, some_tensors(), max_shard_size=size)
        assert_same(safetensors_file.read(tmp_path), some_tensors())
        weights = [file for file in os.listdir(tmp_path) if file != "model-of-mine.safetensors"]
        if size == "5GB":
            assert weights == ["model.safetensors"]
        else:
            assert sorted(weights) == sorted(
                {*json.loads((tmp_path / INDEX).read_text())["weight_map"].values(), INDEX}
            )
    assert (tmp_path / "model-of-mine.safetensors").exists()


def test_lazy_values_are_held_one_at_a_time(tmp_path):
    class Counting(dict):
        alive = most = 0

        def __getitem__(self, name):
            return CountedArray(self)

    class CountedArray(np.ndarray):
        def __new__(cls, owner):
            array = np.ones((1000, 10), np.float32).view(cls)
            array.owner = owner
            owner.alive += 1
            owner.most = max(owner.most, owner.alive)
            return array

        def __array_finalize__(self, parent):
            self.owner = None

        def __del__(self):
            if self.owner is not None:
                self.owner.alive -= 1

    tensors = Counting({f"{number:03d}": None for number in range(20)})
    safetensors_file.write(tmp_path, tensors)
    assert tensors.most <= 2
    assert len(safetensors_file.read(tmp_path)) == 20


def test_writing_to_a_tensor_does_not_change_the_file(tmp_path):
    safetensors_file.write(tmp_path, some_tensors())
    before = (tmp_path / "model.safetensors").read_bytes()
    tensors = safetensors_file.read(tmp_path)
    array = tensors["b.weight"]
    array += 1
    assert np.array_equal(array, some_tensors()["b.weight"] + 1)
    assert (tmp_path / "model.safetensors").read_bytes() == before


def test_a_mapped_checkpoint_can_be_saved_over_itself(tmp_path):
    safetensors_file.write(tmp_path, some_tensors())
    mapped = safetensors_file.read(tmp_path)
    mapped["b.weight"][...] = 7
    safetensors_file.write(tmp_path, mapped)
    assert_same(safetensors_file.read(tmp_path), {**some_tensors(), "b.weight": np.full((5, 7), 7, np.float32)})
    assert (mapped["b.weight"] == 7).all()


RSS = """
import sys, numpy as np
from roberta_core.checkpoints import safetensors_file
def anonymous():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("RssAnon"))
if sys.argv[2] == "read":
    start = anonymous()
    tensors = safetensors_file.read(sys.argv[1])
    total = sum(float(array.sum()) for array in tensors.values())
else:
    tensors = safetensors_file.read(sys.argv[1])
    start = anonymous()
    safetensors_file.write(sys.argv[1] + "/copy", {name: array.T for name, array in tensors.items()})
print(anonymous() - start)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs Linux's /proc to count memory")
@pytest.mark.parametrize("what", ["read", "write"])
def test_a_hundred_megabytes_are_not_copied_into_memory(tmp_path, what):
    safetensors_file.write(tmp_path, {str(i): np.zeros((1024, 2560), np.float32) for i in range(10)})
    command = [sys.executable, "-c", RSS, str(tmp_path), what]
    grown = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert grown < 20_000, f"{grown} kB"


X = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
BROKEN = {
    "empty": b"",
    "seven bytes": b"\0" * 7,
    "no header": b"\0" * 8,
    "terabytes of header": build_file(b"{}", length=1 << 42),
    "all bits set": b"\xff" * 64,
    "longer header than file": build_file({"x": X}, b"\0" * 8, length=1000),
    "cut off": build_file({"x": X}, b"\0" * 7),
    "more than the header says": build_file({"x": X}, b"\0" * 9),
    "terabytes of data": build_file({"x": {**X, "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}, b"\0" * 8),
    "overflowing shape": build_file({"x": {**X, "shape": [1 << 62, 1 << 62]}}, b"\0" * 8),
    "overlap": build_file({"x": X, "y": {**X, "data_offsets": [4, 12]}}, b"\0" * 12),
    "same bytes twice": build_file({"x": X, "y": X}, b"\0" * 8),
    "a hole": build_file({"x": X, "y": {**X, "data_offsets": [12, 20]}}, b"\0" * 20),
    "backwards": build_file({"x": {**X, "data_offsets": [8, 0]}}, b"\0" * 8),
    "negative": build_file({"x": {**X, "data_offsets": [-8, 0]}}, b"\0" * 8),
    "wrong size": build_file({"x": {**X, "shape": [3]}}, b"\0" * 8),
    "unknown dtype": build_file({"x": {**X, "dtype": "F33"}}, b"\0" * 8),
    "a dtype of no weight": build_file({"x": {**X, "dtype": "F8_E4M3", "shape": [8]}}, b"\0" * 8),
    "name twice": build_file(b'{"x":%b,"x":%b}' % ((json.dumps(X).encode(),) * 2), b"\0" * 8),
    "no JSON": build_file(b"{" * 20),
    "deep JSON": build_file(b"[" * 100_000),
    "no object": build_file([X], b"\0" * 8),
    "metadata of another kind": build_file({"__metadata__": {"format": 1}, "x": X}, b"\0" * 8),
    "a pickle": b"\x80\x02}q\x00." * 10,
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_refused_in_one_sentence(tmp_path, case):
    (tmp_path / "model.safetensors").write_bytes(BROKEN[case])
    with pytest.raises(CheckpointError, match=r"model\.safetensors") as caught:
        safetensors_file.read(tmp_path)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 300 + len(str(tmp_path))


def test_a_too_large_header_is_refused_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(safetensors_file, "MAX_HEADER", 200)
    for padding, fits in ((0, True), (200, False)):
        text = json.dumps({"x": X}).encode() + b" " * padding
        (tmp_path / "model.safetensors").write_bytes(build_file(text, b"\0" * 8))
        if fits:
            assert len(safetensors_file.read(tmp_path)) == 1
            continue
        with pytest.raises(CheckpointError, match="its header would have"):
            safetensors_file.read(tmp_path)


def test_every_truncation_is_refused(tmp_path):
    safetensors_file.write(tmp_path, some_tensors(), {"format": "pt"})
    whole = (tmp_path / "model.safetensors").read_bytes()
    for length in range(len(whole)):
        (tmp_path / "model.safetensors").write_bytes(whole[:length])
        with pytest.raises(CheckpointError):
            safetensors_file.read(tmp_path)


def test_a_special_file_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "model.safetensors")
    command = [
        sys.executable,
        "-c",
        "import sys; from roberta_core.checkpoints.safetensors_file import read; read(sys.argv[1])",
    ]
    done = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, timeout=20)
    assert "is not a file" in done.stderr


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    (tmp_path / "model.safetensors").symlink_to("/proc/self/mem")
    with pytest.raises(CheckpointError):
        safetensors_file.read(tmp_path)


SMALL = {"a": np.arange(3, dtype=np.float32), "b": np.arange(4, dtype=np.float16).reshape(2, 2)}


@settings(max_examples=300, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_mutated_file_gives_what_the_library_gives_or_is_refused(tmp_path, data):
    content = bytearray(safetensors.numpy.save(SMALL, {"format": "pt"}))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        kind = data.draw(st.sampled_from(["set", "insert", "delete", "copy"]))
        if kind == "set":
            content[at] = data.draw(st.integers(0, 255))
        elif kind == "insert":
            content[at:at] = data.draw(st.binary(min_size=1, max_size=9))
        elif kind == "delete":
            del content[at : at + data.draw(st.integers(1, 9))]
        else:
            content[at:at] = content[: data.draw(st.integers(1, 40))]
        content = content or bytearray(1)
    (tmp_path / "model.safetensors").write_bytes(content)
    start = time.perf_counter()
    try:
        found = safetensors_file.read(tmp_path)
    except CheckpointError:
        return
    finally:
        assert time.perf_counter() - start < 1
    assert_same(found, safetensors.numpy.load(bytes(content)))


def test_an_index_must_list_exactly_the_tensors_of_its_shards(tmp_path):
    safetensors_file.write(tmp_path, some_tensors(), max_shard_size=120)
    index = json.loads((tmp_path / INDEX).read_text())
    places = index["weight_map"]
    wrong = [
        {**places, "new": places["a.bias"]},
        {name: file for name, file in places.items() if name != "c"},
        {**places, "a.bias": places["f"]},
        {name: file for name, file in places.items() if file != places["f"]} | {"c": places["f"]},
    ]
    for weight_map in wrong:
        (tmp_path / INDEX).write_text(json.dumps({"weight_map": weight_map}))
        with pytest.raises(CheckpointError, match="contain"):
            safetensors_file.read(tmp_path)


def test_a_tensor_in_two_shards_is_refused(tmp_path):
    safetensors_file.write(tmp_path, some_tensors(), max_shard_size=120)
    last = shards.shard_names("model.safetensors", 4)[-1]
    tensors = safetensors.numpy.load_file(tmp_path / last)
    safetensors.numpy.save_file({**tensors, "a.bias": some_tensors()["a.bias"]}, tmp_path / last)
    with pytest.raises(CheckpointError, match=r"contains a\.bias"):
        safetensors_file.read(tmp_path)


def test_a_folder_without_either_file_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="not a readable index"):
        safetensors_file.read(tmp_path)


@pytest.mark.parametrize("shape", [[0, 1 << 63], [0, 1 << 40, 1 << 40], [0] * 9])
def test_an_impossible_shape_is_refused_before_numpy_is_called(tmp_path, shape):
    header = json.dumps({"x": {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]}}).encode()
    (tmp_path / safetensors_file.FILE).write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(CheckpointError, match="is not a readable safetensors file"):
        list(safetensors_file.read(tmp_path).values())
