"""Check messages, documentation, docstrings and comments for phrases that have a plain replacement."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = (
    "roberta_core",
    "roberta_pt",
    "roberta_tf",
    "roberta_flax",
    "roberta_onnx",
    "conformance",
    "roberta_bench",
    "benchmarks",
)
SUFFIXES = {".py", ".md", ".toml", ".yml", ".cff"}
# Replacement -> phrases, in lower case.
PHRASES = {
    "reported, raised, logged or printed": ["told", "is said", "are said"],
    "download, obtain": ["come by"],
    "integer": ["whole number", "whole numbers", "whole-number"],
    "transposed": ["turned matrix", "turned matrices", "turned kernel", "turned kernels"],
    "diverges": ["goes astray", "go astray"],
    "resumes, continues": [
        f"{verb} on {where}" for verb in ("go", "goes", "went") for where in ("from", "with", "where", "in", "through")
    ],
    "trains": ["takes the steps", "take the steps", "took the steps"],
    "name who does it; is requested, is not requested": ["nobody", "somebody", "whoever"],
    "is predicted for": ["stand behind", "stands behind"],
    "is newly initialised": ["starts random", "start random", "is new and"],
    "is untrained, is undefined": ["mean nothing", "means nothing"],
    "logs, warns or reports it": ["says so", "say so"],
    "fully masked": ["masked throughout"],
    "the vocabulary projection": ["product with the vocabulary"],
    "is suspended": ["stands still"],
    "skipped, omitted": ["left out", "leaves out", "leave out", "leaving out"],
    "an injected fault": ["planted"],
    "space, whitespace": ["blank", "blanks"],
    "upcast": ["raised to it", "raised to float32", "raised to float64"],
    "option, request": ["wish", "wishes"],
    "exits with": ["ends with 0", "ends with 1", "ends with 2"],
    "is missing": ["did not come", "both of them came"],
    "the pure-Python tokenizer, the fast tokenizer": ["twin", "twins"],
    "again": ["anew"],
    "among": ["amid"],
    "an eager call": ["ordinary call", "ordinary calls"],
    "cannot accept, is out of range": ["cannot take"],
    "不起作用": ["没有什么依赖"],
    "随机数键": ["随机数密钥", "随机密钥", "随机数钥匙"],
    "掩码": ["遮罩", "遮盖", "蒙版"],
    "核采样": ["核心采样"],
    "填充也会参与注意力计算": ["填充会像词一样被注意"],
    "不参与注意力": ["不应注意"],
    "前向时只保留每层输入": ["反向传播时只保留每层的输入"],
    "在日志中提示": ["在日志中用一句话说明"],
}
ADVICE = {phrase: advice for advice, phrases in PHRASES.items() for phrase in phrases}
INDENT = re.compile(r"\n[ \t]*(?:#:? )?")  # between two lines of a comment or a docstring


def find_phrases(text: str) -> list[tuple[int, str, str]]:
    """Return (line, phrase, replacement) for every phrase in a text."""
    lines = INDENT.sub("\n", text).lower()
    flat = lines.replace("\n", " ").replace("blank line", "empty line")
    return [
        (lines.count("\n", 0, match.start()) + 1, phrase, advice)
        for phrase, advice in ADVICE.items()
        if phrase in flat
        for match in re.finditer(rf"(?<![\w-]){phrase}(?![\w-])" if phrase.isascii() else phrase, flat)
    ]


EXAMPLES = ROOT / "docs" / "examples" / "write.py"  # its sentences are training data, not prose


def list_files() -> list[Path]:
    """Return every file with text for people, except this one, which lists the phrases."""
    roots = [ROOT / folder for folder in (*FOLDERS, "docs", "tests", ".github")]
    found = [path for root in roots for path in sorted(root.rglob("*")) if path.suffix in SUFFIXES]
    found += [
        path for path in sorted(ROOT.glob("*")) if path.suffix in SUFFIXES or path.name in ("Makefile", "tox.ini")
    ]
    found = [path for path in found if path != EXAMPLES]
    return [path for path in found if path != Path(__file__).resolve() and "_build" not in path.parts]


def test_no_file_has_a_listed_phrase():
    found = [
        f"{path.relative_to(ROOT).as_posix()}:{line}: {phrase!r}: write {better}"
        for path in list_files()
        for line, phrase, better in find_phrases(path.read_text(encoding="utf-8"))
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('raise ValueError("the record is left out, and told with its line")', 1),
        ("# Comment.\n    # The run goes\n    # on from its newest checkpoint.", 2),
        ('    """Labels are whole\n    numbers."""', 1),
        ("没有什么依赖它们", 1),
    ],
)
def test_a_phrase_is_found_in_messages_comments_docstrings_and_pages(text, line):
    assert [number for number, _, _ in find_phrases(text)][:1] == [line]


def test_plain_sentences_pass():
    text = "The run resumes from its newest checkpoint. Skipped 3 records: train.csv:17: label is empty. A blank line."
    assert find_phrases(text) == []
