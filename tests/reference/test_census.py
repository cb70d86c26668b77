"""A census of the public surface of transformers 4.57.6's RoBERTa classes, read by introspection.

Each method, property and argument is a row of census.csv with a mark:

- honoured: here under the same name, with a test that names it
- ignored: accepted without effect, with the test that shows it
- refused: an error that says what to do, with its test
- out: not here on purpose, with the reason
- untested: here under the same name, but no test names it
- missing: not here

`python -m pytest -s` prints the counts.
"""

import ast
import csv
import inspect
import re
from collections import Counter
from dataclasses import fields
from functools import cache
from pathlib import Path

import pytest

transformers = pytest.importorskip("transformers", reason="reads the classes of transformers itself")
if not transformers.__version__.startswith("4."):
    pytest.skip("transformers 5 has no TensorFlow and Flax classes", allow_module_level=True)
for framework in ("torch", "tensorflow", "flax"):
    pytest.importorskip(framework)

import roberta_core.outputs  # noqa: E402
import roberta_flax  # noqa: E402
import roberta_pt  # noqa: E402
import roberta_tf  # noqa: E402
from roberta_core.generation.settings import IGNORED, Settings  # noqa: E402
from roberta_core.tokenization import BatchEncoding  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
TABLE = Path(__file__).with_name("census.csv")
MARKS = ("honoured", "ignored", "refused", "out", "untested", "missing")
HEADS = ("Model", "ForMaskedLM", "ForCausalLM", "ForSequenceClassification", "ForTokenClassification",
         "ForMultipleChoice", "ForQuestionAnswering")  # fmt: skip
# Files and tests that iterate over signatures, so that they name no argument.
UNIVERSAL = (
    "tests/laws/test_arguments.py",
    "tests/laws/test_methods.py",
    "tests/core/test_argument_table.py",
    "tests/core/test_outputs.py",
    "tests/reference/test_surface.py",
    # this one iterates over the rows
    "tests/reference/test_published_methods_beside.py::test_a_refused_member_raises_an_error_that_says_what_to_do",
)
KINDS = {
    "pt": [(getattr(transformers, f"Roberta{head}"), getattr(roberta_pt, f"Roberta{head}")) for head in HEADS],
    "tf": [(getattr(transformers, f"TFRoberta{head}"), getattr(roberta_tf, f"TFRoberta{head}")) for head in HEADS],
    "flax": [
        (getattr(transformers, f"FlaxRoberta{head}"), getattr(roberta_flax, f"FlaxRoberta{head}")) for head in HEADS
    ],
    "config": [(transformers.RobertaConfig, roberta_core.RobertaConfig)],
    "slow": [(transformers.RobertaTokenizer, roberta_core.RobertaTokenizer)],
    "fast": [(transformers.RobertaTokenizerFast, roberta_core.RobertaTokenizerFast)],
    "encoding": [(transformers.BatchEncoding, BatchEncoding)],
    "output": [
        (getattr(transformers.modeling_outputs, name), getattr(roberta_core.outputs, name))
        for name in (
            "BaseModelOutputWithPoolingAndCrossAttentions",
            "CausalLMOutputWithCrossAttentions",
            "MaskedLMOutput",
            "SequenceClassifierOutput",
            "TokenClassifierOutput",
            "MultipleChoiceModelOutput",
            "QuestionAnsweringModelOutput",
        )
    ],
}
CALLS = {"pt": "forward", "tf": "call", "flax": "__call__", "slow": "__call__", "fast": "__call__"}


def list_members(kind):
    """Return the public members of a class that transformers defines, its call and its constructor."""
    return {
        name
        for one in kind.__mro__
        if one.__module__.startswith("transformers")
        for name in [*vars(one), *getattr(one, "__annotations__", {})]
        if not name.startswith("_") or name in ("__call__", "__init__")
    }


def list_arguments(kind, name):
    """Return the arguments of a method, without those that collect others."""
    member = inspect.getattr_static(kind, name, None)
    if not callable(getattr(kind, name, None)) or isinstance(member, property) or inspect.isclass(member):
        return []
    try:
        parameters = inspect.signature(getattr(kind, name)).parameters.values()
    except (TypeError, ValueError):
        return []
    collecting = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [one.name for one in parameters if one.kind not in collecting and one.name not in ("self", "cls")]


