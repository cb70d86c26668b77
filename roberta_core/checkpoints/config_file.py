"""Reading and writing config.json in the folder of a checkpoint."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from roberta_core.checkpoints import fairseq_file, formats, hub
from roberta_core.checkpoints.atomic import transaction
from roberta_core.checkpoints.save_options import read_upload_options
from roberta_core.checkpoints.sizes import check_sizes, has_uncommon_size
from roberta_core.checkpoints.source import resolve
from roberta_core.config import CONFIG_NAME, RobertaConfig
from roberta_core.safe_files import read_json_object


def read_fields(source: str | os.PathLike[str], options: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a checkpoint's configuration, as its files state them.

    Args:
        source: A folder, a config.json, the name of an embedded model, or one on the Hub.
        options: Keyword arguments; those that select a repository (`hub.options`), and `strip_prefix`, are removed
            from it.

    Raises:
        OSError: There is no such checkpoint.
        ValueError: config.json is not a JSON object, or that of an encoder-decoder, and `strip_prefix` names no half.
    """
    path, where, prefix = Path(source), hub.pop_options(options), options.pop("strip_prefix", "")
    if not path.is_file():
        path = resolve(source, ("config",), **where) / CONFIG_NAME
    if not path.exists() and (path.parent / fairseq_file.FILE).exists():
        return fairseq_file.read_config(path.parent).to_dict()
    if not path.exists():
        inner = path.parent / "model"  # where a training run writes its model
        hint = f"; did you mean {inner}?" if (inner / CONFIG_NAME).is_file() else ""
        raise FileNotFoundError(f"{path.parent} has no {CONFIG_NAME}, so it is not the folder of a checkpoint{hint}")
    return _select_half(path, read_json_object(path), prefix)


def _select_half(path: Path, fields: dict[str, Any], prefix: str) -> dict[str, Any]:
    """Return the fields of the half of an encoder-decoder that a prefix names; those of another model as they are."""
    halves = {f"{name}.": fields[name] for name in ("encoder", "decoder") if isinstance(fields.get(name), dict)}
    if len(halves) < 2:
        return fields
    if prefix not in halves:
        raise ValueError(
            f"{path} belongs to an encoder-decoder: read one half of it with strip_prefix {' or '.join(halves)} "
            "(--strip-prefix in commands)"
        )
    # The names of classes are those of the checkpoints that the halves were started from.
    return {name: value for name, value in halves[prefix].items() if name != "architectures"}


def check_against_weights(source: str | os.PathLike[str], config: RobertaConfig) -> None:
    """Raise `CheckpointError` if the weights beside a config.json are far smaller than it describes."""
    folder = Path(source).parent if Path(source).is_file() else Path(source)
    if has_uncommon_size(config) and any(formats.has_format(folder, row) for row in formats.FORMATS):
        check_sizes(folder, config, formats.detect_format(folder).read(folder))


def write_file(folder: Path, name: str, text: str) -> None:
    """Write one file into a folder, which is created if it does not exist; an old file stays until it is complete."""
    with transaction(folder) as files:
        files.write(name, text.encode())


def push(save: Callable[[Path], Any], repo_id: str, options: dict[str, Any]) -> str:
    """Upload what `save` writes into a folder, with the options of the published `push_to_hub`; return the address."""
    return hub.push_files(repo_id, save, **read_upload_options(options, "Upload the configuration"))
