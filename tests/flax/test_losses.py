import jax
import jax.numpy as jnp
import numpy as np
import pytest

from roberta_flax.losses import causal_loss, sequence_loss, span_loss, token_loss

LOGITS = np.random.default_rng(0).standard_normal((3, 5, 4)) * 3
LABELS = np.array([[0, 3, -100, 1, 2], [-100] * 5, [1, 1, 2, -100, 0]])


@pytest.fixture(autouse=True)
def wide():
    """In float64, where a definition and an implementation differ by rounding in the 16th digit."""
    with jax.enable_x64(True), jax.disable_jit():
        yield


def entropies(logits, labels):
    """Cross entropy by its definition, in NumPy."""
    scores = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    return -np.take_along_axis(scores, np.maximum(labels, 0)[..., None], -1)[..., 0]


def near(got, want, rtol=1e-12):
    np.testing.assert_allclose(np.asarray(got), want, rtol=rtol)


def test_ignored_labels_do_not_count():
    near(token_loss(jnp.asarray(LOGITS), LABELS), entropies(LOGITS, LABELS)[LABELS != -100].mean())


def test_the_causal_loss_is_shifted_by_one():
    later = LABELS[:, 1:]
    want = entropies(LOGITS[:, :-1], later)[later != -100]
    near(causal_loss(jnp.asarray(LOGITS), LABELS), want.mean())
    near(causal_loss(jnp.asarray(LOGITS), LABELS, count=40), want.sum() / 40)


@pytest.mark.parametrize(("loss", "shape"), [(token_loss, (3, 4)), (token_loss, (5, 3)), (causal_loss, (3, 4))])
def test_labels_of_another_shape_are_refused(loss, shape):
    with pytest.raises(ValueError, match=r"labels has shape .*; with these inputs it must be \[3, 5\]"):
        loss(LOGITS, jnp.asarray(np.zeros(shape, np.int64)))


def test_everything_ignored_gives_zero_and_no_gradient():
    loss, gradient = jax.value_and_grad(token_loss)(jnp.asarray(LOGITS), np.full((3, 5), -100))
    assert loss == 0
    assert not gradient.any()
    starts = np.array([-1, 4, 9])
    assert span_loss(jnp.asarray(LOGITS[:, 0]), jnp.asarray(LOGITS[:, 1]), starts, starts) == 0


def test_each_label_has_its_loss_without_reduction():
    want = np.where(LABELS == -100, 0, entropies(LOGITS, LABELS))
    near(token_loss(jnp.asarray(LOGITS), LABELS, "none"), want)


def test_one_label_a_row_is_regression():
    logits, labels = LOGITS[:, 0, :1], np.array([0.5, -2.0, 3.0])
    for shape in ((3,), (3, 1)):
        got = sequence_loss(jnp.asarray(logits), jnp.asarray(labels.reshape(shape)), None)
        near(got, ((logits[:, 0] - labels) ** 2).mean())


def test_regression_over_several_targets_is_the_mean_of_squares():
    targets = np.random.default_rng(1).standard_normal((3, 4))
    got = sequence_loss(jnp.asarray(LOGITS[:, 0]), jnp.asarray(targets), "regression")
    near(got, ((LOGITS[:, 0] - targets) ** 2).mean())


def test_whole_numbers_are_classes():
    labels = np.array([3, -100, 0])
    want = entropies(LOGITS[:, 0], labels)[labels >= 0].mean()
    for shape in ((3,), (3, 1)):
        near(sequence_loss(jnp.asarray(LOGITS[:, 0]), labels.reshape(shape), None), want)


@pytest.mark.parametrize("kind", [np.int64, np.float32])
def test_many_labels_may_be_numbers_of_either_kind(kind):
    labels = np.array([[1, 0, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1]])
    chance = 1 / (1 + np.exp(-LOGITS[:, 0]))
    want = -np.where(labels == 1, np.log(chance), np.log(1 - chance)).mean()
    near(sequence_loss(jnp.asarray(LOGITS[:, 0]), labels.astype(kind), None), want, 1e-9)
    assert sequence_loss(jnp.asarray(LOGITS[:, 0]), labels, "multi_label_classification", "none").shape == (3,)


@pytest.mark.parametrize("shape", [(3,), (3, 3), (2, 4)])
def test_targets_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"labels has shape .*; with these inputs it must be \[3, 4\]"):
        sequence_loss(jnp.asarray(LOGITS[:, 0]), jnp.zeros(shape), "regression")


def test_spans_outside_the_sequence_are_ignored():
    start, end = LOGITS[:, :, 0], LOGITS[:, :, 1]
    starts, ends = np.array([4, 5, -1]), np.array([0, 2, -100])
    want = (entropies(start, starts.clip(0, 4))[:1].mean() + entropies(end, ends.clip(0))[:2].mean()) / 2
    near(span_loss(jnp.asarray(start), jnp.asarray(end), starts, ends), want)
    near(span_loss(jnp.asarray(start), jnp.asarray(end), starts[:, None], ends[:, None]), want)


def test_a_label_outside_its_classes_is_refused():
    with pytest.raises(ValueError, match="labels contains 4; with 4 classes"):
        token_loss(jnp.asarray(LOGITS), np.full((3, 5), 4))
    with pytest.raises(ValueError, match="labels contains -1"):
        token_loss(jnp.asarray(LOGITS), np.full((3, 5), -1))


def test_a_label_that_nobody_could_check_makes_the_loss_nan():
    with jax.disable_jit(False):
        for wrong in (4, -1, -4):
            assert jnp.isnan(jax.jit(token_loss)(jnp.asarray(LOGITS), np.where(LABELS == 3, wrong, LABELS)))


def test_half_precision_logits_are_raised():
    assert token_loss(jnp.asarray(LOGITS, jnp.bfloat16), np.zeros((3, 5), np.int64)).dtype == jnp.float32
