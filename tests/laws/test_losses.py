import numpy as np
import pytest

pytestmark = pytest.mark.usefixtures("wide")  # the definition and the implementation agree to 12 digits only in float64

LOGITS = np.random.default_rng(0).standard_normal((3, 5, 4)) * 3
LABELS = np.array([[0, 3, -100, 1, 2], [-100] * 5, [1, 1, 2, -100, 0]])


@pytest.fixture
def loss(framework):
    """Return `loss(name, *arrays, ...)`, which calls a function of `losses.py`."""
    functions = framework.module("losses")

    def compute(name, *given, **settings):
        given = [framework.backend.tensor(value) if isinstance(value, np.ndarray) else value for value in given]
        return getattr(functions, f"{name}_loss")(*given, **settings)

    return compute


def compute_entropies(logits, labels):
    """Return the cross entropy by its definition, in NumPy."""
    scores = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    return -np.take_along_axis(scores, np.maximum(labels, 0)[..., None], -1)[..., 0]


def assert_near(got, want, rtol=1e-12):
    np.testing.assert_allclose(np.asarray(got), want, rtol=rtol)


def test_ignored_labels_do_not_count(loss):
    assert_near(loss("token", LOGITS, LABELS), compute_entropies(LOGITS, LABELS)[LABELS != -100].mean())


def test_the_causal_loss_is_shifted_by_one(loss):
    later = LABELS[:, 1:]
    want = compute_entropies(LOGITS[:, :-1], later)[later != -100]
    assert_near(loss("causal", LOGITS, LABELS), want.mean())
    assert_near(loss("causal", LOGITS, LABELS, count=40), want.sum() / 40)


@pytest.mark.parametrize(("name", "shape"), [("token", (3, 4)), ("token", (5, 3)), ("causal", (3, 4))])
def test_labels_of_another_shape_are_refused(loss, name, shape):
    with pytest.raises(ValueError, match=r"labels has shape .*; with these inputs it must be \[3, 5\]"):
        loss(name, LOGITS, np.zeros(shape, np.int64))


def test_ignored_labels_only_give_zero_and_no_gradient(framework, loss):
    starts = np.array([-1, 4, 9])
    for function in (
        lambda logits: loss("token", logits, np.full((3, 5), -100)),
        lambda logits: loss("span", logits[:, 0], logits[:, 1], starts, starts),
    ):
        value, gradient = framework.gradient(function, LOGITS)
        assert value == 0
        assert not gradient.any()


def test_without_reduction_every_label_has_a_loss(loss):
    assert_near(loss("token", LOGITS, LABELS, "none"), np.where(LABELS == -100, 0, compute_entropies(LOGITS, LABELS)))


def test_a_single_label_is_regression(loss):
    logits, labels = LOGITS[:, 0, :1], np.array([0.5, -2.0, 3.0])
    for shape in ((3,), (3, 1)):
        assert_near(loss("sequence", logits, labels.reshape(shape), None), ((logits[:, 0] - labels) ** 2).mean())


def test_regression_over_several_targets_is_the_mean_of_squares(loss):
    targets = np.random.default_rng(1).standard_normal((3, 4))
    assert_near(loss("sequence", LOGITS[:, 0], targets, "regression"), ((LOGITS[:, 0] - targets) ** 2).mean())


def test_integers_are_classes(loss):
    labels = np.array([3, -100, 0])
    want = compute_entropies(LOGITS[:, 0], labels)[labels >= 0].mean()
    for shape in ((3,), (3, 1)):
        assert_near(loss("sequence", LOGITS[:, 0], labels.reshape(shape), None), want)


@pytest.mark.parametrize("kind", [np.int64, np.float32])
def test_multiple_labels_may_be_integers_or_floats(loss, kind):
    labels = np.array([[1, 0, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1]])
    chance = 1 / (1 + np.exp(-LOGITS[:, 0]))
    want = -np.where(labels == 1, np.log(chance), np.log(1 - chance)).mean()
    assert_near(loss("sequence", LOGITS[:, 0], labels.astype(kind), None), want, 1e-9)
    assert loss("sequence", LOGITS[:, 0], labels.astype(kind), "multi_label_classification", "none").shape == (3,)


@pytest.mark.parametrize("shape", [(3,), (3, 3), (2, 4)])
def test_targets_of_another_shape_are_refused(loss, shape):
    with pytest.raises(ValueError, match=r"labels has shape .*; with these inputs it must be \[3, 4\]"):
        loss("sequence", LOGITS[:, 0], np.zeros(shape, np.float32), "regression")


def test_spans_outside_the_sequence_are_ignored(loss):
    start, end = LOGITS[:, :, 0], LOGITS[:, :, 1]
    starts, ends = np.array([4, 5, -1]), np.array([0, 2, -100])
    want = (
        compute_entropies(start, starts.clip(0, 4))[:1].mean() + compute_entropies(end, ends.clip(0))[:2].mean()
    ) / 2
    assert_near(loss("span", start, end, starts, ends), want)
    assert_near(loss("span", start, end, starts[:, None], ends[:, None]), want)


def test_a_label_outside_its_classes_is_refused(loss):
    with pytest.raises(ValueError, match="labels contains 4; with 4 classes"):
        loss("token", LOGITS, np.full((3, 5), 4))
    with pytest.raises(ValueError, match="labels contains -1"):
        loss("token", LOGITS, np.full((3, 5), -1))


def test_half_precision_logits_are_upcast(framework, loss):
    logits = framework.cast(framework.backend.tensor(LOGITS), "bfloat16")
    assert framework.dtype(loss("token", logits, np.zeros((3, 5), np.int64))) == "float32"
