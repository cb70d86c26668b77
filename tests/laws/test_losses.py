import numpy as np
import pytest

pytestmark = pytest.mark.usefixtures("wide")  # a definition and an implementation differ in the 16th digit

LOGITS = np.random.default_rng(0).standard_normal((3, 5, 4)) * 3
LABELS = np.array([[0, 3, -100, 1, 2], [-100] * 5, [1, 1, 2, -100, 0]])


@pytest.fixture
def loss(framework):
    """`loss(name, *arrays, ...)`: a function of `losses.py`."""
    functions = framework.module("losses")

    def computed(name, *given, **settings):
        given = [framework.backend.tensor(value) if isinstance(value, np.ndarray) else value for value in given]
        return getattr(functions, f"{name}_loss")(*given, **settings)

    return computed


def entropies(logits, labels):
    """Cross entropy by its definition, in NumPy."""
    scores = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    return -np.take_along_axis(scores, np.maximum(labels, 0)[..., None], -1)[..., 0]


def near(got, want, rtol=1e-12):
    np.testing.assert_allclose(np.asarray(got), want, rtol=rtol)


def test_ignored_labels_do_not_count(loss):
    near(loss("token", LOGITS, LABELS), entropies(LOGITS, LABELS)[LABELS != -100].mean())


def test_the_causal_loss_is_shifted_by_one(loss):
    later = LABELS[:, 1:]
    want = entropies(LOGITS[:, :-1], later)[later != -100]
    near(loss("causal", LOGITS, LABELS), want.mean())
    near(loss("causal", LOGITS, LABELS, count=40), want.sum() / 40)


@pytest.mark.parametrize(("name", "shape"), [("token", (3, 4)), ("token", (5, 3)), ("causal", (3, 4))])
def test_labels_of_another_shape_are_refused(loss, name, shape):
    with pytest.raises(ValueError, match=r"labels has shape .*; with these inputs it must be \[3, 5\]"):
        loss(name, LOGITS, np.zeros(shape, np.int64))


def test_everything_ignored_gives_zero_and_no_gradient(framework, loss):
    starts = np.array([-1, 4, 9])
    for function in (
        lambda logits: loss("token", logits, np.full((3, 5), -100)),
        lambda logits: loss("span", logits[:, 0], logits[:, 1], starts, starts),
    ):
        value, gradient = framework.gradient(function, LOGITS)
        assert value == 0
        assert not gradient.any()


def test_each_label_has_its_loss_without_reduction(loss):
    near(loss("token", LOGITS, LABELS, "none"), np.where(LABELS == -100, 0, entropies(LOGITS, LABELS)))


def test_one_label_a_row_is_regression(loss):
    logits, labels = LOGITS[:, 0, :1], np.array([0.5, -2.0, 3.0])
    for shape in ((3,), (3, 1)):
        near(loss("sequence", logits, labels.reshape(shape), None), ((logits[:, 0] - labels) ** 2).mean())


def test_regression_over_several_targets_is_the_mean_of_squares(loss):
    targets = np.random.default_rng(1).standard_normal((3, 4))
    near(loss("sequence", LOGITS[:, 0], targets, "regression"), ((LOGITS[:, 0] - targets) ** 2).mean())


def test_whole_numbers_are_classes(loss):
    labels = np.array([3, -100, 0])
    want = entropies(LOGITS[:, 0], labels)[labels >= 0].mean()
    for shape in ((3,), (3, 1)):
        near(loss("sequence", LOGITS[:, 0], labels.reshape(shape), None), want)


@pytest.mark.parametrize("kind", [np.int64, np.float32])
def test_many_labels_may_be_numbers_of_either_kind(loss, kind):
    labels = np.array([[1, 0, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1]])
    chance = 1 / (1 + np.exp(-LOGITS[:, 0]))
    want = -np.where(labels == 1, np.log(chance), np.log(1 - chance)).mean()
    near(loss("sequence", LOGITS[:, 0], labels.astype(kind), None), want, 1e-9)
    assert loss("sequence", LOGITS[:, 0], labels.astype(kind), "multi_label_classification", "none").shape == (3,)


@pytest.mark.parametrize("shape", [(3,), (3, 3), (2, 4)])
def test_targets_of_another_shape_are_refused(loss, shape):
    with pytest.raises(ValueError, match=r"labels has shape .*; with these inputs it must be \[3, 4\]"):
        loss("sequence", LOGITS[:, 0], np.zeros(shape, np.float32), "regression")


def test_spans_outside_the_sequence_are_ignored(loss):
    start, end = LOGITS[:, :, 0], LOGITS[:, :, 1]
    starts, ends = np.array([4, 5, -1]), np.array([0, 2, -100])
    want = (entropies(start, starts.clip(0, 4))[:1].mean() + entropies(end, ends.clip(0))[:2].mean()) / 2
    near(loss("span", start, end, starts, ends), want)
    near(loss("span", start, end, starts[:, None], ends[:, None]), want)


def test_a_label_outside_its_classes_is_refused(loss):
    with pytest.raises(ValueError, match="labels contains 4; with 4 classes"):
        loss("token", LOGITS, np.full((3, 5), 4))
    with pytest.raises(ValueError, match="labels contains -1"):
        loss("token", LOGITS, np.full((3, 5), -1))


def test_half_precision_logits_are_raised(framework, loss):
    logits = framework.cast(framework.backend.tensor(LOGITS), "bfloat16")
    assert framework.dtype(loss("token", logits, np.zeros((3, 5), np.int64))) == "float32"
