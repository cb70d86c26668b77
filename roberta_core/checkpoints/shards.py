"""Checkpoints in several files: their names, and the index that maps tensors to files."""

import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from roberta_core.checkpoints.atomic import Transaction, is_plain_name
from roberta_core.checkpoints.errors import CheckpointError, join_names, shorten
from roberta_core.safe_files import read_bytes

T = TypeVar("T")

MAX_INDEX = 16 << 20  # bytes; roberta-large's has 40,000
UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}


def index_name(file: str) -> str:
    """Return the name of the index: `model.safetensors` -> `model.safetensors.index.json`."""
    return f"{file}.index.json"


def shard_names(file: str, count: int) -> list[str]:
    """Return the names of shards: `model.safetensors`, 2 -> `model-00001-of-00002.safetensors`, ..."""
    stem, _, suffix = file.rpartition(".")
    return [f"{stem}-{number:05d}-of-{count:05d}.{suffix}" for number in range(1, count + 1)]


def is_shard(name: str, file: str) -> bool:
    """Return whether a file name is that of a shard of `file`."""
    stem, _, suffix = file.rpartition(".")
    return re.fullmatch(rf"{re.escape(stem)}-\d{{5}}-of-\d{{5}}\.{re.escape(suffix)}", name) is not None


def build_shard_pattern(file: str) -> str:
    """Return a glob pattern for the names of all shards of `file`."""
    stem, _, suffix = file.rpartition(".")
    return f"{stem}-?????-of-?????.{suffix}"


def parse_size(size: int | str) -> int:
    """Return a shard size in bytes, from an integer, its text, or a text such as "5GB" (10^9) or "500MiB" (2^20)."""
    if isinstance(size, int) and not isinstance(size, bool) and size > 0:
        return size
    match = re.fullmatch(r"\s*(\d{1,15})\s*([KMGT]I?B|B?)\s*", str(size).upper(), re.ASCII)
    if not match or not int(match[1]):
        raise ValueError(f'max_shard_size is {size!r}; it must be a number of bytes or a size such as "5GB"')
    return int(match[1]) * UNITS.get(match[2], 1)


def divide(sizes: Mapping[str, int], limit: int) -> list[list[str]]:
    """Divide names, in order, into groups of at most `limit` bytes; a larger tensor has a separate group."""
    groups: list[list[str]] = []
    room = 0
    for name, size in sizes.items():
        if not groups or size > room:
            groups.append([])
            room = limit
        groups[-1].append(name)
        room -= size
    return groups or [[]]


def stage(
    save: Transaction,
    file: str,
    sizes: Mapping[str, int],
    limit: int,
    write_one: Callable[[BinaryIO, list[str]], None],
    seconds: Mapping[str, list[str]] | None = None,
    key: Callable[[str], str] = str,
) -> None:
    """Add tensors to a save as `file`, or as shards with an index, and remove those of the old checkpoint.

    Args:
        save: The transaction.
        file: The name of the single file.
        sizes: The size of each tensor in bytes.
        limit: The largest size of a file in bytes.
        write_one: Writes the named tensors into one file.
        seconds: Further names under which a file holds a tensor.
        key: Returns the key in the index for a name.
    """
    groups = divide(sizes, limit)
    files = [file] if len(groups) == 1 else shard_names(file, len(groups))
    for name, group in zip(files, groups, strict=True):
        with save.open(name) as stream:
            write_one(stream, group)
    kept = set(files)
    if len(groups) > 1:
        held = [[key(held) for name in group for held in (name, *(seconds or {}).get(name, ()))] for group in groups]
        text = build_index(dict(zip(files, held, strict=True)), sum(sizes.values()))
        save.write(index_name(file), text.encode())
        kept.add(index_name(file))
    for name in sorted(os.listdir(save.folder)):
        if name not in kept and (name in (file, index_name(file)) or is_shard(name, file)):
            save.remove(name)


def build_index(groups: Mapping[str, Iterable[str]], total_size: int) -> str:
    """Return the text of an index file for {file name: tensor names} and the size of all tensors in bytes."""
    weight_map = {name: file for file, names in groups.items() for name in names}
    index = {"metadata": {"total_size": total_size}, "weight_map": weight_map}
    return json.dumps(index, indent=2, sort_keys=True) + "\n"


def read_index(path: Path) -> dict[str, str]:
    """Return the map of an index file: tensor name -> name of an existing file in the same folder.

    Raises:
        CheckpointError: It is not such a map, or names a file outside of the folder.
    """
    weight_map = read_map(path)
    absent = sorted(file for file in set(weight_map.values()) if not (path.parent / file).is_file())
    if absent:
        raise CheckpointError(f"{path} names files that do not exist: {join_names(absent)}")
    return weight_map


def read_map(path: Path) -> dict[str, str]:
    """Return the map as in `read_index`, whether the files exist or not."""
    try:
        index = json.loads(read_bytes(path, MAX_INDEX), object_pairs_hook=reject_repeated_keys)
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not a readable index: {shorten(str(error))}") from None
    weight_map = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{path} is not an index: it has no weight_map")
    files = set(map(str, weight_map.values()))
    outside = sorted(file for file in files if not is_plain_name(file))
    if outside or not all(isinstance(file, str) for file in weight_map.values()):
        raise CheckpointError(f"{path} must name files in the same folder, not {join_names(outside) or 'other values'}")
    return weight_map


def read_shards(
    folder: Path, file: str, read_one: Callable[[Path], Mapping[str, T]], name: Callable[[str], str] = str
) -> dict[str, T]:
    """Read the tensors of `file` in a folder, or else of the shards that its index names.

    Args:
        folder: The folder.
        file: The name of the single file.
        read_one: Reads one file.
        name: Returns a tensor's name for its key in the index.

    Raises:
        CheckpointError: A file cannot be read, or the index does not match its shards.
    """
    if (folder / file).exists():
        return dict(read_one(folder / file))
    path = folder / index_name(file)
    weight_map = {name(key): shard for key, shard in read_index(path).items()}
    tensors: dict[str, T] = {}
    for shard in sorted(set(weight_map.values())):
        found = read_one(folder / shard)
        check_shard(path, shard, [name for name, where in weight_map.items() if where == shard], found)
        tensors.update(found)
    return tensors


def check_shard(path: Path, file: str, listed_here: Iterable[str], found: Iterable[str]) -> None:
    """Raise `CheckpointError` unless a shard holds exactly the tensors that the index lists for it."""
    missing, extra = sorted(set(listed_here) - set(found)), sorted(set(found) - set(listed_here))
    if missing:
        raise CheckpointError(f"{path} lists {join_names(missing)} in {shorten(file)}, which does not contain them")
    if extra:
        raise CheckpointError(f"{path.parent / file} contains {join_names(extra)}, not listed in {path.name}")


def reject_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object for `json.loads`; raise `ValueError` if a key occurs twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key occurs twice")
    return found
