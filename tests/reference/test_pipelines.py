"""Pipelines in every framework return the results of the PyTorch pipelines of transformers 4.57.6.

Run by the tox environment `reference`. docs/differences.md lists where results differ on purpose; where words begin and
how `generate` counts positions are two of these, and here the reference is given ours, so that all else is compared.
"""

import functools
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
torch.set_num_threads(1)  # the models are tiny

ATOL = 1e-5
INPUTS = 200  # of each task, at least
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
SPECIAL = ("<s>", "</s>", "<pad>", "<unk>")  # docs/differences.md has the results of texts that contain them
SEPARATORS = [" ", " ", " ", "  ", "\n", "\t", "\u00a0", ", ", ". ", "-", ""]
TEXTS = [  # each of a kind that random words do not show
    "", " ", "\n", "\t\t", "  a  door ", " leading", "trailing ", "line one\nline two\r\nline three", "a\tb\tc",
    "a\u00a0door\u200bopen", "\ufeffbyte order mark", "\u00ad soft hyphen", "a\x00b", "a\x85b\u2028c",
    "\u0645\u0631\u062d\u0628\u0627 \u0639\u0627\u0644\u0645", "\u0928\u092e\u0938\u094d\u0924\u0947",
    "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35", "cafe\u0301 caf\u00e9", "\U0001f1e9\U0001f1ea \U0001f44d\U0001f3fd",
    "a</s>b", "a </s> b", "<s>a", "a<pad>b", "a <unk> b", "x" * 90, "1234567890 3.14159e-10",
    "\"quoted\" 'single' \u201ccurly\u201d", "http://a.example/b?c=d&e=f", "...!?;:", "DON'T SHOUT",
    "The door, the window; (a garden)...", "snake_case camelCase kebab-case", "don 't , it 's ! ?", " . , ! n't 've",
]  # fmt: skip


def draw_texts(seed: int, most: int = 12) -> list[str]:
    """Return the texts of `TEXTS`, and random words with separators of all kinds between them."""
    generator = random.Random(seed)
    found = list(TEXTS)
    while len(found) < INPUTS:
        words = generator.choices(WORDS, k=generator.randint(1, most))
        found.append("".join(word + generator.choice(SEPARATORS) for word in words))
    return found


LONG = " ".join(draw_texts(0)[len(TEXTS) :])


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

    def build(task: str, architecture: str, **settings):
        key = repr((task, settings))
        if key not in made:
            folder = checkpoint(architecture)
            theirs = transformers.pipeline(task, model=folder, framework="pt", device="cpu", **settings)
            made[key] = Remember(theirs)
        return made[key]

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


class ByWordIds(transformers.TokenClassificationPipeline):
    """The reference, with the words of the tokenizer instead of those that its search for spaces finds."""

    def gather_pre_entities(self, sentence, *arguments, **options):
        found = super().gather_pre_entities(sentence, *arguments, **options)
        words = options.get("word_ids") or self.tokenizer(sentence).word_ids()
        for entity in found:
            word = words[entity["index"]]
            entity["is_subword"] = word is not None and word == words[entity["index"] - 1]
        return found


def select_short(ours, texts):
    """Return the texts that the model accepts as a whole."""
    found = [text for text in texts if len(ours.tokenizer(text)["input_ids"]) <= LENGTH]
    assert len(found) >= INPUTS
    return found


CLASSIFY = [
    {},
    {"top_k": 2},
    {"top_k": None},
    {"function_to_apply": "sigmoid", "top_k": 1},
    {"return_all_scores": True},
    {"padding": True, "truncation": True, "max_length": 8, "batch_size": 16},
]


@pytest.mark.parametrize("options", CLASSIFY, ids=str)
def test_text_classification_equals_the_reference(framework, checkpoint, reference, options):
    architecture = "ForSequenceClassification"
    theirs = reference("text-classification", architecture)
    ours = pipeline("text-classification", checkpoint(architecture), framework=framework)
    texts = select_short(ours, draw_texts(1))
    check_equal(ours(texts, **options), theirs(texts, **options))
    check_equal(ours(texts[4], **options), theirs(texts[4], **options))
    cut = {"truncation": True, **options}
    pairs = [{"text": one, "text_pair": other} for one, other in zip(texts, reversed(texts), strict=True)]
    pairs += [{"text": LONG, "text_pair": "a door"}, {"text": "a door", "text_pair": LONG}]
    check_equal(ours(pairs, **cut), theirs(pairs, **cut))
    check_equal(ours(pairs[0], **cut), theirs(pairs[0], **cut))
    check_equal(ours(LONG, **cut), theirs(LONG, **cut))


