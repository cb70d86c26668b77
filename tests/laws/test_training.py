"""Training steps, and resuming a killed run."""

import numpy as np
import pytest
from safetensors.numpy import load_file

from roberta_core.parameters import has_weight_decay, parameters

pytestmark = pytest.mark.usefixtures("training")

CLASSES = (
    "ForCausalLM", "ForMaskedLM", "ForSequenceClassification", "ForMultipleChoice", "ForTokenClassification",
    "ForQuestionAnswering",
)  # fmt: skip


@pytest.fixture
def make(framework, steps):
    """Return `make(plan, ...)`, which builds a trainer."""

    def build(*arguments, **settings):
        return steps.build_trainer(framework.backend, *arguments, **settings)

    return build


@pytest.mark.usefixtures("single_steps")
def test_the_loss_is_the_loss_of_the_model_at_the_masked_positions(framework, make, steps):
    ours, batch = make(scale=20.0), steps.build_batch(0)
    expected = float(framework.backend.run(ours.model, steps.expand_labels(batch)).loss)
    assert float(ours.step([batch], 0.0)["loss"]) == pytest.approx(expected, rel=2e-6)


@pytest.mark.parametrize("architecture", CLASSES)
def test_every_class_trains_with_its_own_loss(framework, make, steps, architecture):
    ours, batch = make(None, architecture, scale=20.0), steps.build_task_batch(architecture)
    losses = [float(framework.backend.run(ours.model, batch).loss)]
    for _ in range(2):
        assert float(ours.step([batch], 1e-3)["loss"]) == pytest.approx(losses[-1], rel=1e-5)
        losses.append(float(framework.backend.run(ours.model, batch).loss))
    assert losses[2] < losses[1] < losses[0]


@pytest.mark.parametrize("case", ["one label", "several labels", "words"])
def test_the_loss_of_weighted_labels_is_their_weighted_mean_in_one_or_several_batches(framework, make, steps, case):
    architecture = "ForTokenClassification" if case == "words" else "ForSequenceClassification"
    ours, batch = make(None, architecture, scale=20.0), steps.build_task_batch(architecture)
    logits = np.asarray(framework.backend.run(ours.model, {k: v for k, v in batch.items() if k != "labels"}).logits)
    if case == "several labels":
        batch["labels"] = labels = np.array([[1, 0], [1, 1]], np.float32)
        batch["label_weights"] = weights = np.array([[3, 1], [3, 0.5]], np.float32)
        losses = np.log1p(np.exp(logits)) - logits * labels
    else:
        labels = batch["labels"]
        weights = np.where(labels == 0, 3, 0.5) * (labels != -100)
        batch["label_weights"] = weights.astype(np.float32)
        chosen = np.take_along_axis(logits, np.maximum(labels, 0)[..., None], axis=-1)[..., 0]
        losses = np.log(np.exp(logits.astype(np.float64)).sum(-1)) - chosen
    wanted = (losses * weights).sum() / weights.sum()
    assert float(ours.step([batch], 0.0)["loss"]) == pytest.approx(wanted, rel=2e-5)
    parts = [{name: array[row : row + 1] for name, array in batch.items()} for row in range(2)]
    assert float(ours.step(parts, 0.0)["loss"]) == pytest.approx(wanted, rel=2e-5)


@pytest.mark.parametrize("architecture", ["ForMaskedLM", "ForTokenClassification"])
def test_a_micro_batch_without_labels_adds_nothing(make, steps, architecture):
    if architecture == "ForMaskedLM":
        batch, name = steps.build_batch(0), "masked_labels"
    else:
        batch, name = steps.build_task_batch(architecture), "labels"
    empty = {**batch, name: np.full_like(batch[name], -100)}
    expected = make(None, architecture, scale=20.0).step([batch], 0.0)
    found = make(None, architecture, scale=20.0).step([batch, empty], 0.0)
    for one in ("loss", "gradient_norm"):
        assert float(found[one]) == pytest.approx(float(expected[one]), rel=1e-5), one


