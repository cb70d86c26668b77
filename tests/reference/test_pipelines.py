"""Pipelines in every framework return the results of the PyTorch pipelines of transformers 4.57.6.

Run by the tox environment `reference`. docs/differences.md lists where results differ on purpose.
"""

import random
from importlib.metadata import version

import numpy as np
import pytest

from roberta_core import RobertaConfig, RobertaTokenizerFast, backend, checkpoints, pipeline
from roberta_core.parameters import Kind, parameters

transformers = pytest.importorskip("transformers", reason="asks transformers itself")
torch = pytest.importorskip("torch")
if int(version("transformers").partition(".")[0]) > 4:
    pytest.skip("transformers 5 has no question-answering pipeline", allow_module_level=True)

ATOL = 1e-5
INPUTS = 200
LENGTH = 126  # maximum number of tokens of the models
LABELS = {
    "ForSequenceClassification": ["contradiction", "neutral", "entailment"],
    "ForTokenClassification": ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"],
}
SENTENCE = (
    "the a door window garden She He they opened closed saw went in out of London Paris hello world question "
    "answer because quickly slowly blue red x y don't it's e-mail 3,14 2024 Z\u00fcrich na\u00efve \u6771\u4eac "
    "\u041c\u043e\u0441\u043a\u0432\u0430 \u00c5ngstr\u00f6m \U0001f600 "
    "\U0001f469\u200d\U0001f469\u200d\U0001f467 \ufb01lm\u2019s"
)
WORDS = SENTENCE.split()


