"""A training step computes no padding, and gives what it would give with padding."""

import numpy as np
import pytest

from roberta_core.training.unpadding import find_rows

pytestmark = pytest.mark.usefixtures("training")

LENGTHS = (5, 11, 3, 1)
CLASSES = ("ForCausalLM", "ForMaskedLM", "ForSequenceClassification", "ForMultipleChoice", "ForTokenClassification")


@pytest.fixture
def run(framework, steps, monkeypatch):
    """Return `run(batch, find)`, which takes a step that computes the tokens that `find` returns."""

    def take(architecture, batch, find, **settings):
        monkeypatch.setattr(framework.module("training"), "find_rows", find)
        trainer = steps.build_trainer(framework.backend, steps.build_recipe(run=settings), architecture, scale=20.0)
        scalars = trainer.step([batch], 1e-3)
        return float(scalars["loss"]), trainer.state().first_moments

    return take


def build(architecture):
    """Return a batch of four sequences, the longest as long as a row, with labels."""
    generator = np.random.default_rng(5)
    mask = np.arange(max(LENGTHS)) < np.array(LENGTHS)[:, None]
    ids = np.where(mask, generator.integers(4, 101, mask.shape), 1)
    batch = {"input_ids": ids, "attention_mask": mask.astype(np.int64)}
    if architecture == "ForMultipleChoice":
        batch = {name: array.reshape(2, 2, -1) for name, array in batch.items()}
        return {**batch, "labels": np.array([0, 1])}
    if architecture == "ForSequenceClassification":
        return {**batch, "labels": np.array([0, 1, 1, 0])}
    top = 2 if architecture == "ForTokenClassification" else 101
    return {**batch, "labels": np.where(mask, generator.integers(0, top, mask.shape), -100)}


def check_same(found, expected):
    assert found[0] == pytest.approx(expected[0], rel=1e-6)
    most = max(abs(array).max() for array in expected[1].values())
    for name, array in found[1].items():
        assert abs(array - expected[1][name]).max() <= 2e-6 * most, name


@pytest.mark.parametrize("architecture", CLASSES)
def test_a_step_without_padding_has_the_loss_and_gradients_of_one_with_it(run, architecture):
    batch, counts = build(architecture), []

    def find(*arguments):
        rows = find_rows(*arguments)
        counts.append(len(rows))
        return rows

    check_same(run(architecture, batch, find), run(architecture, batch, lambda *arguments: None))
    assert sum(LENGTHS) <= counts[0] < batch["input_ids"].size


def test_a_step_with_gradient_checkpointing_computes_no_padding_either(run):
    architecture = "ForTokenClassification"
    batch = build(architecture)
    found = run(architecture, batch, find_rows, gradient_checkpointing=True)
    check_same(found, run(architecture, batch, lambda *arguments: None))


def test_a_token_that_is_not_computed_is_missing_from_the_loss(run):
    architecture = "ForTokenClassification"
    batch = build(architecture)
    whole = run(architecture, batch, find_rows)[0]
    assert run(architecture, batch, lambda *arguments: find_rows(*arguments)[:-1])[0] != pytest.approx(whole, rel=1e-4)


@pytest.mark.usefixtures("single_steps")
def test_steps_with_other_rows_follow_each_other_where_functions_run_eagerly(run, framework, steps):
    ours = steps.build_trainer(framework.backend, None, "ForTokenClassification", scale=20.0)
    batch = build("ForTokenClassification")
    for rows in (slice(0, 2), slice(1, 4), slice(2, 4)):
        part = {name: array[rows] for name, array in batch.items()}
        expected = float(framework.backend.run(ours.model, part).loss)
        assert float(ours.step([part], 0.0)["loss"]) == pytest.approx(expected, rel=1e-5)


def test_a_method_of_a_user_gets_padding_too(run, framework, monkeypatch):
    head = framework.module("heads").ClassificationHead
    name = next(name for name in ("forward", "call", "__call__") if name in vars(head))
    shapes, original = [], vars(head)[name]

    def watched(self, features, **options):
        shapes.append(tuple(features.shape))
        return original(self, features, **options)

    monkeypatch.setattr(head, name, watched)
    counts = []
    batch = {name: array[:3] for name, array in build("ForSequenceClassification").items()}  # not compiled before

    def find(*arguments):
        counts.append(len(find_rows(*arguments)))
        return find_rows(*arguments)

    run("ForSequenceClassification", batch, find)
    assert not counts
    assert shapes
