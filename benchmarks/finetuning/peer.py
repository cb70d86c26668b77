"""transformers' Trainer on features that the harness wrote: `python peer.py SPEC`, in an environment of its own.

SPEC is a JSON file: the checkpoint, the class, the configuration's fields, the recipe's numbers, the features of both
sets and where the outputs go.
"""

import json
import sys
import tempfile

import numpy as np
import torch
import transformers

TARGETS = ("labels", "start_positions", "end_positions")
STEP, IGNORED, PAD = 16, -100, 1


def padded(rows, value, width):
    """Lists of numbers filled up to one width."""
    return torch.tensor([[*row, *[value] * (width - len(row))] for row in rows])


def collate(features):
    """The batch that triberta makes of the same features."""
    choices = isinstance(features[0]["ids"][0], list)
    rows = [row for feature in features for row in (feature["ids"] if choices else [feature["ids"]])]
    width = -(-max(map(len, rows)) // STEP) * STEP
    ids = padded(rows, PAD, width)
    mask = padded([[1] * len(row) for row in rows], 0, width)
    if choices:
        ids, mask = (array.reshape(len(features), -1, width) for array in (ids, mask))
    batch = {"input_ids": ids, "attention_mask": mask}
    for name in TARGETS:
        if name in features[0]:
            values = [feature[name] for feature in features]
            batch[name] = padded(values, IGNORED, width) if isinstance(values[0], list) else torch.tensor(values)
    return batch


class Rows(torch.utils.data.Dataset):
    """Features as the Trainer wants them."""

    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, place):
        return self.rows[place]


def main(path):
    """Train, run the test set, write its outputs."""
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
