"""Evaluation of a checkpoint on texts and the command for it, with a NumPy framework."""

import json

import numpy as np
import pytest

from roberta_core import backend, checkpoints, cli
from roberta_core.config import RobertaConfig
from roberta_core.outputs import MaskedLMOutput
from roberta_core.parameters import draw
from roberta_core.tokenization import train_tokenizer
from roberta_core.training.evaluation import Evaluation, model_predictor

SENTENCE = "The old man came to the sea. "
RECIPE = '[model]\nmax_position_embeddings = 19\n[data]\nsequence_length = 17\nheld_out = ["held.txt"]\n'


class Constant:
    """A framework whose models always predict one token."""

    version, device = "1", "cpu"

    def __init__(self, favourite, title="One"):
        self.favourite, self.title = favourite, title

    def on(self, device):
        return self

    def from_pretrained(self, architecture, source):
        return RobertaConfig.from_pretrained(source)

    def run(self, model, inputs):
        logits = np.zeros((*inputs["input_ids"].shape, model.vocab_size), np.float32)
        logits[..., self.favourite] = 3
        return MaskedLMOutput(logits=logits)


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    for name, count in (("a.txt", 300), ("b.txt", 90), ("held.txt", 40)):
        (folder / name).write_text(SENTENCE * count)
    size = train_tokenizer([folder / "a.txt"], 290, folder)
    config = RobertaConfig(
        vocab_size=size,
        hidden_size=12,
        num_hidden_layers=1,
        num_attention_heads=3,
        intermediate_size=20,
        max_position_embeddings=19,
    )
    checkpoints.save(folder, config, "ForMaskedLM", dict(draw(config, "ForMaskedLM")))
    (folder / "recipe.toml").write_text(RECIPE)
    return folder


def build_evaluation(texts, *patterns, **settings):
    return Evaluation(str(texts), [str(texts / pattern) for pattern in patterns], **settings)


def test_the_softmax_is_over_the_vocabulary_at_each_position():
    config = RobertaConfig(vocab_size=11)
    rows, columns = np.array([0, 1]), np.array([2, 3])
    batch = {"input_ids": np.zeros((2, 4), int), "attention_mask": np.ones((2, 4), int)}
    found = np.exp(model_predictor(Constant(7), config)(batch, rows, columns))
    assert found.shape == (2, 11)
    assert found.sum(axis=1) == pytest.approx(1.0)
    assert found[:, 7] == pytest.approx(np.exp(3) / (np.exp(3) + 10))


def test_a_model_is_scored_only_on_text_tokens(texts):
    evaluation = build_evaluation(texts, "b.txt")
    labels = np.concatenate([batch["masked_labels"].ravel() for batch in evaluation.batches])
    labels = labels[labels > 3]
    favourite = int(np.bincount(labels).argmax())
    found = evaluation.of_model(Constant(favourite))
    assert found.count == len(labels)
    assert found.accuracy == (labels == favourite).mean()


def test_texts_are_split_to_the_length_of_the_model(texts):
    assert {batch["input_ids"].shape[1] for batch in build_evaluation(texts, "b.txt").batches} <= {16, 17}


def test_only_held_out_texts_are_scored_on_request(texts):
    recipe = str(texts / "recipe.toml")
    evaluation = build_evaluation(texts, "[abh]*.txt", recipe=recipe, only_held_out=True)
    assert [path.name for path in evaluation.files] == ["held.txt"]
    with pytest.raises(ValueError, match="none of the texts is held out"):
        build_evaluation(texts, "a.txt", recipe=recipe, only_held_out=True)


def test_the_number_of_scored_blocks_can_be_limited(texts):
    assert build_evaluation(texts, "a.txt", blocks=3).count == 3
    assert len(build_evaluation(texts, "a.txt", blocks=3).batches[0]["input_ids"]) == 3


@pytest.fixture
def call(texts, monkeypatch, capfd):
    known = {"one": Constant(5), "two": Constant(9, "Two")}
    monkeypatch.setattr(backend, "registered", lambda: known)
    monkeypatch.setattr(backend, "require", lambda name: None)
    monkeypatch.setattr(backend, "load", lambda name: known[name])

    def called(*arguments):
        with pytest.raises(SystemExit) as end:
            cli.main(["evaluate", "--model", str(texts), "--texts", str(texts / "held.txt"), *arguments])
        printed = capfd.readouterr()
        return end.value.code, printed.out, printed.err

    return called


def test_the_command_scores_frameworks_on_the_same_tokens(call):
    status, out, _ = call("--frameworks", "one,two", "--json")
    assert status == 0
    found = json.loads(out)
    assert list(found["scores"]) == ["One 1 on cpu", "Two 1 on cpu"]
    assert len({score["count"] for score in found["scores"].values()}) == 1


def test_the_command_shows_a_table(call):
    status, out, _ = call("--framework", "one")
    assert status == 0
    assert "accuracy" in out
    assert "%" in out


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--predictions=a.jsonl", "--predictions requires --task"),
        ("--columns=text=a", "--columns requires --task"),
        ("--header=a", "--header requires --task"),
        ("--input-format=csv", "--input-format requires --task"),
        ("--strict", "--strict requires --task"),
        ("--task=classification --only-held-out", "--only-held-out cannot be used with --task"),
        ("--task=classification --blocks=3", "--blocks cannot be used with --task"),
        ("--task=classification --seed=0", "--seed cannot be used with --task"),
    ],
)
def test_an_option_of_the_other_kind_of_evaluation_is_refused(call, option, said):
    status, _, message = call("--framework", "one", *option.split())
    assert status == 2
    assert said in message


def test_a_recipe_for_a_task_does_not_tell_how_texts_are_masked(call):
    status, _, message = call("--framework", "one", "--recipe", "squad")
    assert status == 1
    assert "squad is a recipe for `roberta finetune question-answering`" in message


def test_held_out_texts_require_a_recipe(call):
    status, _, message = call("--framework", "one", "--only-held-out")
    assert status == 2
    assert "--only-held-out requires a --recipe" in message