@cache
def list_rows():
    """Return every row: `kind.member` and `kind.member(argument)`."""
    rows = {}
    for kind, pairs in KINDS.items():
        for theirs, _ in pairs:
            for name in sorted(list_members(theirs)):
                rows[f"{kind}.{name}"] = None
                rows |= {f"{kind}.{name}({argument})": None for argument in list_arguments(theirs, name)}
    return tuple(rows)


def split(row):
    """Return the kind, the member and the argument of a row; the argument is "" if there is none."""
    found = re.fullmatch(r"(\w+)\.(\w+)(?:\((\w+)\))?", row)
    assert found is not None, row
    return found[1], found[2], found[3] or ""


def is_here(row):
    """Return whether a class here has the member, and its method accepts the argument."""
    kind, name, argument = split(row)
    having = [ours for theirs, ours in KINDS[kind] if name in list_members(theirs)]
    if name in ("generate", "prepare_inputs_for_generation"):  # the other classes have them too, and refuse to run them
        having = [ours for ours in having if "CausalLM" in ours.__name__]
    if name == "generate" and argument and argument not in inspect.signature(having[0].generate).parameters:
        return argument in {*(field.name for field in fields(Settings)), "generation_config", *IGNORED}
    if not argument:
        return all(has(ours, name) for ours in having)
    return all(accepts(ours, name, argument) for ours in having if argument in list_their_arguments(kind, ours, name))


def has(kind, name):
    """Return whether a class, or its instances, have an attribute."""
    declared = any(name in getattr(one, "__annotations__", {}) for one in kind.__mro__)
    instance = load_instance(kind) if kind.__module__.startswith("roberta_core.tokenization.roberta") else kind
    return declared or hasattr(kind, name) or hasattr(instance, name) or name in getattr(kind, "fields", ())


@cache
def load_instance(kind):
    """Return the tokenizer of roberta-tiny."""
    return kind.from_pretrained("roberta-tiny")


def list_their_arguments(kind, ours, name):
    """Return the arguments of the method of transformers' class that one of ours replaces."""
    return next(list_arguments(theirs, name) for theirs, one in KINDS[kind] if one is ours)


def accepts(kind, name, argument):
    """Return whether a method accepts an argument by name."""
    method = getattr(kind, name, None)
    if not callable(method):
        return False
    parameters = inspect.signature(method).parameters
    return argument in parameters or any(one.kind is one.VAR_KEYWORD for one in parameters.values())


@cache
def read_table():
    """Return the mark and the evidence of every row in census.csv."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        return {row: (mark, evidence) for row, mark, evidence in csv.reader(file)}


@cache
def read_tests(path):
    """Return the text of a test file and the names of its tests."""
    text = (ROOT / path).read_text(encoding="utf-8")
    names = {node.name for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)}
    return text, names


def test_every_row_has_a_mark_and_no_row_is_stale():
    table = read_table()
    assert [row for row in list_rows() if row not in table] == []
    assert [row for row in table if row not in set(list_rows())] == []
    assert {mark for mark, _ in table.values()} <= {*MARKS}


def test_what_is_marked_as_here_is_here():
    table = read_table()
    present = ("honoured", "ignored", "untested")
    assert [row for row, (mark, _) in table.items() if mark in present and not is_here(row)] == []


def test_what_is_missing_is_not_here():
    assert [row for row, (mark, _) in read_table().items() if mark == "missing" and is_here(row)] == []


def test_the_evidence_exists_and_names_the_row():
    faults = []
    for row, (mark, evidence) in read_table().items():
        _, name, argument = split(row)
        if mark in ("honoured", "ignored", "refused"):
            path, _, test = evidence.partition("::")
            text, tests = read_tests(path)
            word = argument or name
            named = {path, evidence} & {*UNIVERSAL} or word.startswith("__") or re.search(rf"\b{word}\b", text)
            if test not in tests or not named:
                faults.append((row, evidence))
        elif mark == "out" and len(evidence) < 20:
            faults.append((row, evidence))
    assert faults == []


def test_the_counts(capsys):
    counts = Counter(mark for mark, _ in read_table().values())
    total = sum(counts.values())
    with capsys.disabled():
        print(f"\n{total} rows:", ", ".join(f"{mark} {counts[mark]} ({counts[mark] / total:.1%})" for mark in MARKS))
    assert counts["missing"] <= MOST_MISSING
    assert counts["untested"] <= MOST_UNTESTED
    assert counts["out"] <= MOST_OUT * total


# The state that must not get worse.
MOST_MISSING, MOST_UNTESTED, MOST_OUT = 0, 0, 0.08
