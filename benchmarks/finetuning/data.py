"""The data of the benchmark, as `roberta finetune` reads it; what is odd about published files is put right here."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Data:
    """A task's files and the options that say how to read them; `score` is what its table shows first.

    `texts` is a folder of the training texts alone, one a file, where the model is first adapted to them.
    """

    task: str
    score: str
    train: Path
    test: Path
    options: tuple[str, ...] = ()
    note: str = ""
    texts: Path | None = None


QUESTIONS, ASKED = 1_000, 500  # of SQuAD's 11,877 and 10,570: a model of this size learns it slowly
CODAH_HEADER = "category,prompt,ending0,ending1,ending2,ending3,label"


def sst2(source: Path, work: Path) -> Data:
    """Sentences; the test file is `label sentence`, without a header."""
    lines = (source / "sst2" / "test.tsv").read_text(encoding="utf-8").splitlines()
    pairs = [line.split(" ", 1) for line in lines]
    test = _written(work / "sst2-test.jsonl", [{"sentence": text, "label": label} for label, text in pairs])
    train, texts = source / "sst2" / "train.tsv", work / "sst2-texts"
    texts.mkdir(parents=True, exist_ok=True)
    for number, line in enumerate(train.read_text(encoding="utf-8").splitlines()[1:]):
        (texts / f"{number:05}.txt").write_text(line.partition("\t")[0] + "\n", encoding="utf-8")
    return Data("classification", "accuracy", train, test, note="test, 1,821 sentences", texts=texts)


def wnut17(source: Path, work: Path) -> Data:
    """Emerging entities; CoNLL columns in files with other suffixes."""
    folder, options = source / "wnut17", ("--format", "conll")
    files = folder / "wnut17train.conll", folder / "emerging.test.annotated"
    return Data("tagging", "f1", *files, options=options, note="test, 1,287 sentences, F1 of entities")


def codah(source: Path, work: Path) -> Data:
    """Sentence completion with four endings, no header."""
    folder, options = source / "codah", ("--header", CODAH_HEADER)
    return Data(
        "multiple-choice", "accuracy", folder / "fold_0.train.tsv", folder / "fold_0.test.tsv", options,
        "fold 0, test, 555 questions",
    )  # fmt: skip


def squad(source: Path, work: Path) -> Data:
    """Questions spread evenly over the articles of the files."""
    train = _spread(source / "squad" / "train-v1.1.44-articles.json", work / "squad-train.json", QUESTIONS)
    test = _spread(source / "squad" / "dev-v1.1.json", work / "squad-dev.json", ASKED)
    note = f"{QUESTIONS:,} questions of 44 articles; {ASKED:,} of dev, all articles"
    return Data("question-answering", "f1", train, test, note=note)


DATA: dict[str, Callable[[Path, Path], Data]] = {"sst2": sst2, "wnut17": wnut17, "codah": codah, "squad": squad}


def _spread(source: Path, target: Path, count: int) -> Path:
    """A SQuAD file with `count` of its questions, evenly spaced."""
    document = json.loads(source.read_text(encoding="utf-8"))
    total = sum(len(paragraph["qas"]) for article in document["data"] for paragraph in article["paragraphs"])
    chosen, seen = {number * total // count for number in range(count)}, 0
    for article in document["data"]:
        for paragraph in article["paragraphs"]:
            numbers = range(seen, seen + len(paragraph["qas"]))
            seen += len(paragraph["qas"])
            paragraph["qas"] = [
                asked for number, asked in zip(numbers, paragraph["qas"], strict=True) if number in chosen
            ]
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(document), encoding="utf-8")
    return target


def _written(path: Path, rows: list[dict[str, str]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
