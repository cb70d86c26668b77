"""The page of the server in a real browser: it fills a mask, finds entities, answers a question, compares texts."""

import os
import signal
import threading
from pathlib import Path

import pytest

from roberta_core.serving.server import Server

TASKS = (
    "fill-mask", "sentence-embedding", "token-classification", "question-answering", "text-classification",
    "zero-shot-classification", "multiple-choice", "text-generation",
)  # fmt: skip
ROWS = "[...document.querySelectorAll('#result .bars li')].map(one => one.innerText)"
RESULT = "document.getElementById('result').children.length > 0 && !document.querySelector('button[disabled]')"
FIT = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def url(serving):
    ready, found = threading.Event(), []
    service = serving.build_service({"tiny": serving.build_pipelines(*TASKS)})
    server = Server(service, "127.0.0.1", 0, lambda url: (found.append(url), ready.set()))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    assert ready.wait(20)
    yield found[0]
    server.handle_exit(signal.SIGTERM, None)
    thread.join(20)


@pytest.fixture(scope="module")
def page(browser, url):
    """The page, open in a browser."""
    browser.open(url)
    browser.wait("document.querySelectorAll('#tasks button').length == 8")
    yield browser
    assert browser.errors == []  # no exception, and nothing that the security policy forbids


def run_task(page, task, **fields):
    page.run(f"document.querySelector('[data-task={task}]').click()")
    page.run("document.querySelector('#fields input, #fields textarea').focus()")
    for name, text in fields.items():
        page.run(f"document.getElementById('field-{name}').value = ''; document.getElementById('field-{name}').focus()")
        page.write(text)
    page.press("Enter", modifiers=2)
    page.wait(RESULT)
    if folder := os.environ.get("ROBERTA_SCREENSHOTS"):
        for width, height in ((1280, 900), (390, 844)):
            page.resize(width, height)
            page.capture(Path(folder, f"{task}-{width}.png"))
        page.resize(1280, 900)


def test_a_mask_is_filled_with_bars(page, serving):
    run_task(page, "fill-mask", text="a<mask> and")
    rows = page.run(ROWS)
    expected = serving.build_pipelines("fill-mask")["fill-mask"]("a<mask> and", top_k=8)
    assert [row.split("\n")[-1] for row in rows] == [f"{one['score'] * 100:.1f}%" for one in expected]
    widths = page.run("[...document.querySelectorAll('.bar')].map(one => parseFloat(one.style.width))")
    assert widths == pytest.approx([one["score"] * 100 for one in expected], abs=0.01)


def test_entities_are_marked_where_they_are(page, serving):
    text = "\U0001f600 a door and a window <b>&"
    run_task(page, "token-classification", text=text)
    found = serving.build_pipelines("token-classification")["token-classification"](text, aggregation_strategy="first")
    marks = page.run(
        "[...document.querySelectorAll('mark')].map(one => [one.firstChild.data, one.lastChild.innerText])"
    )
    assert found
    assert marks == [[text[one["start"] : one["end"]], one["entity_group"]] for one in found]
    assert page.run("document.querySelector('.passage b') === null")  # texts are no HTML


def test_an_answer_is_marked_in_its_context(page, serving):
    fields = {"question": "what?", "context": "She opened the door and went in."}
    run_task(page, "question-answering", **fields)
    expected = serving.build_pipelines("question-answering")["question-answering"](**fields)
    assert page.run("document.querySelector('mark').innerText") == expected["answer"]
    assert page.run("document.querySelector('.passage').innerText") == fields["context"]


def test_similarities_are_a_table(page):
    run_task(page, "sentence-embedding", texts="a door\na window\na door")
    values = page.run("[...document.querySelectorAll('td')].map(one => one.innerText)")
    assert len(values) == 9
    assert values[0] == values[2] == values[8] == "1.00"


@pytest.mark.parametrize("task", ["text-classification", "zero-shot-classification", "multiple-choice"])
def test_scores_are_bars(page, task):
    run_task(page, task)
    assert len(page.run(ROWS)) >= 2


def test_generated_tokens_are_shown(page):
    run_task(page, "text-generation", text="a door")
    assert page.run("document.querySelector('.error').innerText").startswith("a prompt of")
    page.run("TASKS['text-generation'].request = ({ text }) => ({ inputs: text, max_new_tokens: 4, stream: true })")
    run_task(page, "text-generation", text="a door")
    page.wait("document.querySelector('#result mark').innerText.length > 5")


def test_a_wrong_text_shows_the_sentence_of_the_server(page):
    run_task(page, "fill-mask", text="no token to predict")
    assert "No mask_token" in page.run("document.querySelector('[role=alert]').innerText")


def test_tasks_are_chosen_with_the_keyboard(page):
    page.run("document.querySelector('[data-task=fill-mask]').click()")
    page.run("document.querySelector('[data-task=fill-mask]').focus()")
    page.press("ArrowRight")
    assert page.run("document.activeElement.dataset.task") == "token-classification"
    assert page.run("document.activeElement.getAttribute('aria-selected')") == "true"
    page.press("End")
    assert page.run("document.activeElement.dataset.task") == "text-generation"


def test_it_fits_a_phone_in_light_and_dark(page, url):
    backs = []
    for dark in (False, True):
        page.open(url, 390, 844, dark=dark)
        page.wait("document.querySelectorAll('#tasks button').length == 8")
        page.run("document.querySelector('[data-task=sentence-embedding]').click()")
        page.run("document.querySelector('[type=submit]').click()")
        page.wait(RESULT)
        page.resize(390, 844)
        assert page.run(FIT)
        backs.append(page.run("getComputedStyle(document.body).backgroundColor"))
    assert backs[0] != backs[1]


def test_everything_comes_from_the_server_itself(page, url):
    names = page.run("performance.getEntriesByType('resource').map(one => one.name)")
    assert names
    assert all(name.startswith(url) for name in names)
