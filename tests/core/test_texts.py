"""Search for documents and splitting into sentences."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roberta_core.data import texts


def test_sentences_end_at_marks_and_empty_lines():
    text = 'He came. "Who?" she said.\n\nThe man left! And then'
    assert texts.split_sentences(text) == ["He came.", ' "Who?" she said.', "\n\nThe man left!", " And then"]


def test_a_number_is_not_split_at_its_decimal_point():
    assert texts.split_sentences("Version 3.5 of it.") == ["Version 3.5 of it."]


@given(st.text(alphabet=st.sampled_from("ab AB.!?\n\"'”)(\t"), max_size=60))
def test_sentences_lose_only_whitespace_at_the_end(text):
    pieces = texts.split_sentences(text)
    assert text.startswith("".join(pieces))
    assert not text[len("".join(pieces)) :].strip()
    assert all(piece.strip() for piece in pieces)


def test_files_are_found_by_name_by_glob_and_by_list(tmp_path):
    for name in ("b.txt", "a.txt", "c.rst"):
        (tmp_path / name).write_text("x")
    (tmp_path / "list").write_text("c.rst\n\na.txt\n")
    found = texts.find([str(tmp_path / "b.txt"), str(tmp_path / "*.txt"), f"@{tmp_path / 'list'}"])
    assert [path.name for path in found] == ["a.txt", "b.txt", "c.rst"]


def test_missing_files_are_named(tmp_path):
    (tmp_path / "list").write_text("gone.txt\n")
    for pattern in (str(tmp_path / "*.txt"), f"@{tmp_path / 'list'}", f"@{tmp_path / 'no-list'}"):
        with pytest.raises(ValueError, match=r"\*\.txt|gone\.txt|no-list"):
            texts.find([pattern])


def test_a_folder_is_refused_with_the_pattern_of_its_files(tmp_path):
    with pytest.raises(ValueError, match=r"is a folder: name the files in it, such as '.*\*\.txt'"):
        texts.find([str(tmp_path)])


def test_text_that_is_not_utf8_is_refused_by_name(tmp_path):
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    with pytest.raises(ValueError, match=r"latin\.txt is not UTF-8 text: .* at byte 3"):
        texts.read(tmp_path / "latin.txt")
