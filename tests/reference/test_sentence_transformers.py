"""Vectors and scores of sentence-transformers folders are those of the library itself, in every framework.

Run by the tox environment `peers`. Vectors differ by at most 1e-5 in cosine distance.
"""

import json
import random
from pathlib import Path

import numpy as np
import pytest

from roberta_core import RobertaConfig, RobertaTokenizerFast, backend, checkpoints, pipeline

library = pytest.importorskip("sentence_transformers", reason="compares with sentence-transformers itself")
torch = pytest.importorskip("torch")

DISTANCE = 1e-5
LENGTH = 40
SENTENCE = "The a door window opened closed Anna in London, Z\u00fcrich don't 3,14 \u6771\u4eac \U0001f600 slowly ."
WORDS = SENTENCE.split()
PROMPTS = {"query": "find the door: ", "document": "text: "}


def draw_texts(count: int = 60) -> list[str]:
    generator = random.Random(0)
    return ["", *(" ".join(generator.choices(WORDS, k=generator.randint(1, 10))) for _ in range(count))]


TEXTS = draw_texts()


def save_checkpoint(folder, weights, architecture, **fields):
    tokenizer = RobertaTokenizerFast.from_pretrained("roberta-tiny", model_max_length=LENGTH)
    tokenizer.save_pretrained(folder)
    config = RobertaConfig(
        vocab_size=len(tokenizer), hidden_size=12, num_hidden_layers=2, num_attention_heads=3, intermediate_size=20,
        max_position_embeddings=LENGTH + 2, type_vocab_size=1, layer_norm_eps=1e-5,
        architectures=[f"Roberta{architecture}"], **fields,
    )  # fmt: skip
    checkpoints.save(folder, config, architecture, weights(config, architecture))
    return str(folder)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory, weights):
    return save_checkpoint(tmp_path_factory.mktemp("encoder"), weights, "Model")


def build_dense(inputs, outputs, **options):
    torch.manual_seed(0)
    return library.sentence_transformer.modules.Dense(inputs, outputs, **options)


LAYOUTS = {
    "mean, normalized": lambda kinds: [kinds.Pooling(12, "mean"), kinds.Normalize()],
    "cls": lambda kinds: [kinds.Pooling(12, "cls")],
    "max, dense": lambda kinds: [kinds.Pooling(12, "max"), build_dense(12, 7)],
    "three, dense, prompts": lambda kinds: [
        kinds.Pooling(12, ("weightedmean", "lasttoken", "mean_sqrt_len_tokens"), include_prompt=False),
        build_dense(36, 5, activation_function=torch.nn.GELU(), bias=False, use_residual=True),
        kinds.Normalize(),
    ],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, encoder):
    """`folder(layout)`: a folder that sentence-transformers saved, and its own vectors of the texts."""
    made = {}

    def build(layout):
        if layout not in made:
            kinds = library.sentence_transformer.modules
            modules = [kinds.Transformer(encoder), *LAYOUTS[layout](kinds)]
            model = library.SentenceTransformer(modules=modules, device="cpu", prompts=PROMPTS)
            target = str(tmp_path_factory.mktemp("saved") / "model")
            model.save_pretrained(target)
            made[layout] = target, model.encode(TEXTS), model.encode(TEXTS, prompt_name="query")
        return made[layout]

    return build


@pytest.fixture(params=["pt", "tf", "flax"])
def framework(request):
    if request.param not in backend.available():
        pytest.skip(f"{request.param} is not installed")
    return request.param