@pytest.mark.parametrize("strategy", ["only_first", "only_second"])
def test_one_text_of_a_pair_is_truncated_as_in_the_reference(checkpoint, reference, strategy):
    architecture = "ForSequenceClassification"
    ours = pipeline("text-classification", checkpoint(architecture), framework="pt")
    pair = {"text": LONG, "text_pair": "a door"} if strategy == "only_first" else {"text": "a door", "text_pair": LONG}
    options = {"truncation": strategy, "max_length": 20, "top_k": None}
    check_equal(ours(pair, **options), reference("text-classification", architecture)(pair, **options))


def test_a_generator_gives_results_as_they_are_consumed(framework, checkpoint, reference):
    architecture, texts = "ForSequenceClassification", draw_texts(2)[:9]
    ours = pipeline("sentiment-analysis", checkpoint(architecture), framework=framework)
    results = ours(text for text in texts)
    assert not isinstance(results, list)
    check_equal(list(results), reference("text-classification", architecture)(texts))


@pytest.mark.parametrize("strategy", ["none", "simple", "first", "average", "max"])
def test_token_classification_equals_the_reference(framework, checkpoint, reference, strategy):
    architecture, options = "ForTokenClassification", {"aggregation_strategy": strategy}
    theirs = reference("token-classification", architecture, pipeline_class=ByWordIds)
    ours = pipeline("ner", checkpoint(architecture), framework=framework)
    texts = select_short(ours, draw_texts(3))
    check_equal(ours(texts, **options), theirs(texts, **options))
    options["ignore_labels"] = ["B-PER"]
    check_equal(ours(texts[4], **options), theirs(texts[4], **options))


@pytest.mark.parametrize("strategy", ["first", "average", "max"])
def test_words_of_letters_between_spaces_are_those_of_the_reference(framework, checkpoint, reference, strategy):
    architecture, options = "ForTokenClassification", {"aggregation_strategy": strategy}
    theirs = reference("token-classification", architecture)
    ours = pipeline("ner", checkpoint(architecture), framework=framework)
    plain = ["na\u00efve", *(word for word in WORDS if word.isalpha() and word.isascii())]
    generator = random.Random(3)
    texts = [" ".join(generator.choices(plain, k=generator.randint(1, 20))) for _ in range(INPUTS)]
    check_equal(ours(texts, **options), theirs(texts, **options))
    long = " ".join(texts[:20])
    check_equal(ours(long, stride=9, **options), theirs(long, stride=9, **options))


@pytest.mark.parametrize("strategy", ["none", "simple", "first", "average", "max"])
def test_lists_of_words_are_labelled_as_in_the_reference(framework, checkpoint, reference, strategy):
    architecture, options = "ForTokenClassification", {"aggregation_strategy": strategy, "is_split_into_words": True}
    slow, fast = (
        kind.from_pretrained(checkpoint(architecture), add_prefix_space=True)
        for kind in (transformers.RobertaTokenizerFast, RobertaTokenizerFast)
    )
    theirs = reference("token-classification", architecture, pipeline_class=ByWordIds, tokenizer=slow)
    ours = pipeline("ner", checkpoint(architecture), tokenizer=fast, framework=framework)
    texts = [text for text in select_short(ours, draw_texts(3, 8)) if not any(mark in text for mark in SPECIAL)]
    words = [text.split() for text in texts if text.split()]
    words += [row[::-1] for row in words[: INPUTS - len(words)]]
    assert len(words) >= INPUTS
    check_equal(ours(words, **options), theirs(words, **options))
    check_equal(ours(words[9], delimiter="", **options), theirs(words[9], delimiter="", **options))


ANSWER = [
    {}, {"topk": 4}, {"align_to_words": False, "top_k": 3}, {"handle_impossible_answer": True}, {"max_answer_len": 3},
    {"doc_stride": 7, "max_seq_len": 90, "padding": "max_length"},
]  # fmt: skip


@pytest.mark.parametrize("options", ANSWER, ids=str)
def test_question_answering_equals_the_reference(framework, checkpoint, reference, options):
    architecture = "ForQuestionAnswering"
    theirs = reference("question-answering", architecture)
    ours = pipeline("question-answering", checkpoint(architecture), framework=framework)
    questions = [text if 0 < len(text) < 40 and "<s>" not in text else "Who opened it?" for text in draw_texts(4, 4)]
    contexts = [text or LONG for text in draw_texts(5, 60)]
    examples = [{"question": one, "context": other} for one, other in zip(questions, contexts, strict=True)]
    assert len(examples) >= INPUTS
    check_equal(ours(examples, **options), theirs(examples, **options))
    check_equal(ours(examples[7], **options), theirs(examples[7], **options))
    several = {"question": questions[:3], "context": contexts[0]}
    check_equal(ours(**several, **options), theirs(**several, **options))


FILL = [{}, {"top_k": 2, "tokenizer_kwargs": {"padding": "max_length", "truncation": True, "max_length": 100}}]


