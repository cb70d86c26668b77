"""Pipelines over a stub framework whose scores are a function of the ids, so that every expected value is known."""

import io
import re
import sys

import numpy as np
import pytest

from roberta_core import RobertaConfig, RobertaTokenizerFast, backend, checkpoints, cli, pipelines
from roberta_core.cli import predict
from roberta_core.interface import COMMAND, PYTHON, REQUEST, use_interface
from roberta_core.pipelines import PIPELINES
from roberta_core.pipelines.token_classification import _merge_overlapping
from roberta_core.pretrained import PreTrainedBase
from roberta_core.sentences import CrossEncoder, Normalize, Pooling, SentenceModules
from roberta_core.tasks.features import split_windows

LENGTH = 24  # tokens that the stub's models accept
LABELS = {
    "ForSequenceClassification": ("contradiction", "neutral", "entailment"),
    "ForTokenClassification": ("O", "B-PER", "I-PER"),
}


class Stub:
    """A framework: logits [.., K] are cosines of ids times 1..K, hidden states [.., 5] too; records batch sizes."""

    name = "stub"

    def __init__(self):
        self.shapes = []

    def tensor(self, array):
        return ("tensor", array)

    def run(self, model, inputs):
        ids = inputs["input_ids"]
        self.shapes.append(ids.shape)
        real = inputs["attention_mask"] == 1
        kind, labels = model.architecture, model.config.num_labels
        if kind == "ForMaskedLM":
            return {"logits": _waves(ids, model.config.vocab_size)}
        if kind == "ForQuestionAnswering":
            both = _waves(ids, 2)
            return {"start_logits": both[..., 0], "end_logits": both[..., 1]}
        if kind == "ForTokenClassification":
            return {"logits": _waves(ids, labels)}
        if kind == "Model":
            return {"last_hidden_state": _waves(ids, 5)}
        if kind == "ForMultipleChoice":
            return {"logits": np.where(real, np.cos(ids), 0).sum(-1)}
        return {"logits": np.where(real[..., None], _waves(ids, labels), 0).sum(-2)}


class Model:
    def __init__(self, architecture, tokenizer, **fields):
        labels = LABELS.get(architecture, ("LABEL_0", "LABEL_1"))
        fields = {"id2label": dict(enumerate(labels)), **fields}
        self.architecture = architecture
        self.config = RobertaConfig(vocab_size=len(tokenizer), max_position_embeddings=LENGTH + 2, **fields)


def _waves(ids, count):
    return np.cos(ids[..., None] * np.arange(1, count + 1)).astype(np.float32)


@pytest.fixture(scope="module")
def tokenizer():
    return RobertaTokenizerFast.from_pretrained("roberta-tiny")


@pytest.fixture
def build(tokenizer):
    """`build(task, **fields of the configuration)`: a pipeline over the stub."""

    def build(task, budget=64, settings=None, **fields):
        kind = PIPELINES[task]
        return kind(Stub(), Model(kind.architecture, tokenizer, **fields), tokenizer, budget=budget, **(settings or {}))

    return build


def test_windows_are_those_of_the_tokenizers_library(tokenizer):
    engine = tokenizer.backend_tokenizer
    for count, room, overlap in ((0, 5, 2), (5, 5, 2), (6, 5, 2), (9, 5, 2), (20, 7, 0), (23, 7, 6)):
        engine.enable_truncation(room + 2, stride=overlap)
        encoding = engine.encode("a" + " a" * (count - 1) if count else "")
        sizes = [len(part.ids) - 2 for part in (encoding, *encoding.overflowing)]
        windows = split_windows(count, room, overlap)
        assert [end - begin for begin, end in windows] == sizes
        assert windows[0][0] == 0
        assert windows[-1][1] == count


def test_an_overlap_without_new_tokens_is_refused():
    with pytest.raises(ValueError, match="windows of 5 tokens cannot share 5"):
        split_windows(9, 5, 5)


def test_one_input_gives_one_result_a_list_a_list_and_a_generator_an_iterator(build):
    answer = build("text-classification")
    one, two = answer("a door")[0], answer("a window")[0]
    assert answer(["a door", "a window"]) == [one, two]
    results = answer(text for text in ("a door", "a window"))
    assert not isinstance(results, list)
    assert list(results) == [one, two]
    assert answer([]) == []


