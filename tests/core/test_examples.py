"""The example files of the tasks page are those that their script writes, and every task reads its own."""

import importlib.util
import json
from pathlib import Path

import pytest

from roberta_core.data.records import Skipped, read
from roberta_core.tasks import find_task

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "examples"
TASKS = {
    "tagging": "tagging", "answering": "question-answering", "choices": "multiple-choice", "ranking": "classification",
}  # fmt: skip


def build_files() -> dict[str, str]:
    spec = importlib.util.spec_from_file_location("write_examples", FOLDER / "write.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.build_files()


def test_the_files_are_those_that_the_script_writes():
    built = build_files()
    assert {f"{name}.jsonl" for name in TASKS} == set(built)
    for name, content in built.items():
        assert (FOLDER / name).read_text(encoding="utf-8") == content, f"run python docs/examples/write.py ({name})"


@pytest.mark.parametrize("name", TASKS)
def test_every_row_is_an_example(name):
    skipped = Skipped(strict=True)
    task = find_task(TASKS[name]).from_pretrained("roberta-tiny")
    found = task.collect_examples(read(FOLDER / f"{name}.jsonl", skipped), skipped, learn=True)
    assert len(found) == len((FOLDER / f"{name}.jsonl").read_text(encoding="utf-8").splitlines())


def test_answers_are_where_the_rows_say():
    for line in (FOLDER / "answering.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        (answer,) = row["answers"]
        assert row["context"][answer["answer_start"] :].startswith(answer["text"])