@pytest.mark.parametrize("options", FILL, ids=str)
def test_fill_mask_equals_the_reference(framework, checkpoint, reference, options):
    architecture = "ForMaskedLM"
    theirs = reference("fill-mask", architecture)
    ours = pipeline("fill-mask", checkpoint(architecture), framework=framework)
    texts = [f"{one}<mask>{other}" for one, other in zip(draw_texts(6, 5), reversed(draw_texts(7, 5)), strict=True)]
    texts = select_short(ours, [*texts, "a<mask> b<mask> c", "<mask><mask>", "<mask>"])
    texts = [text for text in texts if len(ours.tokenizer(text)["input_ids"]) <= 100]
    assert len(texts) >= INPUTS
    check_equal(ours(texts, **options), theirs(texts, **options))
    check_equal(ours(texts[:1], **options), theirs(texts[:1], **options))
    for targets in (["\u0120door", "\u0120the", "window"], "\u0120door"):
        check_equal(ours(texts[4], targets=targets, **options), theirs(texts[4], targets=targets, **options))


@pytest.mark.parametrize("options", [{}, {"truncation": True}], ids=str)
def test_feature_extraction_equals_the_reference(framework, checkpoint, reference, options):
    theirs = reference("feature-extraction", "Model")
    ours = pipeline("feature-extraction", checkpoint("Model"), framework=framework)
    texts = [*select_short(ours, draw_texts(8)), *([LONG] if options else [])]
    for got, want in zip(ours(texts, **options), theirs(texts, **options), strict=True):
        np.testing.assert_allclose(got, want, atol=2e-5)


@pytest.mark.parametrize("options", [{}, {"multi_label": True}, {"hypothesis_template": "It is {} !"}], ids=str)
def test_zero_shot_classification_equals_the_reference(framework, checkpoint, reference, options):
    architecture = "ForSequenceClassification"
    theirs = reference("zero-shot-classification", architecture)
    ours = pipeline("zero-shot-classification", checkpoint(architecture), framework=framework)
    texts = [text or LONG for text in draw_texts(9)]
    assert len(texts) >= INPUTS
    labels = ["blue", "red door", "na\u00efve"]
    check_equal(ours(texts, candidate_labels=labels, **options), theirs(texts, candidate_labels=labels, **options))
    check_equal(ours(texts[4], "blue, red", **options), theirs(texts[4], "blue, red", **options))
    check_equal(ours(texts[4], ["blue"], **options), theirs(texts[4], ["blue"], **options))


def count_positions_as_in_a_call(model):
    """Let `generate` of the reference count positions from `pad_token_id` + 1, as its forward pass does."""
    prepare = model.prepare_inputs_for_generation

    @functools.wraps(prepare)  # transformers reads its arguments
    def prepare_inputs(*arguments, **options):
        found = prepare(*arguments, **options)
        return {**found, "position_ids": found["position_ids"] + model.config.pad_token_id + 1}

    model.prepare_inputs_for_generation = prepare_inputs


GENERATE = [
    {"num_beams": 3, "num_return_sequences": 2},
    {"return_full_text": False, "repetition_penalty": 1.5},
    {"return_tensors": True, "no_repeat_ngram_size": 2},
    {"add_special_tokens": False, "clean_up_tokenization_spaces": False},
]


def test_text_generation_equals_the_reference(framework, checkpoint):
    folder = checkpoint("ForCausalLM")
    theirs = transformers.pipeline("text-generation", model=folder, framework="pt", device="cpu")
    count_positions_as_in_a_call(theirs.model)
    ours = pipeline("text-generation", folder, framework=framework)
    texts = [text for text in draw_texts(10) if len(text) < 60]
    texts += [f"{text} {text}" for text in texts[: INPUTS - len(texts)]]
    assert len(texts) >= INPUTS
    greedy = {"do_sample": False, "max_new_tokens": 4}
    check_equal(ours(texts, **greedy), theirs(texts, **greedy))
    for options in GENERATE:
        check_equal(ours(texts[4:24], **greedy, **options), theirs(texts[4:24], **greedy, **options), str(options))


def test_multiple_choice_equals_the_model_of_the_reference(framework, checkpoint):
    folder = checkpoint("ForMultipleChoice")
    ours = pipeline("multiple-choice", folder, framework=framework)
    tokenizer = transformers.RobertaTokenizerFast.from_pretrained(folder)
    model = transformers.RobertaForMultipleChoice.from_pretrained(folder).eval()
    texts = [text for text in draw_texts(11, 4) if len(text) < 40]
    texts = [*texts, *texts][: INPUTS + 2]
    rows = [{"context": texts[k], "choices": texts[k + 1 : k + 3]} for k in range(INPUTS)]
    results = ours(rows)
    for row, result in zip(rows, results, strict=True):
        encoded = tokenizer([row["context"]] * 2, row["choices"], padding=True, return_tensors="pt")
        with torch.no_grad():
            logits = model(**{name: values[None] for name, values in encoded.items()}).logits[0]
        np.testing.assert_allclose(result["scores"], logits.softmax(-1), atol=ATOL)
