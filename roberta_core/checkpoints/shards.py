"""Checkpoints cut into several files: their names, and the index that says which tensor is where."""

import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from roberta_core.checkpoints.atomic import Transaction, plain
from roberta_core.checkpoints.errors import CheckpointError, clipped, listed

T = TypeVar("T")

LARGEST_INDEX = 16 << 20  # bytes; roberta-large's takes 40,000
UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}


def index_name(file: str) -> str:
    """`model.safetensors` -> `model.safetensors.index.json`."""
    return f"{file}.index.json"


def shard_names(file: str, count: int) -> list[str]:
    """`model.safetensors`, 2 -> `model-00001-of-00002.safetensors`, `model-00002-of-00002.safetensors`."""
    stem, _, suffix = file.rpartition(".")
    return [f"{stem}-{number:05d}-of-{count:05d}.{suffix}" for number in range(1, count + 1)]


def is_shard(name: str, file: str) -> bool:
    """Whether a file name is that of some shard of `file`."""
    stem, _, suffix = file.rpartition(".")
    return re.fullmatch(rf"{re.escape(stem)}-\d{{5}}-of-\d{{5}}\.{re.escape(suffix)}", name) is not None


def pattern(file: str) -> str:
    """What the names of all shards of `file` match, in the manner of a shell."""
    stem, _, suffix = file.rpartition(".")
    return f"{stem}-?????-of-?????.{suffix}"


def bytes_of(size: int | str) -> int:
    """A shard size in bytes: a number, or a text such as "5GB" (10^9) or "500MiB" (2^20). `ValueError` otherwise."""
    if isinstance(size, int) and not isinstance(size, bool) and size > 0:
        return size
    match = re.fullmatch(r"\s*(\d+)\s*([KMGT]I?B)\s*", str(size).upper())
    if not match or not int(match[1]):
        raise ValueError(f'max_shard_size is {size!r}; give a number of bytes or a text such as "5GB"')
    return int(match[1]) * UNITS[match[2]]


def divide(sizes: Mapping[str, int], limit: int) -> list[list[str]]:
    """Names in order, cut into groups of at most `limit` bytes; a larger tensor has a group to itself."""
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
    """Put tensors into a save as `file`, or as shards with an index; files of the old checkpoint go with it.

    `sizes` are in bytes; `write_one` writes the named tensors into one file; `seconds` are further names under which
    a tensor's file holds it; `key` makes the key in the index out of a name.
    """
    groups = divide(sizes, limit)
    files = [file] if len(groups) == 1 else shard_names(file, len(groups))
    for name, group in zip(files, groups, strict=True):
        with save.open(name) as stream:
            write_one(stream, group)
    kept = set(files)
    if len(groups) > 1:
        held = [[key(held) for name in group for held in (name, *(seconds or {}).get(name, ()))] for group in groups]
        text = index_text(dict(zip(files, held, strict=True)), sum(sizes.values()))
        save.write(index_name(file), text.encode())
        kept.add(index_name(file))
    for name in sorted(os.listdir(save.folder)):
        if name not in kept and (name in (file, index_name(file)) or is_shard(name, file)):
            save.remove(name)


def index_text(groups: Mapping[str, Iterable[str]], total_size: int) -> str:
    """The text of an index file, from file name -> tensor names, and the bytes of all tensors."""
    weight_map = {name: file for file, names in groups.items() for name in names}
    index = {"metadata": {"total_size": total_size}, "weight_map": weight_map}
    return json.dumps(index, indent=2, sort_keys=True) + "\n"


def read_index(path: Path) -> dict[str, str]:
    """The map of an index file: tensor name -> name of a file in the same folder, which exists.

    `CheckpointError` for an index that is no such map or points anywhere else.
    """
    weight_map = read_map(path)
    absent = sorted(file for file in set(weight_map.values()) if not (path.parent / file).is_file())
    if absent:
        raise CheckpointError(f"{path} names files that are not there: {listed(absent)}")
    return weight_map


def read_map(path: Path) -> dict[str, str]:
    """As `read_index`, whether the files are there or not."""
    try:
        if path.stat().st_size > LARGEST_INDEX:
            raise CheckpointError(f"{path} is larger than any index ({path.stat().st_size:,} bytes)")
        index = json.loads(path.read_bytes(), object_pairs_hook=without_repeats)
    except CheckpointError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not a readable index: {clipped(str(error))}") from None
    weight_map = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{path} is not an index: it has no weight_map")
    files = set(map(str, weight_map.values()))
    outside = sorted(file for file in files if not plain(file))
    if outside or not all(isinstance(file, str) for file in weight_map.values()):
        raise CheckpointError(f"{path} must name files of its own folder, not {listed(outside) or 'other values'}")
    return weight_map


def gathered(
    folder: Path, file: str, read_one: Callable[[Path], Mapping[str, T]], name: Callable[[str], str] = str
) -> dict[str, T]:
    """The tensors of `file` in a folder, or else of the shards that its index names, read by `read_one`.

    `name` makes a tensor's name out of its key in the index.
    """
    if (folder / file).exists():
        return dict(read_one(folder / file))
    path = folder / index_name(file)
    weight_map = {name(key): shard for key, shard in read_index(path).items()}
    tensors: dict[str, T] = {}
    for shard in sorted(set(weight_map.values())):
        found = read_one(folder / shard)
        compare(path, shard, [name for name, where in weight_map.items() if where == shard], found)
        tensors.update(found)
    return tensors


def compare(path: Path, file: str, listed_here: Iterable[str], found: Iterable[str]) -> None:
    """Raise `CheckpointError` unless a shard holds exactly the tensors that the index says."""
    missing, extra = sorted(set(listed_here) - set(found)), sorted(set(found) - set(listed_here))
    if missing:
        raise CheckpointError(f"{path} says that {clipped(file)} holds {listed(missing)}, which it does not")
    if extra:
        raise CheckpointError(f"{path.parent / file} holds {listed(extra)}, of which {path.name} says otherwise")


def without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """For `json.loads`: an object whose keys are all different, else `ValueError`."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands in it twice")
    return found
