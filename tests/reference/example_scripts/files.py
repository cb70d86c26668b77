"""Small data files and checkpoints for the published example scripts."""

import csv
import json
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np

from roberta_core import RobertaConfig, RobertaTokenizerFast, checkpoints
from roberta_core.parameters import draw, parameters

PLACES = ("harbour", "station", "market", "library", "garden", "bridge", "museum", "school")
PEOPLE = ("Nadia", "Oskar", "Mirela", "Tomas", "Ines", "Viktor")
VERBS = ("reached", "painted", "left", "measured", "described")
TAGS = ("B-PER", "O", "O", "B-LOC")
FORMATS = {"pytorch": "safetensors", "tensorflow": "h5", "flax": "msgpack"}  # what 4.57.6 reads in each framework


def pick(names: tuple[str, ...], number: int) -> str:
    """Return one of the names, for each number another."""
    return names[number % len(names)]


def write_sentence(number: int) -> list[str]:
    """Return the words of a sentence: a person, a verb, an article and a place."""
    return [pick(PEOPLE, number), pick(VERBS, number // 2), "the", pick(PLACES, 3 * number + 1)]


def write_pair(number: int) -> dict[str, object]:
    """Return two sentences and whether they are about the same person."""
    other = write_sentence(number + number % 2)
    return {
        "sentence1": " ".join(write_sentence(number)) + ".",
        "sentence2": " ".join([*other, "again"]) + ".",
        "label": number % 2,
    }


def write_tags(number: int) -> dict[str, object]:
    """Return words and their tags; every third example is longer."""
    words, tags = write_sentence(number), [*TAGS]
    if number % 3 == 0:
        words, tags = [*words, "with", pick(PEOPLE, number + 1)], [*tags, "O", "B-PER"]
    return {"tokens": words, "ner_tags": tags}


def write_question(number: int) -> dict[str, object]:
    """Return a question about a context, with the answer and where it begins."""
    first, second = write_sentence(number), write_sentence(number + 1)
    context = f"{' '.join(first)}. {' '.join(second)} before noon, and it rained."
    return {
        "id": f"q{number}",
        "title": "days",
        "context": context,
        "question": f"What was {first[1]} by {first[0]}?",
        "answers": {"text": [f"the {first[3]}"], "answer_start": [context.index(f"the {first[3]}")]},
    }


def write_choice(number: int) -> dict[str, object]:
    """Return the beginning of a sentence with four endings, and which is right."""
    person, verb, *_ = write_sentence(number)
    endings = {f"ending{choice}": f"{verb} the {pick(PLACES, number + choice)}." for choice in range(4)}
    context = f"It was a cold morning at the {pick(PLACES, number)}."
    return {"sent1": context, "sent2": person, **endings, "label": number % 4}


def write_line(number: int) -> dict[str, object]:
    """Return a line of text of several sentences."""
    return {"text": " ".join(" ".join(write_sentence(number + step)) + "." for step in range(1 + number % 4))}


TASKS = {
    "glue": (write_pair, "csv"),
    "ner": (write_tags, "json"),
    "qa": (write_question, "json"),
    "swag": (write_choice, "csv"),
    "lm": (write_line, "txt"),
}
SIZES = {"train": 16, "validation": 8}


@cache
def select_questions() -> tuple[int, list[int]]:
    """Return the most frequent number of tokens of questions with their contexts, and the questions that have it.

    Without padding: the published classes for TensorFlow and Flax train the embedding of padding, which scores of
    answers depend on.
    """
    tokenizer = RobertaTokenizerFast.from_pretrained("roberta-tiny")
    found: dict[int, list[int]] = {}
    for number in range(300):
        row = write_question(number)
        found.setdefault(len(tokenizer(row["question"], row["context"])["input_ids"]), []).append(number)
    return max(found.items(), key=lambda item: len(item[1]))


def write_data(folder: Path, task: str) -> dict[str, Path]:
    """Write the data of a task; return the file of each split."""
    write, ending = TASKS[task]
    numbers = iter(select_questions()[1] if task == "qa" else range(sum(SIZES.values())))
    paths = {}
    for split, count in SIZES.items():
        paths[split] = folder / f"{split}.{ending}"
        write_rows(paths[split], [write(number) for number in islice(numbers, count)], nested=task == "qa")
    return paths


def write_rows(path: Path, rows: list[dict[str, object]], nested: bool) -> None:
    """Write rows as CSV, JSON lines or text; nested puts them into a JSON object as `data`."""
    if path.suffix == ".csv":
        with path.open("w", newline="") as file:
            table = csv.DictWriter(file, [*rows[0]])
            table.writeheader()
            table.writerows(rows)
    elif nested:
        path.write_text(json.dumps({"version": "1", "data": rows}))
    elif path.suffix == ".json":
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    else:
        path.write_text("".join(f"{row['text']}\n" for row in rows))


def write_checkpoint(folder: Path, framework: str, architecture: str, labels: int) -> Path:
    """Write two layers of roberta-tiny with a drawn head, without dropout, and the tokenizer, as a checkpoint."""
    source = checkpoints.resolve("roberta-tiny")
    config = RobertaConfig.from_pretrained(source)
    config.num_labels, config.dtype = labels, "float32"
    config.is_decoder = architecture == "ForCausalLM"
    config.hidden_dropout_prob = config.attention_probs_dropout_prob = 0.0
    found, report = checkpoints.load(source, config, architecture)
    tensors = {**found, **dict(draw(config, architecture, 0, only=report.new))}
    config.num_hidden_layers = 2  # compiles in half of the time
    single = {name: np.asarray(tensors[name], np.float32) for name in parameters(config, architecture)}
    checkpoints.save(folder, config, architecture, single, format=FORMATS[framework])
    RobertaTokenizerFast.from_pretrained(source).save_pretrained(folder)
    return folder