def test_an_evaluation_sums_over_the_labels_and_changes_nothing(framework, make, steps):
    ours, batch = make(steps.build_recipe(0.5)), steps.build_batch(0)
    before = ours.state()
    first, second = ours.evaluate(batch), ours.evaluate(batch)
    assert float(first["loss"]) == float(second["loss"])  # no dropout
    count = (batch["masked_labels"] != -100).sum()
    expected = float(framework.backend.run(ours.model, steps.expand_labels(batch)).loss)
    assert (float(first["loss"]) / count, int(first["count"])) == (pytest.approx(expected, rel=1e-6), count)
    assert 0 <= int(first["correct"]) <= count
    assert not steps.find_differences(before, ours.state())


def test_training_learns(make, steps):
    losses = steps.run_steps(make(), range(60))
    assert np.mean(losses[-10:]) < np.mean(losses[:10]) - 0.3


@pytest.mark.usefixtures("single_steps")
def test_a_step_is_adamw_with_decay_only_on_matrices(framework, make, steps):
    """The first step of AdamW is the sign of the gradient plus the decay (Loshchilov & Hutter 2019)."""
    ours, batch = make(steps.build_recipe(weight_decay=0.5, epsilon=1e-12), scale=20.0), steps.build_batch(0)
    before = ours.state().tensors
    gradients = framework.backend.gradients(ours.model, steps.expand_labels(batch), {"loss": np.float32(1)})
    ours.step([batch], 1e-3)
    table = parameters(ours.model.config, "ForMaskedLM")
    for name, after in ours.state().tensors.items():
        clear = np.abs(gradients[name]) > 1e-4  # smaller ones are of the order of epsilon
        decayed = before[name] * (1 - 1e-3 * 0.5 * has_weight_decay(table[name]))
        expected = decayed - 1e-3 * np.sign(gradients[name])
        np.testing.assert_allclose(after[clear], expected[clear], rtol=0, atol=2e-6, err_msg=name)


@pytest.mark.usefixtures("single_steps")
def test_only_gradients_over_the_norm_are_clipped(make, steps):
    free, tight, loose = (make(steps.build_recipe(clip_norm=norm), scale=20.0) for norm in (0.0, 0.01, 1e6))
    norms = [float(one.step([steps.build_batch(0)], 0.0)["gradient_norm"]) for one in (free, tight, loose)]
    assert norms[0] == pytest.approx(norms[1], rel=1e-6)
    assert norms[0] == pytest.approx(norms[2], rel=1e-6)
    assert norms[0] > 0.01
    means = [one.state().first_moments for one in (free, tight, loose)]
    squares = sum(float(np.square(mean / 0.1, dtype=np.float64).sum()) for mean in means[0].values())
    assert squares**0.5 == pytest.approx(norms[0], rel=1e-5)
    for name, mean in means[0].items():
        np.testing.assert_allclose(means[1][name], mean * (0.01 / norms[0]), rtol=1e-4, atol=1e-10)
        np.testing.assert_allclose(means[2][name], mean, rtol=1e-4, atol=1e-9)


@pytest.mark.usefixtures("single_steps")
def test_micro_batches_give_the_step_of_the_whole_batch(make, steps):
    """They have different numbers of labels, so a mean of means would give a different step."""
    whole, parts = make(scale=20.0), make(scale=20.0)
    batch = steps.build_batch(2)
    batches = [{name: array[rows] for name, array in batch.items()} for rows in (slice(0, 1), slice(1, 4))]
    counts = [(part["masked_labels"] != -100).sum() for part in batches]
    assert counts[0] * 3 != counts[1]
    one, other = whole.step([batch], 1e-3), parts.step(batches, 1e-3)
    assert float(other["loss"]) == pytest.approx(float(one["loss"]), rel=1e-6)
    assert float(other["gradient_norm"]) == pytest.approx(float(one["gradient_norm"]), rel=1e-5)
    expected, got = whole.state().first_moments, parts.state().first_moments
    for name, mean in expected.items():
        np.testing.assert_allclose(got[name], mean, rtol=1e-4, atol=1e-6 * np.abs(mean).max() + 1e-8, err_msg=name)
    second = [float(one.step(given, 1e-3)["loss"]) for one, given in ((whole, [batch]), (parts, batches))]
    assert second[1] == pytest.approx(second[0], rel=1e-5)


