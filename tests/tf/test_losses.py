import numpy as np
import pytest
import tensorflow as tf

from roberta_tf.losses import causal_loss, sequence_loss, span_loss, token_loss

LOGITS = tf.constant(np.random.default_rng(0).standard_normal((3, 5, 4)) * 3)


def entropies(logits, labels):
    """Cross entropy by its definition, in NumPy."""
    logits = np.asarray(logits, np.float64)
    scores = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    return -np.take_along_axis(scores, np.maximum(labels, 0)[..., None], -1)[..., 0]


LABELS = np.array([[0, 3, -100, 1, 2], [-100] * 5, [1, 1, 2, -100, 0]])


def test_ignored_labels_do_not_count():
    want = entropies(LOGITS, LABELS)[LABELS != -100].mean()
    assert float(token_loss(LOGITS, tf.constant(LABELS))) == pytest.approx(want, rel=1e-12)


def test_the_causal_loss_is_shifted_by_one():
    later = LABELS[:, 1:]
    want = entropies(LOGITS[:, :-1], later)[later != -100]
    got = causal_loss(LOGITS, tf.constant(LABELS))
    assert float(got) == pytest.approx(want.mean(), rel=1e-12)
    assert float(causal_loss(LOGITS, tf.constant(LABELS), count=40)) == pytest.approx(want.sum() / 40, rel=1e-12)


@pytest.mark.parametrize(("loss", "shape"), [(token_loss, (3, 4)), (token_loss, (5, 3)), (causal_loss, (3, 4))])
def test_labels_of_another_shape_are_refused(loss, shape):
    with pytest.raises(ValueError, match=r"labels has shape .*; with these inputs it must be \[3, 5\]"):
        loss(LOGITS, tf.constant(np.zeros(shape, np.int64)))


def test_everything_ignored_gives_zero_and_no_gradient():
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(LOGITS)
        loss = token_loss(LOGITS, tf.fill((3, 5), -100))
        starts = tf.constant([-1, 4, 9])
        span = span_loss(LOGITS[:, 0], LOGITS[:, 1], starts, starts)
    for zero in (loss, span):
        assert float(zero) == 0
        assert not tape.gradient(zero, LOGITS).numpy().any()


def test_each_label_has_its_loss_without_reduction():
    losses = token_loss(LOGITS, tf.constant(LABELS), "none")
    want = np.where(LABELS == -100, 0, entropies(LOGITS, LABELS))
    np.testing.assert_allclose(losses, want, rtol=1e-12)


def test_one_label_a_row_is_regression():
    logits, labels = LOGITS[:, 0, :1], np.array([0.5, -2.0, 3.0])
    want = ((logits[:, 0] - labels) ** 2).numpy().mean()
    for shape in ((3,), (3, 1)):
        assert float(sequence_loss(logits, tf.reshape(labels, shape), None)) == pytest.approx(want, rel=1e-12)


def test_regression_over_several_targets_is_the_mean_of_squares():
    targets = np.random.default_rng(1).standard_normal((3, 4))
    want = ((LOGITS[:, 0] - targets) ** 2).numpy().mean()
    assert float(sequence_loss(LOGITS[:, 0], tf.constant(targets), "regression")) == pytest.approx(want, rel=1e-12)


def test_whole_numbers_are_classes():
    labels = np.array([3, -100, 0])
    want = entropies(LOGITS[:, 0], labels)[labels >= 0].mean()
    for shape in ((3,), (3, 1)):
        loss = sequence_loss(LOGITS[:, 0], tf.constant(labels.reshape(shape)), None)
        assert float(loss) == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize("kind", [np.int64, np.float32])
def test_many_labels_may_be_numbers_of_either_kind(kind):
    labels = np.array([[1, 0, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1]], kind)
    chance = 1 / (1 + np.exp(-LOGITS[:, 0].numpy()))
    want = -np.where(labels == 1, np.log(chance), np.log(1 - chance)).mean()
    assert float(sequence_loss(LOGITS[:, 0], tf.constant(labels), None)) == pytest.approx(want, rel=1e-9)
    assert sequence_loss(LOGITS[:, 0], tf.constant(labels), "multi_label_classification", "none").shape == (3,)


@pytest.mark.parametrize("shape", [(3,), (3, 3), (2, 4)])
def test_targets_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"labels has shape .*; with these inputs it must be \[3, 4\]"):
        sequence_loss(LOGITS[:, 0], tf.zeros(shape), "regression")


def test_spans_outside_the_sequence_are_ignored():
    start, end = LOGITS[:, :, 0], LOGITS[:, :, 1]
    starts, ends = np.array([4, 5, -1]), np.array([0, 2, -100])
    want = (entropies(start, starts.clip(0, 4))[:1].mean() + entropies(end, ends.clip(0))[:2].mean()) / 2
    got = span_loss(start, end, tf.constant(starts), tf.constant(ends))
    assert float(got) == pytest.approx(want, rel=1e-12)
    column = span_loss(start, end, tf.constant(starts)[:, None], tf.constant(ends)[:, None])
    assert float(column) == float(got)


def test_a_label_outside_its_classes_is_refused():
    with pytest.raises(ValueError, match="labels contains 4; with 4 classes"):
        token_loss(LOGITS, tf.fill((3, 5), 4))
    with pytest.raises(ValueError, match="labels contains -1"):
        token_loss(LOGITS, tf.fill((3, 5), -1))


def test_half_precision_logits_are_raised():
    assert token_loss(tf.cast(LOGITS, tf.bfloat16), tf.zeros((3, 5), tf.int32)).dtype == tf.float32