def draw_texts(seed: int, least: int = 0, most: int = 16) -> list[str]:
    """Return words separated by single spaces, so that word boundaries are unambiguous."""
    generator = random.Random(seed)
    texts = [" ".join(generator.choices(WORDS, k=generator.randint(least, most))) for _ in range(INPUTS)]
    return [text for text in texts if text] if least else texts


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Return `checkpoint(architecture)`: a folder with large weights and the tokenizer of the embedded model."""
    made: dict[str, str] = {}

    def build(architecture: str) -> str:
        if architecture not in made:
            folder = tmp_path_factory.mktemp(architecture)
            tokenizer = RobertaTokenizerFast.from_pretrained("roberta-tiny", model_max_length=LENGTH)
            tokenizer.save_pretrained(folder)
            labels = LABELS.get(architecture, ["LABEL_0", "LABEL_1"])
            config = RobertaConfig(
                vocab_size=len(tokenizer), hidden_size=12, num_hidden_layers=2, num_attention_heads=3,
                intermediate_size=20, max_position_embeddings=LENGTH + 2, type_vocab_size=1, layer_norm_eps=1e-5,
                id2label=dict(enumerate(labels)), label2id={label: k for k, label in enumerate(labels)},
                is_decoder=architecture == "ForCausalLM", architectures=[f"Roberta{architecture}"],
            )  # fmt: skip
            generator = np.random.default_rng(len(architecture))
            tensors = {}
            for name, row in parameters(config, architecture).items():
                values = generator.normal(0, 0.5, row.shape).astype(np.float32)
                tensors[name] = values + 1 if (row.kind, row.leaf) == (Kind.NORM, "weight") else values
            config.save_pretrained(folder)
            checkpoints.save(folder, config, architecture, tensors)
            made[architecture] = str(folder)
        return made[architecture]

    return build


@pytest.fixture(params=["pt", "tf", "flax"])
def framework(request):
    if request.param not in backend.available():
        pytest.skip(f"{request.param} is not installed")
    return request.param


@pytest.fixture(scope="module")
def reference(checkpoint):
    """Return `reference(task, architecture)`: the PyTorch pipeline of transformers, with cached calls."""
    made = {}

    def build(task: str, architecture: str):
        if task not in made:
            theirs = transformers.pipeline(task, model=checkpoint(architecture), framework="pt", device="cpu")
            made[task] = Remember(theirs)
        return made[task]

    return build


class Remember:
    """A pipeline that caches its results by arguments, to compare all frameworks with them."""

    def __init__(self, inner):
        self.inner, self.results = inner, {}

    def __call__(self, *arguments, **options):
        key = repr((arguments, sorted(options.items())))
        if key not in self.results:
            self.results[key] = self.inner(*arguments, **options)
        return self.results[key]


def with_prefix_space(theirs, ours, folder):
    """Return both pipelines with tokenizers that add a prefix space, which lists of words require."""
    slow, fast = (
        kind.from_pretrained(folder, add_prefix_space=True)
        for kind in (transformers.RobertaTokenizerFast, RobertaTokenizerFast)
    )
    reference = transformers.pipeline(theirs.task, model=theirs.model, tokenizer=slow, framework="pt", device="cpu")
    return reference, type(ours)(ours.backend, ours.model, fast)


def check_equal(got, want, place="result"):
    """Assert equal container types, order of fields, strings and integers, and floats within 1e-5."""
    if isinstance(want, dict):
        assert list(got) == list(want), place
        for name in want:
            check_equal(got[name], want[name], f"{place}.{name}")
    elif isinstance(want, list | tuple):
        assert isinstance(got, list | tuple), place
        assert len(got) == len(want), place
        for number, (one, other) in enumerate(zip(got, want, strict=True)):
            check_equal(one, other, f"{place}[{number}]")
    elif isinstance(want, float | np.floating):
        assert got == pytest.approx(float(want), abs=ATOL), place
    else:
        assert got == want, place


CLASSIFY = [
    {},
    {"top_k": 2},
    {"top_k": None},
    {"function_to_apply": "sigmoid", "top_k": 1},
    {"return_all_scores": True},
]


@pytest.mark.parametrize("options", CLASSIFY, ids=str)
def test_text_classification_equals_the_reference(framework, checkpoint, reference, options):
    architecture = "ForSequenceClassification"
    theirs, ours = (
        reference("text-classification", architecture),
        pipeline("text-classification", checkpoint(architecture), framework=framework),
    )
    texts = draw_texts(1)
    check_equal(ours(texts, **options), theirs(texts, **options))
    check_equal(ours(texts[0], **options), theirs(texts[0], **options))
    pairs = [{"text": first, "text_pair": second} for first, second in zip(texts[:50], texts[50:100], strict=True)]
    check_equal(ours(pairs, truncation=True, **options), theirs(pairs, truncation=True, **options))
    check_equal(ours(pairs[0], **options), theirs(pairs[0], **options))
    long = " ".join(texts)
    check_equal(ours(long, truncation=True, **options), theirs(long, truncation=True, **options))


def test_a_generator_gives_results_as_they_are_consumed(framework, checkpoint, reference):
    architecture, texts = "ForSequenceClassification", draw_texts(2)[:9]
    ours = pipeline("sentiment-analysis", checkpoint(architecture), framework=framework)
    results = ours(text for text in texts)
    assert not isinstance(results, list)
    check_equal(list(results), reference("text-classification", architecture)(texts))


@pytest.mark.parametrize("strategy", ["none", "simple", "first", "average", "max"])
def test_token_classification_equals_the_reference(framework, checkpoint, reference, strategy):
    architecture = "ForTokenClassification"
    theirs, ours = (
        reference("token-classification", architecture),
        pipeline("ner", checkpoint(architecture), framework=framework),
    )
    plain = ["na\u00efve", *(word for word in WORDS if word.isalpha() and word.isascii())]
    generator = random.Random(3)
    texts = (
        draw_texts(3, least=1)
        if strategy in ("none", "simple")
        else [" ".join(generator.choices(plain, k=generator.randint(1, 20))) for _ in range(INPUTS)]
    )
    texts = [text for text in texts if len(ours.tokenizer(text)["input_ids"]) <= LENGTH]
    assert len(texts) > INPUTS // 2
    options = {"aggregation_strategy": strategy}
    check_equal(ours(texts, **options), theirs(texts, **options))
    check_equal(
        ours(texts[0], ignore_labels=["B-PER"], **options), theirs(texts[0], ignore_labels=["B-PER"], **options)
    )
    words = [text.split() for text in texts[:40]]
    theirs_of_words, ours_of_words = with_prefix_space(theirs.inner, ours, checkpoint(architecture))
    check_equal(
        ours_of_words(words, is_split_into_words=True, **options),
        theirs_of_words(words, is_split_into_words=True, **options),
    )
    if strategy != "none":
        long = " ".join(texts[:20])
        check_equal(ours(long, stride=9, **options), theirs(long, stride=9, **options))


ANSWER = [
    {}, {"top_k": 4}, {"align_to_words": False, "top_k": 3}, {"handle_impossible_answer": True}, {"max_answer_len": 3},
    {"doc_stride": 7, "max_seq_len": 50},
]  # fmt: skip


@pytest.mark.parametrize("options", ANSWER, ids=str)
def test_question_answering_equals_the_reference(framework, checkpoint, reference, options):
    architecture = "ForQuestionAnswering"
    theirs, ours = (
        reference("question-answering", architecture),
        pipeline("question-answering", checkpoint(architecture), framework=framework),
    )
    questions, contexts = draw_texts(4, 2, 6), draw_texts(5, 3, 60)
    examples = [
        {"question": question, "context": context} for question, context in zip(questions, contexts, strict=True)
    ]
    for number, example in enumerate(examples):
        check_equal(ours(example, **options), theirs(**example, **options), f"example {number}")
    check_equal(
        ours(question=questions[:3], context=contexts[0], **options),
        theirs(question=questions[:3], context=contexts[0], **options),
    )
    check_equal(ours(examples, **options)[7], ours(examples[7], **options))


def test_fill_mask_equals_the_reference(framework, checkpoint, reference):
    architecture = "ForMaskedLM"
    theirs, ours = (
        reference("fill-mask", architecture),
        pipeline("fill-mask", checkpoint(architecture), framework=framework),
    )
    texts = [f"{first}<mask>{second}" for first, second in zip(draw_texts(6), draw_texts(7), strict=True)]
    texts = [text for text in texts if len(ours.tokenizer(text)["input_ids"]) <= LENGTH]
    assert len(texts) > INPUTS // 2
    check_equal(ours(texts), theirs(texts))
    check_equal(ours(texts[:1]), theirs(texts[:1]))
    check_equal(ours("a<mask> b<mask> c", top_k=3), theirs("a<mask> b<mask> c", top_k=3))
    check_equal(ours(texts[0], targets=["Ġdoor", "Ġthe"]), theirs(texts[0], targets=["Ġdoor", "Ġthe"]))


def test_feature_extraction_equals_the_reference(framework, checkpoint, reference):
    theirs, ours = (
        reference("feature-extraction", "Model"),
        pipeline("feature-extraction", checkpoint("Model"), framework=framework),
    )
    texts = [text for text in draw_texts(8) if len(ours.tokenizer(text)["input_ids"]) <= LENGTH]
    assert len(texts) > INPUTS // 2
    for got, want in zip(ours(texts), theirs(texts), strict=True):
        np.testing.assert_allclose(got, want, atol=2e-5)


@pytest.mark.parametrize("options", [{}, {"multi_label": True}, {"hypothesis_template": "It is {} !"}], ids=str)
def test_zero_shot_classification_equals_the_reference(framework, checkpoint, reference, options):
    architecture = "ForSequenceClassification"
    theirs, ours = (
        reference("zero-shot-classification", architecture),
        pipeline("zero-shot-classification", checkpoint(architecture), framework=framework),
    )
    texts = draw_texts(9, least=1)
    labels = ["blue", "red door", "naïve"]
    check_equal(ours(texts, candidate_labels=labels, **options), theirs(texts, candidate_labels=labels, **options))
    check_equal(ours(texts[0], "blue, red", **options), theirs(texts[0], "blue, red", **options))
