"""The data of the benchmark, converted where needed to formats that `roberta finetune` reads."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Data:
    """The files of a task and the options of `roberta finetune` to read them.

    Attributes:
        task: The name of the task in `roberta finetune`.
        score: The name of the score that the table shows.
        train: The training file.
        test: The test file.
        options: The options that define the format of the files.
        note: A description of the data.
        texts: A folder with one file per training text, if the model is first pretrained further on these texts.
    """

    task: str
    score: str
    train: Path
    test: Path
    options: tuple[str, ...] = ()
    note: str = ""
    texts: Path | None = None


# Of the 11,877 training and 10,570 test questions of SQuAD: a model of this size learns the task slowly.
TRAIN_QUESTIONS, TEST_QUESTIONS = 1_000, 500
CODAH_HEADER = "category,prompt,ending0,ending1,ending2,ending3,label"


def prepare_sst2(source: Path, work: Path) -> Data:
    """Return SST-2, sentences with labels; converts the test file, whose lines are `label sentence`, without header."""
    lines = (source / "sst2" / "test.tsv").read_text(encoding="utf-8").splitlines()
    pairs = [line.split(" ", 1) for line in lines]
    test = _write_jsonl(work / "sst2-test.jsonl", [{"sentence": text, "label": label} for label, text in pairs])
    train, texts = source / "sst2" / "train.tsv", work / "sst2-texts"
    texts.mkdir(parents=True, exist_ok=True)
    for number, line in enumerate(train.read_text(encoding="utf-8").splitlines()[1:]):
        (texts / f"{number:05}.txt").write_text(line.partition("\t")[0] + "\n", encoding="utf-8")
    return Data("classification", "accuracy", train, test, note="test, 1,821 sentences", texts=texts)


def prepare_wnut17(source: Path, work: Path) -> Data:
    """Return WNUT-17, emerging entities in CoNLL columns; one file has another suffix, so the format is an option."""
    folder, options = source / "wnut17", ("--input-format", "conll")
    files = folder / "wnut17train.conll", folder / "emerging.test.annotated"
    return Data("tagging", "f1", *files, options=options, note="test, 1,287 sentences, F1 of entities")


def prepare_codah(source: Path, work: Path) -> Data:
    """Return CODAH, sentence completion with four endings; the files have no header, so it is an option."""
    folder, options = source / "codah", ("--header", CODAH_HEADER)
    return Data(
        "multiple-choice", "accuracy", folder / "fold_0.train.tsv", folder / "fold_0.test.tsv", options,
        "fold 0, test, 555 questions",
    )  # fmt: skip


def prepare_squad(source: Path, work: Path) -> Data:
    """Return a part of SQuAD whose questions are evenly spaced over all articles."""
    train = select_questions(
        source / "squad" / "train-v1.1.44-articles.json", work / "squad-train.json", TRAIN_QUESTIONS
    )
    test = select_questions(source / "squad" / "dev-v1.1.json", work / "squad-dev.json", TEST_QUESTIONS)
    note = f"{TRAIN_QUESTIONS:,} questions of 44 articles; {TEST_QUESTIONS:,} of dev, all articles"
    return Data("question-answering", "f1", train, test, note=note)


DATA: dict[str, Callable[[Path, Path], Data]] = {
    "sst2": prepare_sst2, "wnut17": prepare_wnut17, "codah": prepare_codah, "squad": prepare_squad
}  # fmt: skip


def select_questions(source: Path, target: Path, count: int) -> Path:
    """Write a SQuAD file with `count` of the questions of another, evenly spaced; return its path."""
    document = json.loads(source.read_text(encoding="utf-8"))
    total = sum(len(paragraph["qas"]) for article in document["data"] for paragraph in article["paragraphs"])
    chosen, seen = {number * total // count for number in range(count)}, 0
    for article in document["data"]:
        for paragraph in article["paragraphs"]:
            numbers = range(seen, seen + len(paragraph["qas"]))
            seen += len(paragraph["qas"])
            paragraph["qas"] = [
                question for number, question in zip(numbers, paragraph["qas"], strict=True) if number in chosen
            ]
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(document), encoding="utf-8")
    return target


def _write_jsonl(path: Path, rows: list[dict[str, str]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
