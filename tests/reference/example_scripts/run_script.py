"""Run an example script offline: `python run_script.py FOLDER SCRIPT [ARGUMENT...]`, in a separate process.

The data sets of the Hub are the files of FOLDER, and `evaluate` is the module next to this file. Scripts for TensorFlow
print rounded losses, and draw the order of rows and masked tokens from generators that other calls share: here `fit`
writes its history to FOLDER/history.json, rows stay in order, and the masks of a batch depend on its tokens.
"""

import json
import os
import runpy
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np


def load_from_folder(folder: Path) -> None:
    """Make `datasets.load_dataset("glue", ...)` read the files of a folder."""
    datasets: Any = import_module("datasets")
    load = datasets.load_dataset

    def load_dataset(path: str, *arguments: Any, **options: Any) -> Any:
        if path != "glue":
            return load(path, *arguments, **options)
        files = {split: str(folder / f"{split}.csv") for split in ("train", "validation")}
        return load("csv", data_files=files).cast_column("label", datasets.ClassLabel(names=["other", "same"]))

    datasets.load_dataset = load_dataset


def record_history(model: Any, path: Path) -> None:
    """Make `fit` of Keras models write its history to a file."""
    fit = model.fit

    def fit_and_write(self: Any, *arguments: Any, **options: Any) -> Any:
        history = fit(self, *arguments, **options)
        path.write_text(json.dumps({name: [float(one) for one in found] for name, found in history.history.items()}))
        return history

    model.fit = fit_and_write


def keep_order(model: Any) -> None:
    """Make `prepare_tf_dataset` read rows in order, and drop what it drops when it shuffles."""
    prepare = model.prepare_tf_dataset

    def prepare_in_order(self: Any, dataset: Any, *arguments: Any, shuffle: bool = True, **options: Any) -> Any:
        options.setdefault("drop_remainder", shuffle)
        return prepare(self, dataset, *arguments, shuffle=False, **options)

    model.prepare_tf_dataset = prepare_in_order


def seed_masks(collator: Any, attach: Any) -> None:
    """Make a collator draw the masks of a batch with a generator that depends on its tokens."""
    collate = collator.__call__

    def collate_with_seed(self: Any, features: Any, return_tensors: Any = None) -> Any:
        seed = sum(sum(np.asarray(one["input_ids"]).tolist()) for one in features)
        attach(self, np.random.default_rng(seed))
        return collate(self, features, return_tensors)

    collator.__call__ = collate_with_seed


def attach_ours(collator: Any, generator: Any) -> None:
    """Give our collator a generator."""
    collator._generator = (os.getpid(), generator)


def attach_theirs(collator: Any, generator: Any) -> None:
    """Give the collator of transformers a generator."""
    collator.generator = generator


def prepare_tensorflow(folder: Path, is_ours: bool) -> None:
    """Make runs of TensorFlow comparable."""
    if is_ours:
        seed_masks(import_module("roberta_core").DataCollatorForLanguageModeling, attach_ours)
        keep_order(import_module("roberta_tf").TFRobertaPreTrainedModel)
    else:
        transformers = import_module("transformers")
        seed_masks(transformers.DataCollatorForLanguageModeling, attach_theirs)
        keep_order(transformers.TFPreTrainedModel)
    keras: Any = import_module("keras" if is_ours else "tf_keras")
    record_history(keras.Model, folder / "history.json")


def repair_libraries(framework: str) -> None:
    """Supply what TensorFlow scripts need with datasets 5, and with transformers 4.57.6 if PyTorch is installed."""
    if framework == "tensorflow":
        columns: Any = import_module("datasets.arrow_dataset")
        columns.Column.numpy = lambda column: np.array(column[:])
        arguments: Any = import_module("transformers").TFTrainingArguments
        arguments.distributed_state = None


def add_telemetry() -> None:
    """Add the function that reports the use of an example, which transformers 4.57.6 lacks: it does nothing."""
    utils: Any = import_module("transformers.utils")
    utils.send_example_telemetry = lambda *arguments, **options: None


def main(folder: Path, script: Path, arguments: list[str]) -> None:
    """Run a script with arguments."""
    sys.path[:0] = [str(script.parent), str(Path(__file__).parent)]
    load_from_folder(folder)
    repair_libraries(script.parent.name)
    is_ours = "from roberta_core import" in script.read_text()
    if not is_ours:
        add_telemetry()
    if script.parent.name == "tensorflow":
        prepare_tensorflow(folder, is_ours)
    sys.argv = [str(script), *arguments]
    runpy.run_path(str(script), run_name="__main__")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