def measure_distance(first, second) -> float:
    first, second = (np.asarray(vectors, np.float64) for vectors in (first, second))
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    assert np.abs(np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1) - 1).max() < DISTANCE
    return float((1 - (first * second).sum(axis=1) / lengths).max())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_vectors_are_those_of_the_library(folder, framework, layout):
    source, plain, prompted = folder(layout)
    embed = pipeline("sentence-embedding", model=source, framework=framework, device="cpu")
    assert measure_distance(embed(TEXTS), plain) < DISTANCE
    assert measure_distance(embed(TEXTS, prompt_name="query"), prompted) < DISTANCE
    assert np.abs(plain - prompted).max() > 0.01
    assert embed.length == LENGTH


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_saved_folder_opens_in_the_library_with_the_same_vectors(folder, tmp_path, layout):
    source, plain, prompted = folder(layout)
    pipeline("sentence-embedding", model=source, framework="pt").save_pretrained(tmp_path / "ours")
    opened = library.SentenceTransformer(str(tmp_path / "ours"), device="cpu")
    assert measure_distance(opened.encode(TEXTS), plain) < DISTANCE
    assert measure_distance(opened.encode(TEXTS, prompt_name="query"), prompted) < DISTANCE
    assert opened.max_seq_length == LENGTH


def test_an_encoder_of_ours_becomes_a_folder_of_the_library(encoder, framework, tmp_path):
    embed = pipeline(
        "sentence-embedding", model=encoder, framework=framework, device="cpu", pooling="cls+mean", normalize=True
    )
    embed.save_pretrained(tmp_path / "ours")
    opened = library.SentenceTransformer(str(tmp_path / "ours"), device="cpu")
    assert measure_distance(opened.encode(TEXTS), embed(TEXTS)) < DISTANCE


@pytest.mark.parametrize("name", ["cosine", "dot", "euclidean", "manhattan"])
def test_similarities_are_those_of_the_library(encoder, name):
    embed = pipeline("sentence-embedding", model=encoder, framework="pt")
    object.__setattr__(embed.modules, "similarity", name)
    vectors = np.stack(embed(TEXTS[:9]))
    expected = library.util.SimilarityFunction.to_similarity_fn(name)(vectors, vectors[:4]).numpy()
    np.testing.assert_allclose(embed.similarity(vectors, vectors[:4]), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("activation", [None, "Sigmoid", "Identity"])
def test_a_cross_encoder_ranks_as_in_the_library(tmp_path, weights, framework, activation):
    source = save_checkpoint(tmp_path / "model", weights, "ForSequenceClassification", num_labels=1)
    kind = None if activation is None else getattr(torch.nn, activation)()
    theirs = library.CrossEncoder(source, device="cpu", activation_fn=kind)
    expected = theirs.rank(TEXTS[3], TEXTS)
    theirs.save_pretrained(str(tmp_path / "theirs"))
    rank = pipeline("text-ranking", model=str(tmp_path / "theirs"), framework=framework, device="cpu")
    found = rank({"query": TEXTS[3], "documents": TEXTS})
    compare_ranks(found, expected)
    rank.save_pretrained(tmp_path / "ours")
    compare_ranks(found, library.CrossEncoder(str(tmp_path / "ours"), device="cpu").rank(TEXTS[3], TEXTS))
    for name in ("modules.json", "config_sentence_transformers.json", "sentence_bert_config.json"):
        (tmp_path / "ours" / name).unlink()  # version 4 wrote only config.json
    compare_ranks(found, library.CrossEncoder(str(tmp_path / "ours"), device="cpu").rank(TEXTS[3], TEXTS))


def compare_ranks(found, expected):
    scores = {row["corpus_id"]: row["score"] for row in expected}
    assert len(found) == len(scores)
    for row in found:
        assert abs(row["score"] - scores[row["index"]]) < 1e-4 * max(1, abs(row["score"]))
    assert [row["score"] for row in found] == sorted((row["score"] for row in found), reverse=True)


def test_the_class_names_of_the_library_are_those_that_are_read(folder):
    modules = json.loads(Path(folder("three, dense, prompts")[0], "modules.json").read_text(encoding="utf-8"))
    kinds = [row["type"].rpartition(".")[2] for row in modules]
    assert kinds == ["Transformer", "Pooling", "Dense", "Normalize"]
