import json

import pytest

from roberta_core.checkpoints import CheckpointError, shards


@pytest.mark.parametrize(
    ("size", "count"),
    [
        (7, 7),
        ("100000", 100_000),
        ("12KB", 12_000),
        ("5GB", 5 * 10**9),
        ("2 MiB", 2 << 20),
        ("1gib", 1 << 30),
        ("3TB", 3 * 10**12),
    ],
)
def test_a_size_is_a_number_or_a_number_with_a_unit(size, count):
    assert shards.parse_size(size) == count


@pytest.mark.parametrize("size", [0, -1, "0MB", "5 5", "GB", "1.5GB", "5XB", "", True, None, 1.0])
def test_an_invalid_size_is_a_value_error(size):
    with pytest.raises(ValueError, match="max_shard_size is"):
        shards.parse_size(size)


def test_tensors_are_assigned_in_order_and_not_split():
    sizes = {"a": 6, "b": 4, "c": 1, "d": 25, "e": 9, "f": 2}
    assert shards.divide(sizes, 10) == [["a", "b"], ["c"], ["d"], ["e"], ["f"]]
    assert shards.divide(sizes, 47) == [list(sizes)]
    assert shards.divide({}, 10) == [[]]


def test_shards_have_the_published_names():
    assert shards.shard_names("tf_model.h5", 2) == ["tf_model-00001-of-00002.h5", "tf_model-00002-of-00002.h5"]
    assert shards.index_name("pytorch_model.bin") == "pytorch_model.bin.index.json"
    assert shards.is_shard("model-00001-of-00002.safetensors", "model.safetensors")
    for other in (
        "model.safetensors",
        "model-1-of-2.safetensors",
        "model-00001-of-00002.bin",
        "xmodel-00001-of-00002.safetensors",
    ):
        assert not shards.is_shard(other, "model.safetensors")


def test_a_written_index_is_read(tmp_path):
    (tmp_path / "one").touch()
    (tmp_path / "two").touch()
    path = tmp_path / "index.json"
    path.write_text(shards.build_index({"one": ["b", "a"], "two": ["c"]}, 30))
    assert shards.read_index(path) == {"a": "one", "b": "one", "c": "two"}
    assert json.loads(path.read_text())["metadata"] == {"total_size": 30}


HOSTILE = {
    "outside": '{"weight_map": {"a": "../one"}}',
    "parent": '{"weight_map": {"a": ".."}}',
    "absolute": '{"weight_map": {"a": "/etc/hostname"}}',
    "subfolder": '{"weight_map": {"a": "sub/one"}}',
    "windows": '{"weight_map": {"a": "C:one"}}',
    "backslash": r'{"weight_map": {"a": "..\\one"}}',
    "zero byte": r'{"weight_map": {"a": "one\u0000"}}',
    "surrogate": r'{"weight_map": {"a": "\ud800"}}',
    "absent": '{"weight_map": {"a": "one", "b": "three"}}',
    "folder": '{"weight_map": {"a": "sub"}}',
    "number": '{"weight_map": {"a": 1}}',
    "list": '{"weight_map": {"a": ["one"]}}',
    "twice": '{"weight_map": {"a": "one", "a": "one"}}',
    "no map": '{"metadata": {}}',
    "empty map": '{"weight_map": {}}',
    "map of another kind": '{"weight_map": ["one"]}',
    "no object": "[]",
    "no JSON": "{",
    "no text": b"\xff\xfe",
    "deep": "[" * 100_000,
    "long number": "1" * 100_000,
    "long name": '{"weight_map": {"a": "%s"}}' % ("/x" * 50_000),
    "huge": '{"weight_map": {"a": "one"}}' + " " * shards.MAX_INDEX,
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_index_is_refused_in_one_short_sentence(tmp_path, case):
    (tmp_path / "one").touch()
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "one").touch()
    text = HOSTILE[case]
    path = tmp_path / "model.safetensors.index.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(CheckpointError, match=r"index\.json") as caught:
        shards.read_index(path)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 400 + len(str(path))
    str(caught.value).encode()  # the message can be printed


def test_an_index_that_cannot_be_opened_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="not a readable index"):
        shards.read_index(tmp_path / "model.safetensors.index.json")
