"""Pages and notebook fragments of predictions: what is marked, what is counted, and that every text is escaped."""

import json
import pickle
from html.parser import HTMLParser

import pytest

from roberta_core.pipelines import html_fragments, html_pages
from roberta_core.pipelines.base import RowError
from roberta_core.pipelines.html_fragments import Hues, ResultList, attach_html, mark_text
from roberta_core.pipelines.html_pages import build_page

HOSTILE = "Anna <script>alert('x')</script> & \"Z\u00fcrich\" <img src=x onerror=alert(1)> \U0001f600\nend"
TAGS = {
    "html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "article", "mark", "b", "span", "div", "i", "br",
    "table", "tr", "th", "td",
}  # fmt: skip


class Reader(HTMLParser):
    """The elements of a document, its text, and the text of its paragraphs and marks."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.open, self.texts, self.marks, self.attributes = set(), [], [], [], set()
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.open += [] if tag in ("meta", "br") else [tag]
        if tag == "p":
            self.texts.append("")
        if tag == "mark":
            self.marks.append(["", ""])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "mark" in self.open:
            self.marks[-1]["b" in self.open] += data
        if "p" in self.open and not ("mark" in self.open and "b" in self.open):
            self.texts[-1] += data


def read(page):
    found = Reader(page)
    assert found.open == []
    assert found.tags <= TAGS
    assert found.attributes <= {"lang", "charset", "http-equiv", "content", "name", "class", "style", "dir"}
    assert "http://" not in page
    assert "https://" not in page
    assert "url(" not in page
    return found


def find(text, word):
    return {"start": text.index(word), "end": text.index(word) + len(word), "word": word, "score": 0.5}


def test_entities_are_marked_and_hostile_texts_are_escaped():
    page = build_page("token-classification", "a <b> model")
    entities = [
        {"entity_group": "PER", **find(HOSTILE, "Anna")}, {"entity_group": "<i>", **find(HOSTILE, "Z\u00fcrich")}
    ]  # fmt: skip
    page.add("<file>, line 1", HOSTILE, entities)
    page.add("line 2", "nothing", [])
    page.add("line 3", None, RowError("no <text>"))
    found = read(page.render())
    assert found.marks == [["Anna", "PER"], ["Z\u00fcrich", "<i>"]]
    assert HOSTILE in found.texts
    assert "no <text>" in found.texts
    assert "<file>, line 1" in found.texts
    assert "token-classification: 3 texts, 1 with an error" in found.texts
    assert "PER 1<i> 1" in found.texts


def test_overlapping_spans_never_repeat_or_lose_characters():
    text = "abcdefgh"
    spans = [(2, 5, "A", 0), (3, 4, "B", 0), (4, 7, "C", 0), (0, 1, "D", 0)]
    found = read(mark_text(text, spans))
    assert found.texts == [text]
    assert found.marks == [["a", "D"], ["cde", "A"], ["", "B"], ["fg", "C"]]


def test_control_characters_and_half_surrogates_are_replaced(tmp_path):
    page = build_page("token-classification", "m")
    page.add("line 1", "a\x00b\ud800c\td\ne", [])
    page.save(tmp_path / "page.html")
    assert "a\ufffdb\ufffdc\td\ne" in read((tmp_path / "page.html").read_text(encoding="utf-8")).texts


def test_answers_are_marked_in_their_contexts():
    page = build_page("question-answering", "m")
    item = {"question": "who <b>?", "context": HOSTILE}
    best = {"answer": "Anna", "start": 0, "end": 4, "score": 0.75}
    page.add("line 1", item, [best, {"answer": "", "start": 0, "end": 0, "score": 0.25}])
    page.add("line 2", item, {"answer": "", "start": 0, "end": 0, "score": 0.5})
    text = page.render()
    found = read(text)
    assert found.marks == [["Anna", ""]]
    assert found.texts.count(HOSTILE) == 2
    assert "who <b>?Anna 0.750" in found.texts
    assert "who <b>?no answer in the text 0.500" in found.texts
    assert "Questions without an answer in their text: 1" in found.texts
    assert "further answers" in text


def test_labels_are_counted_and_the_least_certain_texts_come_first(monkeypatch):
    monkeypatch.setattr(html_pages, "DOUBTS", 2)
    page = build_page("text-classification", "m")
    page.add("line 1", HOSTILE, {"label": "good", "score": 0.6})
    page.add("line 2", {"text": "one", "text_pair": "two"}, {"label": "bad", "score": 0.4})
    page.add("line 3", "sure", {"label": "good", "score": 0.9})
    page.add("line 4", "all", [{"label": "bad", "score": 0.2}, {"label": "good", "score": 0.8}])
    text = page.render()
    found = read(text)
    assert [one for one in found.texts if one in ("one\ntwo", HOSTILE, "sure", "all")] == ["one\ntwo", HOSTILE]
    assert text.index(">good<") < text.index("75.0%") < text.index(">bad<") < text.index("25.0%")


def test_a_page_says_how_many_rows_it_does_not_show(monkeypatch):
    monkeypatch.setattr(html_pages, "MOST", 2)
    page = build_page("token-classification", "m")
    for number in range(5):
        page.add(f"line {number}", f"text {number}", [])
    found = read(page.render())
    assert "The first 2 rows are shown; 3 are not." in found.texts
    assert "text 1" in found.texts
    assert "text 2" not in found.texts


def test_labels_keep_their_colours():
    hues = Hues()
    assert [hues["a"], hues["b"], hues["a"]] == [html_fragments.HUES[0], html_fragments.HUES[1], html_fragments.HUES[0]]


def test_a_task_without_a_page_is_refused():
    with pytest.raises(ValueError, match="fill-mask has no page of predictions; these have: token-classification"):
        build_page("fill-mask", "m")


def test_results_stay_plain_and_have_html_for_notebooks():
    entities = [{"entity_group": "PER", **find(HOSTILE, "Anna")}]
    found = attach_html(entities, "token-classification", [(HOSTILE, entities)])
    assert found == entities
    assert repr(found) == repr(entities)
    assert json.loads(json.dumps(found)) == entities
    assert isinstance(found, ResultList)
    assert read(found._repr_html_()).marks == [["Anna", "PER"]]
    assert read(pickle.loads(pickle.dumps(found))._repr_html_()).marks == [["Anna", "PER"]]
    answer = {"label": 1, "choice": "<b>", "score": 0.5, "scores": [0.5, 0.5]}
    shown = attach_html(answer, "multiple-choice", [({"context": "c <", "choices": ["a", "<b>"]}, answer)])
    assert shown == answer
    assert "&lt;b&gt;" in shown._repr_html_()
    assert "c <" in read(shown._repr_html_()).texts
    numbers = [[[0.5, 1.0]]]
    assert type(attach_html(numbers, "feature-extraction", [("a", numbers)])) is list