def test_results_come_in_the_order_of_the_inputs_whatever_batches_they_share(build):
    answer = build("text-classification", budget=40)
    texts = ["a " * count for count in (9, 1, 5, 2, 8, 1, 3)]
    together = answer(texts)
    assert len(answer.backend.shapes) > 2
    alone = [answer(text)[0] for text in texts]
    assert [result["label"] for result in together] == [result["label"] for result in alone]
    assert [result["score"] for result in together] == pytest.approx([result["score"] for result in alone], abs=1e-6)


def test_an_unknown_option_is_refused_with_the_known_ones(build):
    with pytest.raises(TypeError, match="fill-mask has no option topk; its options are top_k, targets"):
        build("fill-mask")("a<mask>", topk=3)


def test_batch_size_is_accepted_and_has_no_effect(build):
    answer = build("text-classification", settings={"batch_size": 8})
    assert answer("a door", batch_size=1) == answer("a door")


def test_options_of_the_pipeline_hold_for_every_call_and_a_call_overrides_them(build):
    answer = build("fill-mask", settings={"top_k": 2})
    assert len(answer("a<mask>")) == 2
    assert len(answer("a<mask>", top_k=3)) == 3


def test_a_long_text_is_scored_over_all_its_windows(build):
    answer = build("text-classification", settings={"top_k": None})
    head, tail = "door " * 30, " window" * 30
    ids = answer.tokenizer(head + tail, add_special_tokens=False)["input_ids"]
    room = LENGTH - 2
    scores = []
    for begin, end in split_windows(len(ids), room, room // 4):
        row = answer.tokenizer.build_inputs_with_special_tokens(ids[begin:end])
        logits = _waves(np.array(row), 3).sum(0).astype(np.float64)
        scores.append(np.exp(logits) / np.exp(logits).sum())
    got = {label["label"]: label["score"] for label in answer(head + tail, top_k=None)[0:3]}
    for k, label in enumerate(LABELS["ForSequenceClassification"]):
        assert got[label] == pytest.approx(np.mean(scores, axis=0)[k], abs=1e-6)


@pytest.mark.parametrize(
    ("long", "kept"),
    [("head", slice(None, 22)), ("tail", slice(-22, None))],
)
def test_head_and_tail_keep_that_part_of_a_long_text(build, long, kept):
    answer = build("text-classification")
    text = " ".join(f"w{number}" for number in range(40))
    ids = answer.tokenizer(text, add_special_tokens=False)["input_ids"]
    (feature,) = answer.build_features([text], {**answer.settings, "long": long})
    assert feature.ids[1:-1] == ids[kept]
    (both,) = answer.build_features([text], {**answer.settings, "long": "head+tail"})
    assert both.ids[1:-1] == ids[:5] + ids[-17:]


def test_a_pair_of_long_texts_is_refused_unless_it_may_be_truncated(build):
    answer = build("text-classification")
    pair = {"text": "door " * 30, "text_pair": "a window " * 20}
    with pytest.raises(
        ValueError, match=r"long \(31 and 41 tokens, of which the model accepts 20 together\): pass trunc"
    ):
        answer(pair)
    assert answer(pair, truncation=True)["label"] in LABELS["ForSequenceClassification"]


@pytest.mark.parametrize(
    ("long", "parts"),
    [
        ("tail", [[*range(12, 30)]]),
        ("head+tail", [[*range(4), *range(16, 30)]]),
        ("windows", [[*range(18)], [*range(14, 30)]]),
        ("head", [[*range(18)]]),
    ],
)
@pytest.mark.parametrize("swapped", [False, True])
def test_the_longer_text_of_a_pair_is_cut_and_the_other_kept_whole(build, long, parts, swapped):
    answer = build("text-classification")
    texts = [" ".join(["door", "garden", "window"] * 10), "a window"]
    ids, short = answer.tokenizer(texts, add_special_tokens=False)["input_ids"]
    assert (len(ids), len(short)) == (30, 2)
    first, second = reversed(texts) if swapped else texts
    features = answer.build_features([{"text": first, "text_pair": second}], {**answer.settings, "long": long})
    assert [feature.notes for feature in features] == [long != "windows"] * len(parts)
    for feature, part in zip(features, parts, strict=True):
        kept = [ids[place] for place in part]
        pair = (short, kept) if swapped else (kept, short)
        assert feature.ids == answer.tokenizer.build_inputs_with_special_tokens(*pair)
        assert len(feature.ids) <= LENGTH


def test_truncation_has_the_names_and_the_length_of_the_published_argument(build):
    answer = build("text-classification", settings={"top_k": None})
    long = "door " * 30
    assert answer(long, truncation="do_not_truncate") == answer(long)
    ids = answer.tokenizer(long, truncation=True, max_length=8)["input_ids"]
    logits = _waves(np.array(ids), 3).sum(0).astype(np.float64)
    found = {label["label"]: label["score"] for label in answer(long, padding=True, truncation=True, max_length=8)[0]}
    assert list(map(found.get, LABELS["ForSequenceClassification"])) == pytest.approx(
        np.exp(logits) / np.exp(logits).sum()
    )
    pair = {"text": long, "text_pair": "a window"}
    whole = answer.tokenizer(long, "a window", truncation="only_first", max_length=LENGTH)["input_ids"]
    assert answer.build_features([pair], {**answer.settings, "truncation": "only_first"})[0].ids == whole
    for options, message in (
        ({"truncation": "only_second"}, "the second text has 2 tokens"),
        ({"truncation": "longest"}, "truncation is 'longest'; expected one of"),
        ({"max_length": 8}, "max_length is 8, but truncation is not requested"),
        ({"max_length": 4, "truncation": True}, "max_length is 4, which leaves no room"),
    ):
        with pytest.raises(ValueError, match=message):
            answer(pair, **options)


def test_the_scores_of_windows_are_combined_as_specified(build):
    answer = build("text-classification", settings={"top_k": None, "function_to_apply": "none"})
    text = "door " * 30 + " window" * 30
    rows = answer.build_features([text], answer.settings)
    assert len(rows) > 2
    each = np.array([_waves(np.array(row.ids), 3).sum(0) for row in rows], np.float64)
    for name, combine in (("mean", each.mean(0)), ("max", each.max(0))):
        found = {label["label"]: label["score"] for label in answer(text, top_k=None, window_scores=name)}
        assert list(map(found.get, LABELS[answer.architecture])) == pytest.approx(combine.tolist(), abs=1e-5)
    with pytest.raises(ValueError, match="window_scores is 'median'; expected one of mean, max"):
        answer(text, window_scores="median")


def test_a_detailed_result_says_whether_a_text_was_cut(build):
    answer = build("text-classification", settings={"detailed": True})
    short, long = answer(["door", "door " * 40], long="head")
    assert (short["truncated"], long["truncated"]) == (False, True)
    assert not answer(["door " * 40], long="windows")[0]["truncated"]
    assert list(short) == ["text", "label", "score", "scores", "truncated"]
    assert short["score"] == max(short["scores"].values())
    assert answer({"text": "a", "text_pair": "b"})["text"] == ["a", "b"]


def test_a_detailed_result_of_a_multi_label_model_lists_the_labels_above_the_threshold(build):
    answer = build("text-classification", problem_type="multi_label_classification", settings={"detailed": True})
    found = answer(["a door"])[0]
    logits = _waves(np.array(answer.tokenizer("a door")["input_ids"]), 3).sum(0).astype(np.float64)
    assert list(found["scores"].values()) == pytest.approx((1 / (1 + np.exp(-logits))).tolist(), abs=1e-6)
    assert found["labels"] == [label for label, score in found["scores"].items() if score >= 0.5]
    assert answer(["a door"], threshold=0.0)[0]["labels"] == list(LABELS[answer.architecture])


def test_the_published_shapes_of_classification_results(build):
    answer = build("text-classification")
    assert isinstance(answer("a"), list)
    assert isinstance(answer({"text": "a"}), dict)
    assert isinstance(answer("a", top_k=1), list)
    assert [len(result) for result in answer(["a", "b"], top_k=2)] == [2, 2]
    assert [label["label"] for label in answer("a", return_all_scores=True)[0]] == list(LABELS[answer.architecture])


def test_a_list_of_lists_is_no_text(build):
    with pytest.raises(ValueError, match="a pair is"):
        build("text-classification")([["a", "b"], ["c", "d"]])


def test_every_token_of_a_long_text_is_labelled_once(build):
    answer = build("token-classification", settings={"ignore_labels": []})
    text = " ".join(f"w{number}" for number in range(60))
    ids = answer.tokenizer(text, add_special_tokens=False)["input_ids"]
    tokens = answer(text)
    assert [token["index"] for token in tokens] == list(range(1, len(ids) + 1))
    assert [token["word"] for token in tokens] == answer.tokenizer.convert_ids_to_tokens(ids)
    best = _waves(np.array(ids), 3).argmax(-1)
    assert [token["entity"] for token in tokens] == [LABELS[answer.architecture][k] for k in best]
    assert "".join(text[token["start"] : token["end"]] for token in tokens) == text.replace(" ", "")


def test_words_of_a_list_keep_their_characters_in_the_joined_text(build):
    answer = build("token-classification", settings={"ignore_labels": [], "aggregation_strategy": "first"})
    words = ["She", "opened", "the", "naïve", "doors"]
    text = " ".join(words)
    (entities,) = answer(words, is_split_into_words=True)
    assert "".join(text[entity["start"] : entity["end"]].replace(" ", "") for entity in entities) == "".join(words)


def test_a_word_with_punctuation_is_not_one_word(build):
    """transformers' rule is the space, which makes "London," one word."""
    answer = build("token-classification", settings={"ignore_labels": [], "aggregation_strategy": "max"})
    (feature,) = answer.build_features(["in London, now"], answer.settings)
    assert len(set(feature.notes.words)) == 4


def test_of_overlapping_entities_the_longest_is_kept_then_the_best():
    first = {"start": 0, "end": 5, "score": 0.5}
    longer = {"start": 3, "end": 9, "score": 0.1}
    apart = {"start": 9, "end": 11, "score": 0.3}
    better = {"start": 9, "end": 11, "score": 0.4}
    assert _merge_overlapping([apart, longer, first, better]) == [longer, better]


def test_stride_without_aggregation_is_refused(build):
    with pytest.raises(ValueError, match="stride needs an aggregation_strategy"):
        build("token-classification")("a", stride=3)


def test_an_answer_is_a_span_of_the_context_in_every_window(build):
    answer = build("question-answering", settings={"top_k": 5, "max_seq_len": 20, "doc_stride": 4})
    context = "  ".join(f"w{number}" for number in range(50))
    answers = answer(question="where?", context=context)
    assert len(answers) == 5
    for found in answers:
        assert context[found["start"] : found["end"]] == found["answer"] != ""
    scores = [found["score"] for found in answers]
    assert scores == sorted(scores, reverse=True)


def test_answers_do_not_depend_on_the_other_questions_of_a_batch(build):
    answer = build("question-answering", budget=400)
    examples = [{"question": "who?", "context": "a " * count} for count in (2, 17, 5)]
    for example, together in zip(examples, answer(examples), strict=True):
        assert together == pytest.approx(answer(example))


@pytest.mark.parametrize(
    ("stored", "option", "expected"),
    [
        (None, None, False),
        ("allowed", None, True),
        ("never", None, False),
        ("allowed", False, False),
        (None, True, True),
    ],
)
def test_no_answer_is_possible_if_the_option_or_else_the_configuration_says_so(build, stored, option, expected):
    fields = {"task_specific_params": {"question-answering": {"no_answer": stored}}} if stored else {}
    answers = build("question-answering", **fields)(
        question="who?", context="a door", top_k=50, handle_impossible_answer=option
    )
    assert any(answer["answer"] == "" and answer["score"] > 0 for answer in answers) == expected


def test_a_question_that_fills_the_window_is_refused(build):
    with pytest.raises(ValueError, match="leaves no room in windows of 20 tokens"):
        build("question-answering")(question="why " * 30, context="a door", max_seq_len=20)


@pytest.mark.parametrize("example", [{"question": "why?"}, {"question": "", "context": "a"}, "why?"])
def test_an_example_without_question_or_context_is_refused(build, example):
    with pytest.raises(ValueError, match="an input"):
        build("question-answering")([example, example])


def test_a_long_question_makes_windows_share_less_unless_doc_stride_is_given(build):
    answer = build("question-answering")
    question, context = "why " * 12, "a door " * 10
    assert answer(question=question, context=context)["answer"] in context
    with pytest.raises(ValueError, match=r"doc_stride is 9, but a window has room for \d tokens .*: lower doc_stride"):
        answer(question=question, context=context, doc_stride=9)


def test_a_special_token_in_the_text_of_a_question_is_no_answer(build):
    answers = build("question-answering")(question="<s> why <s>", context="a door", top_k=20)
    assert all(answer["answer"] for answer in answers if answer["score"] > 0)


def test_older_names_of_inputs_and_options_of_answering_are_accepted(build):
    answer, example = build("question-answering"), {"question": "why?", "context": "a door and a window"}
    expected = answer(example, top_k=2)
    assert answer(data=example, topk=2) == answer(X=[example], topk=2, max_question_len=3) == expected
    assert len(expected) == 2


def test_joint_filling_scores_the_product_of_each_masks_probability_given_those_before(build):
    answer = build("fill-mask", settings={"top_k": 2})
    best = answer("a<mask> b<mask> c", joint=True)
    assert len(best) == 2
    assert best[0]["score"] >= best[1]["score"]
    assert len(best[0]["tokens"]) == 2
    assert "<mask>" not in best[0]["sequence"]
    single = answer("a<mask> c", joint=True)
    assert [found["tokens"][0] for found in single] == [found["token"] for found in answer("a<mask> c")]


def test_targets_are_the_only_candidates(build):
    answer = build("fill-mask")
    found = answer("a<mask>", targets=["Ġdoor", "Ġthe"])
    assert {one["token_str"] for one in found} == {" door", " the"}
    every = {one["token"]: one["score"] for one in answer("a<mask>", top_k=len(answer.tokenizer))}
    assert [one["score"] for one in found] == pytest.approx([every[one["token"]] for one in found])


@pytest.mark.parametrize("task", ["fill-mask", "feature-extraction", "sentence-embedding"])
def test_padding_that_the_tokenizer_is_asked_for_does_not_change_a_result(build, task):
    name = "tokenizer_kwargs" if task == "fill-mask" else "tokenize_kwargs"
    padded = {name: {"padding": "max_length", "max_length": 12, "truncation": True}}
    answer = build(task)
    assert str(answer("a<mask> door", **padded)) == str(answer("a<mask> door"))
    with pytest.raises(
        ValueError, match="arguments here have no return_overflowing_tokens; the known ones are add_special"
    ):
        answer("a<mask> door", **{name: {"return_overflowing_tokens": True}})


def test_a_text_without_a_mask_is_refused(build):
    with pytest.raises(ValueError, match=r"No mask_token \(<mask>\) found on the input 'a door'"):
        build("fill-mask")("a door")


LONG_MASKED, PAIR_OF_LONG_TEXTS = "a<mask>" + " door" * 30, {"text": "a " * 30, "text_pair": "b " * 30}


@pytest.mark.parametrize(
    ("interface", "task", "item", "options", "advice"),
    [
        (PYTHON, "fill-mask", LONG_MASKED, {}, 'shorten it, or pass tokenizer_kwargs={"truncation": True}'),
        (COMMAND, "fill-mask", LONG_MASKED, {}, "shorten it"),
        (REQUEST, "fill-mask", LONG_MASKED, {}, "shorten it"),
        (COMMAND, "sentence-embedding", "door " * 30, {}, "shorten it, or pass --truncate"),
        (REQUEST, "sentence-embedding", "door " * 30, {}, 'shorten it, or pass "truncate": true'),
        (COMMAND, "text-classification", PAIR_OF_LONG_TEXTS, {"long": "tail"}, "pass --long head"),
        (PYTHON, "text-classification", PAIR_OF_LONG_TEXTS, {"long": "tail"}, 'pass truncation=True or long="head"'),
    ],
)
def test_the_advice_on_a_long_text_is_what_the_caller_can_write(build, interface, task, item, options, advice):
    answer = build(task)
    with use_interface(interface), pytest.raises(ValueError, match=f": {re.escape(advice)}$"):
        answer(item, **options)


def test_a_model_without_an_entailment_label_is_refused(build):
    with pytest.raises(ValueError, match=r"label that begins with 'entail'; this one has no, yes"):
        build("zero-shot-classification", id2label={0: "no", 1: "yes"})


def test_zero_shot_scores_are_those_of_entailment(build):
    answer = build("zero-shot-classification")
    found = answer("a door", ["blue", "a red window"])
    assert sum(found["scores"]) == pytest.approx(1)
    assert sorted(found["labels"]) == ["a red window", "blue"]
    alone = answer("a door", ["blue"])
    logits = answer.backend.run(
        answer.model, _inputs(answer.tokenizer("a door", "This example is blue.")["input_ids"])
    )["logits"][0].astype(np.float64)
    assert alone["scores"] == pytest.approx([1 / (1 + np.exp(logits[0] - logits[2]))])


@pytest.mark.parametrize("template", ["no label", "{} {}", "{label}", "{"])
def test_a_template_without_one_place_for_the_label_is_refused(build, template):
    with pytest.raises(ValueError, match=r"hypothesis_template is .*must have one {}"):
        build("zero-shot-classification")("a door", ["blue"], hypothesis_template=template)


def test_contradiction_is_found_by_its_name_wherever_it_stands(build):
    labels = {0: "entailment", 1: "CONTRADICTION", 2: "neutral"}
    answer = build("zero-shot-classification", id2label=labels)
    logits = answer.backend.run(
        answer.model, _inputs(answer.tokenizer("a door", "This example is blue.")["input_ids"])
    )["logits"][0].astype(np.float64)
    assert answer("a door", ["blue"], multi_label=True)["scores"] == pytest.approx(
        [1 / (1 + np.exp(logits[1] - logits[0]))]
    )


def test_the_best_choice_has_its_index_text_and_scores(build):
    answer = build("multiple-choice")
    item = {"context": "She opened", "question": "what?", "choices": ["a door", "a window", "the garden"]}
    found = answer(item)
    assert found["choice"] == item["choices"][found["label"]]
    assert found["score"] == max(found["scores"])
    assert sum(found["scores"]) == pytest.approx(1)
    with pytest.raises(ValueError, match="choices must be a list of two or more"):
        answer({"context": "a", "choices": ["b"]})


@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
def test_a_sentence_vector_pools_the_tokens_without_padding(build, pooling):
    answer = build("sentence-embedding", settings={"pooling": pooling})
    texts = ["a door", "a much longer sentence than the door"]
    for text, vector in zip(texts, answer(texts), strict=True):
        states = _waves(np.array(answer.tokenizer(text)["input_ids"]), 5)
        expected = {"mean": states.mean(0), "cls": states[0], "max": states.max(0)}[pooling]
        np.testing.assert_allclose(vector, expected, atol=1e-6)
        assert vector.dtype == np.float32
    assert np.linalg.norm(answer("a door", normalize=True)) == pytest.approx(1)


def test_documents_are_ranked_by_their_scores(build):
    answer = build("text-ranking", id2label={0: "LABEL_0"})
    item = {"query": "door", "documents": ["a window", "the door is open", "blue"]}
    found = answer(item)
    assert sorted(document["index"] for document in found) == [0, 1, 2]
    for document in found:
        ids = answer.tokenizer("door", item["documents"][document["index"]])["input_ids"]
        assert document["score"] == pytest.approx(1 / (1 + np.exp(-float(_waves(np.array(ids), 1).sum()))), abs=1e-6)
    assert answer(item, top_k=1) == found[:1]
    assert answer({"query": "door", "documents": []}) == []


def test_features_are_nested_lists_or_a_tensor(build):
    answer = build("feature-extraction")
    states = answer("a door")
    assert np.shape(states) == (1, len(answer.tokenizer("a door")["input_ids"]), 5)
    assert answer("a door", return_tensors=True)[0] == "tensor"
    with pytest.raises(ValueError, match="pass truncation=True"):
        answer("door " * 30)
    assert np.shape(answer("door " * 30, truncation=True)) == (1, LENGTH, 5)


def test_an_unknown_task_is_refused_with_the_known_ones():
    with pytest.raises(
        ValueError, match=r"task is 'translation'; expected one of fill-mask, .*sentiment-analysis, ner"
    ):
        pipelines.pipeline("translation", "roberta-tiny")


@pytest.mark.parametrize(
    ("task", "name", "trained"),
    [("ner", "token-classification", "tagging"), ("text-ranking", "text-ranking", "classification")],
)
def test_a_checkpoint_without_the_head_is_refused_before_a_framework_is_loaded(
    task, name, trained, monkeypatch, caplog
):
    monkeypatch.setattr(backend, "load", lambda *given: pytest.fail("a framework was loaded"))
    with pytest.raises(ValueError, match=f"is not fine-tuned for {name}: it lacks classifier.*finetune {trained}"):
        pipelines.pipeline(task, "roberta-tiny", framework="pt")
    assert not caplog.records  # such as that the head was newly initialised


def test_generation_is_refused_for_a_model_that_is_not_causal(build):
    with pytest.raises(ValueError, match=r"needs a causal language model.*is_decoder is false"):
        build("text-generation")


def test_scores_that_are_not_finite_are_refused(build, monkeypatch):
    answer = build("text-classification")
    monkeypatch.setattr(answer.backend, "run", lambda model, inputs: {"logits": np.full((1, 3), np.nan)})
    with pytest.raises(ValueError, match="not finite"):
        answer("a door")


def _inputs(ids):
    return {"input_ids": np.array([ids]), "attention_mask": np.ones((1, len(ids)), np.int64)}


@pytest.mark.parametrize(
    ("given", "name"), [(None, "auto"), ("cpu", "cpu"), (-1, "cpu"), (0, "cuda:0"), (1, "cuda:1"), ("cuda:2", "cuda:2")]
)
def test_the_backend_is_loaded_on_the_device(monkeypatch, tokenizer, given, name):
    asked = []

    class Loading(Stub):
        def from_pretrained(self, architecture, source, **settings):
            assert settings == {}
            return Model(architecture, tokenizer)

    monkeypatch.setattr(pipelines.backends, "load", lambda *asking: asked.append(asking) or Loading())
    pipelines.pipeline("fill-mask", "roberta-tiny", framework="one", device=given)
    assert asked == [("one", name)]


def test_a_model_that_is_loaded_is_frozen_and_one_that_is_given_is_not(monkeypatch, tokenizer):
    given = Model("ForMaskedLM", tokenizer)
    frozen = Model("ForMaskedLM", tokenizer)

    class Freezing(Stub):
        def from_pretrained(self, architecture, source, **settings):
            return given

        def freeze(self, model):
            assert model is given
            return frozen

    monkeypatch.setattr(pipelines.backends, "load", lambda *asking: Freezing())
    assert pipelines.pipeline("fill-mask", "roberta-tiny", framework="one").model is frozen
    assert pipelines.pipeline("fill-mask", given, tokenizer, framework="one").model is given


def test_few_inputs_run_without_a_measurement(tokenizer, monkeypatch):
    monkeypatch.setattr("roberta_core.pipelines.base.measure_budget", None)
    monkeypatch.setattr(pipelines.backends, "load", lambda *asking: Stub())
    model = Model("ForSequenceClassification", tokenizer)
    found = pipelines.pipeline("text-classification", model, tokenizer, framework="stub", budget=None)
    assert len(found(["a"] * 600)) == 600


def test_a_model_that_was_loaded_from_a_folder_brings_its_tokenizer(monkeypatch, tokenizer):
    model = Model("ForMaskedLM", tokenizer)
    monkeypatch.setattr(pipelines.backends, "load", lambda *asking: Stub())
    with pytest.raises(ValueError, match="the model was not loaded from a folder: pass its tokenizer"):
        pipelines.pipeline("fill-mask", model, framework="stub")
    model._folder = checkpoints.resolve("roberta-tiny")  # as `from_pretrained` of every framework does
    assert len(pipelines.pipeline("fill-mask", model, framework="stub", top_k=2)("a<mask>")) == 2
    assert PreTrainedBase._folder is None


def test_a_device_for_a_model_that_is_given_is_refused(tokenizer):
    with pytest.raises(ValueError, match="move or cast yours before"):
        pipelines.pipeline("fill-mask", Model("ForMaskedLM", tokenizer), tokenizer, device="cpu")


def test_a_sentence_folder_sets_pooling_prompts_and_length(build):
    modules = SentenceModules(
        Pooling(("max",), include_prompt=False), (Normalize(),), {"q": "find: "}, max_length=9, lower_case=True
    )
    embed = build("sentence-embedding", settings={"modules": modules})
    assert embed.length == 9
    plain = build("sentence-embedding", settings={"pooling": "max", "normalize": True})
    np.testing.assert_array_equal(embed("A DOOR"), plain("a door"))
    prompted = embed.tokenizer("find: a door")["input_ids"]
    states = _waves(np.array(prompted), 5)[len(embed.tokenizer("find: ")["input_ids"]) - 1 :]
    expected = states.max(axis=0) / np.linalg.norm(states.max(axis=0))
    np.testing.assert_allclose(embed("a door", prompt_name="q"), expected, rtol=1e-6)
    np.testing.assert_array_equal(embed("a door", prompt_name="q", prompt=""), embed("a door"))
    assert embed("a door", pooling="mean+cls", normalize=False).shape == (10,)
    with pytest.raises(ValueError, match="at most 9"):
        embed("a door " * 9)
    with pytest.raises(ValueError, match="prompt_name is 'x', but this model's folder defines no prompts"):
        SentenceModules().find_prompt("x")
    with pytest.raises(ValueError, match="prompt_name is 'x'; the prompts of this model are q"):
        embed("a door", prompt_name="x")


def test_a_cross_encoder_names_its_activation_and_prompt(build):
    identity = CrossEncoder("torch.nn.modules.linear.Identity", {"q": "find: "}, "q", lower_case=True)
    item = {"query": "Door", "documents": ["A window", "a door"]}
    found = build("text-ranking", settings={"cross_encoder": identity}, id2label={0: "x"})(item)
    plain = build("text-ranking", id2label={0: "x"})({"query": "find: door", "documents": ["a window", "a door"]})
    assert [row["index"] for row in found] == [row["index"] for row in plain]
    np.testing.assert_allclose(1 / (1 + np.exp([-row["score"] for row in found])), [row["score"] for row in plain])
    assert found[0]["text"] == item["documents"][found[0]["index"]]


def test_a_notebook_shows_results_with_their_inputs(build):
    tag = build("token-classification", settings={"aggregation_strategy": "simple"})
    one, many = tag("a <b> door"), tag(["a door", "<i> garden"])
    assert [type(one).__mro__[1], type(many).__mro__[1]] == [list, list]
    assert all("&lt;" in found._repr_html_() and "<i>" not in found._repr_html_() for found in (one, many))
    classify = build("text-classification")
    assert "a &lt;b&gt; door" in classify("a <b> door")._repr_html_()
    answer = build("question-answering")
    assert "who &lt;b&gt;?" in answer(question="who <b>?", context="a door")._repr_html_()


@pytest.mark.parametrize(
    ("task", "item", "options"),
    [
        ("zero-shot-classification", "door " * 40, {"candidate_labels": ["red", "blue"]}),
        ("text-ranking", {"query": "a", "documents": ["door", "door " * 40]}, {}),
        ("multiple-choice", {"context": "door " * 40, "choices": ["a", "b"]}, {}),
    ],
)
def test_a_cut_that_was_not_requested_is_logged(build, caplog, task, item, options):
    answer = build(task)
    answer([item, item], **options)
    assert [record.getMessage() for record in caplog.records] == [
        f"{task}: 2 examples were truncated: a row has at most {LENGTH} tokens."
    ]
    caplog.clear()
    short = (
        {name: "door" if isinstance(value, str) else ["a", "b"] for name, value in dict(item).items()}
        if isinstance(item, dict)
        else "door"
    )
    answer([short], **options)
    assert not caplog.records


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("tag", "--aggregation", "most"), "--aggregation is 'most'; expected one of"),
        (("classify", "--long", "most"), "--long is 'most'; expected one of"),
        (("classify", "--window-scores", "most"), "--window-scores is 'most'; expected one of"),
        (("embed", "--pooling", "most"), "--pooling is 'most'; expected cls"),
        (("embed", "--prompt-name", "most"), "--prompt-name is 'most', but this model's folder defines no prompts"),
        (("fill-mask", "--file", "-", "--top-k", "9000"), "--top-k is 9000, but the vocabulary has 8192"),
    ],
)
def test_an_option_with_a_wrong_value_is_called_as_the_command_calls_it(capsys, monkeypatch, build, arguments, message):
    def load_pipeline(kind, load, model, *, budget, **options):
        return build(kind.task, settings=options)

    monkeypatch.setattr("roberta_core.pipelines.load_pipeline", load_pipeline)
    monkeypatch.setattr(predict, "resolve_frameworks", lambda *options: ["one"])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a")))
    with pytest.raises(SystemExit) as ended:
        cli.main([*arguments, "--model", "somewhere"])
    assert ended.value.code == 1
    assert message in capsys.readouterr().err