@pytest.mark.usefixtures("single_steps")
def test_lower_layers_learn_at_a_lower_rate(make, steps):
    ours, slower = (make(steps.build_recipe(layer_decay=decay), scale=20.0) for decay in (1.0, 0.5))
    before = ours.state().tensors
    for one in (ours, slower):
        one.step([steps.build_batch(0)], 1e-3)
    ours, slower = ours.state().tensors, slower.state().tensors
    for name, factor in (
        ("lm_head.dense.weight", 1.0),
        ("roberta.encoder.layer.0.output.dense.weight", 0.5),
        ("roberta.embeddings.position_embeddings.weight", 0.25),
    ):
        whole, part = ours[name] - before[name], slower[name] - before[name]
        assert np.abs(whole).max() > 5e-4
        np.testing.assert_allclose(part, whole * factor, rtol=0, atol=1e-6, err_msg=name)


@pytest.mark.usefixtures("single_steps")
def test_bfloat16_keeps_float32_parameters_and_a_similar_loss(framework, make, steps):
    half, full = make(steps.build_recipe(precision="bfloat16")), make()
    losses = [float(one.step([steps.build_batch(0)], 1e-3)["loss"]) for one in (half, full)]
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=1e-2)
    assert {array.dtype.name for array in half.state().tensors.values()} == {"float32"}
    assert losses[1] == pytest.approx(
        float(framework.backend.run(make().model, steps.expand_labels(steps.build_batch(0))).loss), rel=1e-6
    )


def test_gradient_checkpointing_gives_the_same_step_with_dropout(make, steps):
    losses = [
        steps.run_steps(make(steps.build_recipe(0.3, {"gradient_checkpointing": on})), range(3)) for on in (False, True)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert losses[0] != pytest.approx(steps.run_steps(make(), range(3)), rel=1e-4)  # dropout has an effect


def test_dropout_differs_in_each_step_and_depends_on_the_seed(make, steps):
    losses = [steps.run_steps(make(steps.build_recipe(0.3, {"seed": seed})), [0, 0], rate=0.0) for seed in (0, 0, 1)]
    assert losses[0] == losses[1]
    assert len({*losses[0], *losses[2]}) == 4


def test_a_state_resumes_to_the_same_bits_with_dropout(make, steps):
    whole = make(steps.build_recipe(0.1))
    steps.run_steps(whole, range(3))
    state = whole.state()
    steps.run_steps(whole, range(3, 6))
    resumed = make(steps.build_recipe(0.1), seed=9)
    steps.run_steps(resumed, range(2))
    resumed.load_state(state)
    assert not steps.find_differences(state, resumed.state())
    steps.run_steps(resumed, range(3, 6))
    assert not steps.find_differences(whole.state(), resumed.state())


def test_a_state_has_the_published_names_and_shapes(make, steps):
    ours = make()
    steps.run_steps(ours, range(1))
    expected = {name: row.shape for name, row in parameters(ours.model.config, "ForMaskedLM").items()}
    for part in ("tensors", "first_moments", "second_moments"):
        assert {name: array.shape for name, array in getattr(ours.state(), part).items()} == expected


def test_a_state_of_another_model_is_refused(make):
    ours = make()
    state = ours.state()
    state.second_moments = {name: array for name, array in state.second_moments.items() if name != "lm_head.bias"}
    with pytest.raises(ValueError, match=r"differ in \['lm_head.bias'\]"):
        ours.load_state(state)


def test_a_killed_run_resumes_to_the_same_bits(framework, steps, tmp_path):
    (tmp_path / "texts").mkdir()
    texts = steps.write_texts(tmp_path / "texts", dropout=0.1, steps=framework.KILLED_STEPS)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    steps.run_command(steps.build_command(texts, whole, framework.backend.name))
    for number, (step, delay) in enumerate(framework.KILLS):
        further = ["--resume"] if number else []
        steps.run_and_kill(steps.build_command(texts, killed, framework.backend.name, *further), killed, step, delay)
    assert not (killed / "model").exists()
    steps.run_command(steps.build_command(texts, killed, framework.backend.name, "--resume"))
    last = f"step-{framework.KILLED_STEPS:07}"
    for name in (f"{last}/model.safetensors", f"{last}/optimizer.safetensors", "model/model.safetensors"):
        expected, got = load_file(whole / name), load_file(killed / name)
        assert set(expected) == set(got)
        assert [key for key in expected if expected[key].tobytes() != got[key].tobytes()] == []
    assert len(load_file(killed / "model" / "model.safetensors")) > 20
