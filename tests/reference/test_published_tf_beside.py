"""The published methods of TensorFlow models, and Keras's, beside 4.57.6 (on Keras 2), on the same weights."""

import numpy as np
import pytest

transformers = pytest.importorskip("transformers", reason="runs transformers itself")
tf = pytest.importorskip("tensorflow")
if not transformers.__version__.startswith("4."):
    pytest.skip("written for 4.57.6", allow_module_level=True)

import keras  # noqa: E402

import roberta_tf  # noqa: E402
from roberta_core import RobertaConfig, checkpoints  # noqa: E402
from roberta_core.parameters import draw  # noqa: E402

HEADS = ("Model", "ForMaskedLM", "ForCausalLM", "ForSequenceClassification", "ForQuestionAnswering")
IDS = np.array([[0, 5, 6, 2], [0, 8, 9, 2], [0, 7, 5, 2], [0, 3, 4, 2]], np.int32)
LABELS = np.array([0, 1, 1, 0])
keras2 = pytest.importorskip("tf_keras")
DEFINED = {"optimizer": "sgd", "run_eagerly": True}


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """Return `make(architecture)`: our model and that of transformers, new ones with the same weights."""
    root = tmp_path_factory.mktemp("models")
    config = RobertaConfig(
        vocab_size=101, hidden_size=12, num_hidden_layers=1, num_attention_heads=3, intermediate_size=20,
        max_position_embeddings=19, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip

    def make(architecture):
        folder = root / architecture
        if not folder.exists():
            checkpoints.save(folder, config, architecture, dict(draw(config, architecture)), format="bin")
        ours = getattr(roberta_tf, f"TFRoberta{architecture}").from_pretrained(folder)
        theirs = getattr(transformers, f"TFRoberta{architecture}").from_pretrained(folder, from_pt=True)
        return ours, theirs

    return make


def same(call, pair):
    ours, theirs = (call(model) for model in pair)
    assert ours == theirs


def describe(model):
    bias = model.get_bias()
    specs = {name: (one.shape.as_list(), one.dtype.name) for name, one in model.input_signature.items()}
    return (
        model.framework, model.main_input_name, model.base_model_prefix, type(model).can_generate(),
        model.config_class.model_type, None if bias is None else [(name, one.shape) for name, one in bias.items()],
        model.get_lm_head() is None, model.get_output_layer_with_bias() is None, specs,
        model.get_label_to_output_name_mapping(), model.dummy_inputs["input_ids"].dtype,
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("architecture", HEADS)
def test_the_classes_describe_themselves_alike(make, architecture):
    pair = make(architecture)
    same(describe, pair)
    if architecture != "Model":
        same(lambda model: (model.get_prefix_bias_name() or "").rpartition("/")[2], pair)
    for model in pair:
        assert model.build_in_name_scope() is None
        assert model.build(input_shape=None) is None
        served = model.serving_output(output=model(IDS))
        name = next(name for name in ("logits", "start_logits", "last_hidden_state") if name in served)
        inputs = {"input_ids": tf.constant(IDS)}
        np.testing.assert_allclose(model.serving(inputs)[name], served[name], atol=1e-5)


def test_the_head_and_the_embeddings_are_replaced(make):
    mask = tf.constant([1.0, 0.0, 1.0])
    pair = make("ForMaskedLM")
    for heads in (None, mask, tf.eye(1, 3)):
        shapes = [np.shape(model.get_head_mask(head_mask=heads, num_hidden_layers=1)) for model in pair]
        assert shapes[0] == shapes[1]
    for model in pair:
        model.set_bias(value={"bias": tf.fill([101], 3.0)})
        assert model.get_bias()["bias"][0] == 3
    for model in make("ForTokenClassification") if hasattr(transformers, "TFRobertaForTokenClassification") else ():
        model.set_input_embeddings(value=tf.Variable(tf.fill([101, 12], 2.0)))
        table = model.get_input_embeddings()
        weight = getattr(table, "embeddings", None)
        assert float((table.weight if weight is None or not hasattr(weight, "numpy") else weight)[5, 5]) == 2
    assert pair[0].resize_token_embeddings(new_num_tokens=110).embeddings.shape == (110, 12)
    pair[0].prune_heads(heads_to_prune={0: [1]})
    assert pair[0].roberta.encoder.layer[0].attention.self.heads == 2
    with pytest.raises(NotImplementedError):
        pair[1].prune_heads(heads_to_prune={0: [1]})


def test_output_embeddings_are_replaced():
    config = RobertaConfig(vocab_size=101, hidden_size=12, num_attention_heads=3, num_hidden_layers=1,
                           intermediate_size=20, tie_word_embeddings=False)  # fmt: skip
    model = roberta_tf.TFRobertaForMaskedLM(config=config)
    model.set_output_embeddings(value=np.full((12, 101), 2.0))
    assert float(model.get_output_embeddings().kernel[3, 5]) == 2


@pytest.mark.parametrize("architecture", ["ForMaskedLM", "ForSequenceClassification", "ForQuestionAnswering"])
def test_the_loss_is_the_mean_of_that_of_the_reference(make, architecture):
    places = tf.constant([1, 2, 3, 0])
    labels = {
        "ForMaskedLM": tf.constant(np.where(IDS == 2, -100, IDS)),
        "ForSequenceClassification": tf.constant(LABELS),
        "ForQuestionAnswering": {"start_position": places, "end_position": places},
    }[architecture]
    found = []
    for model in make(architecture):
        output = model(IDS)
        logits = (output.start_logits, output.end_logits) if "start_logits" in output else output.logits
        found.append(np.mean(model.hf_compute_loss(labels=labels, logits=logits)))
    assert found[0] == pytest.approx(found[1], rel=1e-5)


def batches(model, dataset, **settings):
    data = model.prepare_tf_dataset(dataset, **settings)
    return [tf.nest.map_structure(lambda value: value.numpy().tolist(), one) for one in data]


def test_rows_become_the_same_batches(make):
    datasets = pytest.importorskip("datasets")
    from roberta_core import RobertaTokenizerFast

    tokenizer = RobertaTokenizerFast.from_pretrained("roberta-tiny")
    theirs_tokenizer = transformers.RobertaTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer)
    rows = {"input_ids": [[0, 5, 2], [0, 6, 7, 2], [0, 2]], "label": [0, 1, 1], "text": ["a", "b", "c"]}
    dataset, ours = datasets.Dataset.from_dict(rows), make("ForSequenceClassification")
    equal = datasets.Dataset.from_dict({"input_ids": IDS.tolist(), "labels": LABELS.tolist()})

    def collate(features, add=0):
        return {"input_ids": np.stack([np.array(one["input_ids"]) + add for one in features])}

    for given, settings in (
        (dataset, {"batch_size": 2, "shuffle": False, "tokenizer": True}),
        (dataset, {"batch_size": 2, "shuffle": False, "tokenizer": True, "drop_remainder": True, "prefetch": False}),
        (equal, {"batch_size": 3, "shuffle": False}),
        (equal, {"batch_size": 4, "shuffle": False, "collate_fn": collate, "collate_fn_args": {"add": 1}}),
    ):
        found = []
        for model, pads in zip(ours, (tokenizer, theirs_tokenizer), strict=True):
            chosen = {**settings, "tokenizer": pads} if settings.get("tokenizer") else settings
            found.append(batches(model, given, **chosen))
        assert found[0] == found[1]
    sizes = [[len(one[1]) for one in batches(model, equal, batch_size=3)] for model in ours]
    assert sizes[0] == sizes[1] == [3]


class Recorder(keras.callbacks.Callback):
    """A callback that counts batches."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append("train")

    def on_test_batch_end(self, batch, logs=None):
        self.seen.append("test")

    def on_predict_batch_end(self, batch, logs=None):
        self.seen.append("predict")


class Recorder2(keras2.callbacks.Callback):
    on_train_batch_end = Recorder.on_train_batch_end
    on_test_batch_end = Recorder.on_test_batch_end
    on_predict_batch_end = Recorder.on_predict_batch_end

    def __init__(self):
        super().__init__()
        self.seen = []


LOSSES = (
    keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    keras2.losses.SparseCategoricalCrossentropy(from_logits=True),
)


def compiled(make, **settings):
    """Both classifiers, compiled with the same loss and a learning rate of 0.1."""
    pair = make("ForSequenceClassification")
    for model, loss, library in zip(pair, LOSSES, (keras, keras2), strict=True):
        model.compile(
            optimizer=library.optimizers.SGD(0.1), loss=loss, loss_weights=None, weighted_metrics=["accuracy"],
            run_eagerly=True, steps_per_execution=1, **settings,
        )  # fmt: skip
    return zip(pair, (Recorder, Recorder2), strict=True)


def test_fit_takes_the_same_arguments_and_steps(make):
    found = []
    for model, recorder in compiled(make):
        calls = recorder()
        history = model.fit(
            x={"input_ids": IDS}, y=LABELS, batch_size=2, epochs=3, verbose=0, callbacks=[calls], shuffle=False,
            validation_data=({"input_ids": IDS}, LABELS), validation_batch_size=2, validation_freq=2, initial_epoch=1,
            class_weight={0: 1.0, 1: 2.0}, steps_per_epoch=None, validation_steps=None,
        )  # fmt: skip
        split = model.fit(x={"input_ids": IDS}, y=LABELS, epochs=1, validation_split=0.5, shuffle=False, verbose=0)
        found.append([history.history["loss"], history.history["val_loss"], split.history["val_loss"]])
        assert calls.seen.count("train") == 4
    np.testing.assert_allclose(np.concatenate(found[0]), np.concatenate(found[1]), rtol=1e-4)


def test_evaluate_and_predict_take_the_same_arguments(make):
    found = []
    for model, recorder in compiled(make):
        calls = recorder()
        loss = model.evaluate(
            x={"input_ids": IDS}, y=LABELS, batch_size=2, sample_weight=np.array([1.0, 2.0, 1.0, 0.5]), steps=None,
            callbacks=[calls], verbose=0,
        )[0]  # fmt: skip
        logits = model.predict(x={"input_ids": IDS}, batch_size=2, steps=None, callbacks=[calls], verbose=0)
        single = model.predict_on_batch(x={"input_ids": IDS})
        found.append([loss, *np.ravel(logits["logits"]), *np.ravel(single["logits"])])
        assert (calls.seen.count("test"), calls.seen.count("predict")) == (2, 2)
    np.testing.assert_allclose(*found, rtol=1e-4, atol=1e-5)


def test_single_batches_are_trained_and_tested_alike(make):
    found = []
    for model, _ in compiled(make):
        tested = model.test_on_batch(
            x={"input_ids": IDS}, y=LABELS, sample_weight=np.array([1.0, 2.0, 1.0, 0.5]), return_dict=True
        )
        model.reset_metrics()  # Keras 3 does not reset them itself
        trained = model.train_on_batch(
            x={"input_ids": IDS}, y=LABELS, sample_weight=np.array([1.0, 2.0, 1.0, 0.5]), return_dict=True
        )
        weighted = model.train_on_batch(x={"input_ids": IDS}, y=LABELS, class_weight={0: 1.0, 1: 3.0})[0]
        found.append([tested["loss"], trained["loss"], weighted])
    np.testing.assert_allclose(found[0][:2], found[1][:2], rtol=1e-4)


def test_steps_are_computed_from_the_models_own_loss(make):
    found = []
    for model, library in zip(make("ForSequenceClassification"), (keras, keras2), strict=True):
        model.compile(optimizer=library.optimizers.SGD(0.1), run_eagerly=True)
        data = {"input_ids": tf.constant(IDS), "labels": tf.constant(LABELS)}
        first = float(np.mean(model.test_step(data=data)["loss"]))
        model.train_step(data=data)
        found.append([first, float(np.mean(model(IDS, labels=LABELS).loss))])
    np.testing.assert_allclose(*found, rtol=1e-4)


def test_the_compiled_loss_is_computed_of_the_logits(make):
    model, _ = next(iter(compiled(make)))
    output = model(IDS)
    found = model.compute_loss(x={"input_ids": IDS}, y=LABELS, y_pred=output)
    np.testing.assert_allclose(found, LOSSES[0](LABELS, output.logits), rtol=1e-6)


def test_a_model_is_saved_into_a_folder(make, tmp_path):
    for number, model in enumerate(make("ForMaskedLM")):
        model.save_pretrained(save_directory=tmp_path / str(number))
        assert (tmp_path / str(number) / "config.json").is_file()


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_the_optimiser_of_published_scripts_takes_the_same_steps(decay):
    names = ("dense/kernel", "dense/bias", "LayerNorm/gamma")
    draw_one = np.random.default_rng(0).standard_normal
    values, *gradients = draw_one((7, 3, 4)).astype(np.float32)
    settings = {"init_lr": 0.1, "num_train_steps": 6, "num_warmup_steps": 2, "weight_decay_rate": decay}
    found = []
    for package in (roberta_tf, transformers):
        optimizer, schedule = package.create_optimizer(**settings, adam_global_clipnorm=1.0)
        variables = []
        for name, value in zip(names, values, strict=True):
            scope, _, leaf = name.rpartition("/")
            with keras.name_scope(scope):
                made = keras.Variable(value, name=leaf) if package is roberta_tf else tf.Variable(value, name=name)
            variables.append(made)
        for step in gradients:
            optimizer.apply_gradients(zip(map(tf.constant, step), variables, strict=True))
        found.append([*(np.asarray(one) for one in variables), [float(schedule(step)) for step in range(8)]])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)
