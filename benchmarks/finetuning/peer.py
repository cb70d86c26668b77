"""Run the Trainer of transformers on features from a file: `python peer.py SPEC`, in a separate environment.

SPEC is a JSON file with the checkpoint, the class, the fields of the configuration, the training arguments, the
features of the training and the test set, and the path of the outputs.
"""

import json
import sys
import tempfile

import numpy as np
import torch
import transformers

TARGETS = ("labels", "start_positions", "end_positions")
STEP, IGNORED, PAD = 16, -100, 1


def pad_rows(rows, value, width):
    """Return lists of numbers, padded to one width, as a tensor."""
    return torch.tensor([[*row, *[value] * (width - len(row))] for row in rows])


def collate(features):
    """Build the batch that triberta builds from the same features."""
    choices = isinstance(features[0]["ids"][0], list)
    rows = [row for feature in features for row in (feature["ids"] if choices else [feature["ids"]])]
    width = -(-max(map(len, rows)) // STEP) * STEP
    ids = pad_rows(rows, PAD, width)
    mask = pad_rows([[1] * len(row) for row in rows], 0, width)
    if choices:
        ids, mask = (array.reshape(len(features), -1, width) for array in (ids, mask))
    batch = {"input_ids": ids, "attention_mask": mask}
    for name in TARGETS:
        if name in features[0]:
            values = [feature[name] for feature in features]
            batch[name] = pad_rows(values, IGNORED, width) if isinstance(values[0], list) else torch.tensor(values)
    return batch


class Rows(torch.utils.data.Dataset):
    """Features as a dataset for the Trainer."""

    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        return self.rows[index]


def main(path):
    """Train, run the model on the test set and write the outputs."""
    with open(path, encoding="utf-8") as stream:
        spec = json.load(stream)
    if spec["threads"]:
        torch.set_num_threads(spec["threads"])
    transformers.set_seed(spec["seed"])
    kind = getattr(transformers, f"Roberta{spec['architecture']}")
    config = transformers.RobertaConfig.from_pretrained(spec["model"], **spec["config"])
    config.id2label = {int(number): label for number, label in config.id2label.items()}
    model = kind.from_pretrained(spec["model"], config=config, dtype=torch.float32)
    with tempfile.TemporaryDirectory() as scratch:
        settings = transformers.TrainingArguments(
            scratch,
            seed=spec["seed"],
            use_cpu=True,
            report_to=[],
            save_strategy="no",
            remove_unused_columns=False,
            lr_scheduler_type="linear",
            disable_tqdm=True,
            logging_steps=50,
            dataloader_pin_memory=False,
            label_names=[name for name in TARGETS if name in spec["train"][0]],
            **spec["arguments"],
        )
        trainer = transformers.Trainer(model, settings, collate, Rows(spec["train"]))
        trainer.train()
    model.eval()
    outputs = []
    with torch.no_grad():
        for row in spec["test"]:
            batch = {name: value for name, value in collate([row]).items() if name not in TARGETS}
            found = model(**batch)
            names = [name for name in ("logits", "start_logits", "end_logits") if name in found]
            outputs.append({name: found[name][0].numpy() for name in names})
    np.savez(spec["outputs"], **{f"{n}/{name}": a for n, row in enumerate(outputs) for name, a in row.items()})
    print(json.dumps({"version": transformers.__version__}))


if __name__ == "__main__":
    main(sys.argv[1])
