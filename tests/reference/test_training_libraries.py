"""Training libraries on our models: accelerate, DDP, torch.compile, Keras, optax and Orbax.

Run by the tox environments `reference` (4.57.6) and `peers` (5.23.0), on the same weights as models of transformers.
transformers 5 has no models of TensorFlow and Flax: there ours are compared with a loop written by hand.
"""

import copy
import os
import subprocess
import sys

import numpy as np
import pytest

transformers = pytest.importorskip("transformers", reason="runs transformers itself")
accelerate = pytest.importorskip("accelerate", reason="runs accelerate itself")
torch = pytest.importorskip("torch")

import roberta_pt  # noqa: E402
from roberta_core import checkpoints  # noqa: E402

OLD = int(transformers.__version__.partition(".")[0]) < 5
IDS = np.random.default_rng(0).integers(3, 101, (7, 6))
TARGETS = {
    "ForMaskedLM": {"labels": np.where(IDS % 2, IDS, -100)},
    "ForSequenceClassification": {"labels": np.arange(7) % 2},
}
ARCHITECTURES = sorted(TARGETS)


@pytest.fixture
def load(config, weights, tmp_path):
    """Return `load(package, architecture)`: a model with the weights of one checkpoint for all packages."""
    config.num_hidden_layers = 1
    config.hidden_dropout_prob = config.attention_probs_dropout_prob = 0.0

    def load(package, architecture, prefix="", **options):
        folder = tmp_path / "start" / architecture
        if not folder.exists():
            checkpoints.save(folder, config, architecture, weights(config, architecture), format="bin")
        options |= {"from_pt": True} if prefix and package is transformers else {}
        return getattr(package, f"{prefix}Roberta{architecture}").from_pretrained(folder, **options)

    return load


# PyTorch


@pytest.fixture
def accelerator():
    """Return a function that makes an accelerator; accelerate keeps the state of the first one in the process."""
    from accelerate.state import AcceleratorState, GradientState

    def make(**options):
        AcceleratorState._reset_state(True)
        GradientState._reset_state()
        return accelerate.Accelerator(cpu=True, **options)

    yield make
    AcceleratorState._reset_state(True)
    GradientState._reset_state()


def build_rows(architecture):
    inputs = {"input_ids": IDS, **TARGETS[architecture]}
    return [{name: torch.from_numpy(value)[row] for name, value in inputs.items()} for row in range(len(IDS))]


def build_training(model, architecture):
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    data = torch.utils.data.DataLoader(build_rows(architecture), batch_size=2)
    return model.train(), optimizer, data, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step))


def train_with_accelerate(accelerator, model, optimizer, data, schedule):
    """Train for an epoch; return the losses, and the gathered logits of all rows."""
    losses, rows = [], []
    for batch in data:
        with accelerator.accumulate(model):
            output = model(**batch)
            accelerator.backward(output.loss)
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
        gathered = accelerator.gather_for_metrics(output)
        assert type(gathered) is type(output)
        losses.append(gathered.loss.mean().item())
        rows.append(gathered.logits.detach())
    return losses, torch.cat(rows)


def train_by_hand(model, optimizer, data, schedule, accumulate):
    losses = []
    for number, batch in enumerate(data, 1):
        loss = model(**batch).loss
        (loss / accumulate).backward()
        losses.append(loss.item())
        if number % accumulate == 0 or number == len(data):
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
    return losses


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_accelerate_trains_as_a_loop_by_hand_and_as_transformers(load, accelerator, architecture):
    found = {}
    for package in (roberta_pt, transformers):
        tool, model = accelerator(gradient_accumulation_steps=2), load(package, architecture)
        losses, logits = train_with_accelerate(tool, *tool.prepare(*build_training(model, architecture)))
        found[package] = losses, logits, tool.get_state_dict(model)
    losses, logits, state = found[roberta_pt]
    assert losses == pytest.approx(found[transformers][0], rel=1e-5)
    torch.testing.assert_close(logits, found[transformers][1], rtol=1e-4, atol=1e-4)
    plain = load(roberta_pt, architecture)
    assert train_by_hand(*build_training(plain, architecture), accumulate=2) == losses
    assert all(torch.equal(value, state[name]) for name, value in plain.state_dict().items())
    for name, value in state.items():
        torch.testing.assert_close(value, found[transformers][2][name], rtol=1e-3, atol=2e-4, msg=name)


def test_accelerate_computes_in_bfloat16_and_returns_float32(load, accelerator):
    found = []
    for package in (roberta_pt, transformers):
        tool, model = accelerator(mixed_precision="bf16"), load(package, "ForMaskedLM")
        output = tool.prepare(model)(**torch.utils.data.default_collate(build_rows("ForMaskedLM")))
        tool.backward(output.loss)
        assert output.logits.dtype == output.loss.dtype == torch.float32
        assert torch.equal(output.logits, output.logits.bfloat16().float())
        assert {parameter.grad.dtype for parameter in model.parameters()} == {torch.float32}
        found.append(output.loss.item())
    assert found[0] == pytest.approx(found[1], rel=1e-2)


def test_a_state_of_accelerate_resumes_bit_for_bit_with_dropout(load, accelerator, tmp_path):
    def start():
        tool, model = accelerator(), load(roberta_pt, "ForMaskedLM", hidden_dropout_prob=0.2)
        return tool, *tool.prepare(*build_training(model, "ForMaskedLM"))

    torch.manual_seed(3)
    first = start()
    train_with_accelerate(*first)
    first[0].save_state(tmp_path / "state")
    want = train_with_accelerate(*first)[0]
    second = start()
    torch.manual_seed(4)
    assert train_with_accelerate(*second)[0] != want
    second[0].load_state(tmp_path / "state")
    assert train_with_accelerate(*second)[0] == want
    for one, other in zip(first[1].parameters(), second[1].parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("backend", ["no", "aot_eager"])
def test_models_saved_by_accelerate_load_here_and_in_transformers(load, accelerator, tmp_path, backend):
    tool, model = accelerator(dynamo_backend=backend), load(roberta_pt, "ForMaskedLM")
    prepared = tool.prepare(model)
    want = prepared(torch.from_numpy(IDS)).logits
    plain = tool.unwrap_model(prepared, keep_torch_compile=False)
    assert plain is model
    sizes = {"whole": "10GB", "shards": "4KB"}
    for name, size in sizes.items():
        tool.save_model(plain, tmp_path / name, max_shard_size=size)
        plain.config.save_pretrained(tmp_path / name)
        assert (tmp_path / name / "model.safetensors.index.json").exists() == (name == "shards")
        other = roberta_pt.RobertaForMaskedLM(plain.config, seed=5).eval()
        accelerate.load_checkpoint_in_model(other, str(tmp_path / name))
        assert torch.equal(other(torch.from_numpy(IDS)).logits, model(torch.from_numpy(IDS)).logits)
    written = {"is_main_process": tool.is_main_process, "save_function": tool.save}
    plain.save_pretrained(tmp_path / "saved", state_dict=tool.get_state_dict(plain), **written)
    for package in (roberta_pt, transformers):
        for folder in (*sizes, "saved"):
            other = package.RobertaForMaskedLM.from_pretrained(tmp_path / folder).eval()
            torch.testing.assert_close(other(torch.from_numpy(IDS)).logits, want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["cpu_offload", "disk_offload"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_offloaded_models_give_the_same_outputs(load, tmp_path, architecture, kind):
    model = load(roberta_pt, architecture).eval()
    # accelerate finds a tied tensor by each of its names, but the state dict of a model has it once.
    every = {name: value.detach() for name, value in model.named_parameters(remove_duplicate=False)}
    assert (every.keys() == model.state_dict().keys()) == (architecture != "ForMaskedLM")
    options = {"state_dict": every} if kind == "cpu_offload" else {"offload_dir": str(tmp_path / "weights")}
    if architecture == "ForSequenceClassification":
        options.pop("state_dict", None)
    elif kind == "disk_offload":
        accelerate.utils.offload_state_dict(tmp_path / "weights", every)
    with torch.no_grad():
        want = model(torch.from_numpy(IDS)).logits
        moved = getattr(accelerate, kind)(model, execution_device="cpu", **options)
        assert {value.device.type for value in moved.parameters()} == {"meta"}
        assert torch.equal(moved(torch.from_numpy(IDS)).logits, want)


def test_an_empty_model_is_filled_from_a_checkpoint(load, tmp_path):
    model = load(roberta_pt, "ForMaskedLM").eval()
    model.save_pretrained(tmp_path / "saved")
    with accelerate.init_empty_weights():
        empty = roberta_pt.RobertaForMaskedLM(model.config)
    assert {value.device.type for value in empty.parameters()} == {"meta"}
    empty.tie_weights()
    settings = {"device_map": "auto", "no_split_module_classes": list(empty._no_split_modules)}
    filled = accelerate.load_checkpoint_and_dispatch(empty, str(tmp_path / "saved"), **settings).eval()
    assert torch.equal(filled(torch.from_numpy(IDS)).logits, model(torch.from_numpy(IDS)).logits)


WORKER = """
import sys
import torch
import torch.distributed as distributed
from accelerate import Accelerator
from torch.nn.parallel import DistributedDataParallel
import roberta_pt

folder, output = sys.argv[1:]
accelerator = Accelerator(cpu=True)
rank, rows = accelerator.process_index, torch.load(f"{folder}/rows.pt")
assert (accelerator.num_processes, distributed.get_backend()) == (2, "gloo")

def load(architecture):
    return getattr(roberta_pt, f"Roberta{architecture}").from_pretrained(f"{folder}/{architecture}")

found = {}
for architecture, settings in (
    ("ForMaskedLM", {}), ("ForMaskedLM", {"find_unused_parameters": True}),
    ("ForSequenceClassification", {"static_graph": True}),
):
    model = load(architecture).train()
    if "static_graph" in settings:
        model.gradient_checkpointing_enable()
    parallel = DistributedDataParallel(model, **settings)
    result = parallel(**{name: value[:6][rank::2] for name, value in rows[architecture].items()})
    result.loss.backward()
    gradients = {name: value.grad for name, value in model.named_parameters()}
    found[architecture, *settings] = result.loss.item(), gradients
model, table = load("ForMaskedLM").eval(), rows["ForMaskedLM"]["input_ids"]
prepared, data = accelerator.prepare(model, torch.utils.data.DataLoader(table, batch_size=2))
with torch.no_grad():
    found["gathered"] = torch.cat([accelerator.gather_for_metrics(prepared(ids)).logits for ids in data])
state = accelerator.get_state_dict(prepared)
plain = accelerator.unwrap_model(prepared)
plain.save_pretrained(f"{output}/saved", is_main_process=accelerator.is_main_process, state_dict=state)
torch.save(found, f"{output}/{rank}.pt")
accelerator.end_training()
"""


def test_two_processes_have_the_gradients_of_one_and_of_transformers(load, tmp_path):
    """DDP and accelerate over gloo; the rows have equally many labels, so that the mean is that of all rows."""
    rows = {name: {"input_ids": torch.from_numpy(IDS)} for name in ARCHITECTURES}
    rows["ForMaskedLM"]["labels"] = torch.where(torch.arange(6) % 2 == 0, torch.from_numpy(IDS), -100)
    rows["ForSequenceClassification"]["labels"] = torch.arange(7) % 2
    models = {(package, name): load(package, name) for package in (roberta_pt, transformers) for name in ARCHITECTURES}
    torch.save(rows, tmp_path / "start" / "rows.pt")
    (tmp_path / "worker.py").write_text(WORKER)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += [str(tmp_path / "worker.py"), str(tmp_path / "start"), str(tmp_path)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr[:6000]
    found = [torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1)]
    gathered = [one.pop("gathered") for one in found]
    assert len(found[0]) == 3
    for key in found[0]:
        (loss, gradients), (other_loss, other_gradients) = (one[key] for one in found)
        assert all(torch.equal(value, other_gradients[name]) for name, value in gradients.items())
        for package in (roberta_pt, transformers):
            model = copy.deepcopy(models[package, key[0]]).train()
            whole = model(**{name: value[:6] for name, value in rows[key[0]].items()}).loss
            whole.backward()
            assert (loss + other_loss) / 2 == pytest.approx(whole.item(), rel=1e-5)
            for name, parameter in model.named_parameters():
                torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-3, atol=1e-5, msg=name)
    model = models[roberta_pt, "ForMaskedLM"].eval()
    for logits in gathered:  # all 7 rows, in order, without those that fill the last batch
        torch.testing.assert_close(logits, model(torch.from_numpy(IDS)).logits, rtol=1e-4, atol=1e-4)
    other = roberta_pt.RobertaForMaskedLM.from_pretrained(tmp_path / "saved")
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in model.state_dict().items())


def test_a_compiled_model_has_the_outputs_and_gradients_of_the_model(load):
    found = []
    batch = torch.utils.data.default_collate(build_rows("ForMaskedLM"))
    for package, compiled in ((roberta_pt, True), (roberta_pt, False), (transformers, False)):
        model = load(package, "ForMaskedLM").train()
        call = torch.compile(model, fullgraph=True, backend="aot_eager") if compiled else model
        output = call(**batch)
        output.loss.backward()
        found.append((output.loss, output.logits, *(value.grad for _, value in sorted(model.named_parameters()))))
    for got, want in ((found[0], found[1]), (found[0], found[2])):
        for one, other in zip(got, want, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4 * other.abs().max().item() + 1e-7)


# TensorFlow


def build_data(tf, architecture):
    labels = TARGETS[architecture]["labels"]
    return tf.data.Dataset.from_tensor_slices({"input_ids": IDS, "labels": labels}).batch(4)


def test_keras_fits_as_a_loop_by_hand_and_as_transformers(load):
    tf, keras = pytest.importorskip("tensorflow"), pytest.importorskip("keras")
    import roberta_tf

    data, found = build_data(tf, "ForSequenceClassification"), []
    model = load(roberta_tf, "ForSequenceClassification", "TF")
    model.compile(keras.optimizers.SGD(0.05), run_eagerly=True)
    found.append(([model.fit(data, verbose=0).history["loss"][0] for _ in range(2)], model(IDS).logits.numpy()))
    model, optimizer, losses = load(roberta_tf, "ForSequenceClassification", "TF"), keras.optimizers.SGD(0.05), []
    for _ in range(2):
        seen = []
        for batch in data:
            with tf.GradientTape() as tape:
                loss = model(batch, training=True).loss
            optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
            seen.append(float(loss) * len(batch["labels"]))
        losses.append(sum(seen) / len(IDS))
    found.append((losses, model(IDS).logits.numpy()))
    if OLD:
        keras2 = pytest.importorskip("tf_keras")
        model = load(transformers, "ForSequenceClassification", "TF")
        model.compile(keras2.optimizers.SGD(0.05), run_eagerly=True)
        history = [model.fit(data, verbose=0).history["loss"][0] for _ in range(2)]
        found.append((history, model(IDS).logits.numpy()))
    for losses, logits in found[1:]:
        assert found[0][0] == pytest.approx(losses, rel=1e-5)
        np.testing.assert_allclose(found[0][1], logits, rtol=1e-3, atol=1e-4)


def test_a_fitted_model_of_keras_is_the_same_after_export_and_save(load, tmp_path):
    tf, keras = pytest.importorskip("tensorflow"), pytest.importorskip("keras")
    import roberta_tf

    data, model = build_data(tf, "ForMaskedLM"), load(roberta_tf, "ForMaskedLM", "TF")
    model.compile(keras.optimizers.AdamW(1e-2), jit_compile=False)
    kept = keras.callbacks.ModelCheckpoint(tmp_path / "epoch-{epoch}.keras")
    start = model(IDS).logits.numpy()
    model.fit(data, verbose=0, callbacks=[kept])
    want = model(IDS).logits.numpy()
    assert np.abs(want - start).max() > 1e-2
    model.export(tmp_path / "exported", verbose=False)
    inputs = {"input_ids": tf.constant(IDS, tf.int32), "attention_mask": tf.ones(IDS.shape, tf.int32)}
    served = tf.saved_model.load(tmp_path / "exported").signatures["serving_default"]
    got = served(**inputs, token_type_ids=tf.zeros(IDS.shape, tf.int32))["logits"]
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)
    model.save(tmp_path / "whole.keras")
    model.save_weights(tmp_path / "saved.weights.h5")
    other = roberta_tf.TFRobertaForMaskedLM(model.config, seed=5)
    other.load_weights(tmp_path / "saved.weights.h5")
    model.save_pretrained(tmp_path / "published")
    read = roberta_tf.TFRobertaForMaskedLM.from_pretrained(tmp_path / "published")
    again, epoch = (keras.saving.load_model(tmp_path / name) for name in ("whole.keras", "epoch-1.keras"))
    for one in (again, epoch, other, read):
        np.testing.assert_array_equal(one(IDS).logits, want)
    losses = [one.fit(data, verbose=0).history["loss"][0] for one in (model, again)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    np.testing.assert_allclose(again(IDS).logits, model(IDS).logits, rtol=1e-4, atol=1e-5)  # with the state of AdamW
    reader = torch.no_grad()(transformers.RobertaForMaskedLM.from_pretrained(tmp_path / "published").eval())
    np.testing.assert_allclose(reader(torch.from_numpy(IDS)).logits, want, rtol=1e-3, atol=1e-3)


# Flax


def decays(params):
    """Return True for the parameters with weight decay: neither biases nor those of LayerNorm."""
    from flax import traverse_util

    flat = traverse_util.flatten_dict(params)
    return traverse_util.unflatten_dict({path: path[-1] in ("kernel", "embedding") for path in flat})


def build_step(jax, optax, model, optimizer):
    labels = TARGETS["ForMaskedLM"]["labels"]

    def compute_loss(params):
        logits = model(IDS, params=params, train=True, dropout_rng=jax.random.PRNGKey(0))[0]
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, np.maximum(labels, 0))
        return (losses * (labels >= 0)).sum() / (labels >= 0).sum()

    def step(params, state):
        loss, gradients = jax.value_and_grad(compute_loss)(params)
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state, loss, gradients

    return jax.jit(step)


@pytest.fixture
def flax():
    """Return JAX, optax, Orbax and our package; XLA compiles quickly."""
    found = [pytest.importorskip(name) for name in ("jax", "optax", "orbax.checkpoint", "roberta_flax")]
    config, name = found[0].config, "jax_disable_most_optimizations"
    before = config.read(name)
    config.update(name, True)
    yield found
    config.update(name, before)


def test_a_step_of_optax_is_that_by_hand_and_that_of_transformers(load, flax):
    jax, optax, _, roberta_flax = flax
    optimizer, found = optax.adamw(1e-2, weight_decay=0.1, mask=decays), []
    for package in (roberta_flax, transformers) if OLD else (roberta_flax,):
        model = load(package, "ForMaskedLM", "Flax")
        step = build_step(jax, optax, model, optimizer)
        found.append((model.params, *step(model.params, optimizer.init(model.params))))
    before, after, _, loss, gradients = found[0]
    # The first step of AdamW: the moments are the gradient and its square.
    want = jax.tree.map(
        lambda value, gradient, decay: value - 1e-2 * (gradient / (np.abs(gradient) + 1e-8) + 0.1 * decay * value),
        before, gradients, decays(before),
    )  # fmt: skip
    jax.tree.map(lambda got, value: np.testing.assert_allclose(got, value, rtol=1e-4, atol=1e-6), after, want)
    assert {True, False} == set(jax.tree.leaves(decays(before)))
    assert min(np.abs(leaf).max() for leaf in jax.tree.leaves(gradients)) > 0
    batch = torch.utils.data.default_collate(build_rows("ForMaskedLM"))
    assert float(loss) == pytest.approx(load(roberta_pt, "ForMaskedLM")(**batch).loss.item(), rel=1e-5)
    for _, theirs, _, reference, their_gradients in found[1:]:
        assert float(loss) == pytest.approx(float(reference), rel=1e-5)
        jax.tree.map(
            lambda one, two: np.testing.assert_allclose(one, two, rtol=1e-3, atol=1e-4), gradients, their_gradients
        )
        assert jax.tree.structure(after) == jax.tree.structure(theirs)


def test_orbax_restores_parameters_and_optimizer_bit_for_bit(load, flax, tmp_path):
    jax, optax, orbax, roberta_flax = flax
    model = load(roberta_flax, "ForMaskedLM", "Flax")
    optimizer = optax.adamw(1e-2, weight_decay=0.1, mask=decays)
    step = build_step(jax, optax, model, optimizer)
    state = {"params": model.params, "optimizer": optimizer.init(model.params)}
    state = dict(zip(("params", "optimizer"), step(state["params"], state["optimizer"]), strict=False))
    with orbax.CheckpointManager(tmp_path / "manager") as manager:
        manager.save(1, args=orbax.args.StandardSave(state))
        manager.wait_until_finished()
        empty = jax.tree.map(np.zeros_like, state)
        restored = manager.restore(manager.latest_step(), args=orbax.args.StandardRestore(empty))
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    assert jax.tree.all(jax.tree.map(np.array_equal, restored, state))
    resumed, went_on = (step(one["params"], one["optimizer"]) for one in (restored, state))
    assert jax.tree.all(jax.tree.map(np.array_equal, resumed, went_on))
    other = roberta_flax.FlaxRobertaForMaskedLM(model.config, seed=5)
    other.params = restored["params"]
    np.testing.assert_array_equal(other(IDS).logits, model(IDS, params=state["params"]).logits)
    assert not np.array_equal(other(IDS).logits, model(IDS).logits)


@pytest.mark.skipif(not OLD, reason="transformers 5 has no Flax models")
def test_trees_of_transformers_saved_with_orbax_and_msgpack_load_here(load, flax, tmp_path):
    jax, _, orbax, roberta_flax = flax
    from flax import serialization

    theirs, ours = (load(package, "ForMaskedLM", "Flax") for package in (transformers, roberta_flax))
    want = theirs(IDS).logits
    written = jax.tree.map(lambda value: value + 0.125, theirs.params)
    with orbax.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "tree", written)
        checkpointer.wait_until_finished()
        restored = checkpointer.restore(tmp_path / "tree", jax.tree.map(np.zeros_like, ours.params))
    theirs.save_pretrained(tmp_path / "published", params=written)
    read = roberta_flax.FlaxRobertaForMaskedLM.from_pretrained(tmp_path / "published").params
    plain = serialization.from_bytes(ours.params, serialization.to_bytes(written))
    for tree in (restored, read, plain):
        assert jax.tree.structure(tree) == jax.tree.structure(written)
        assert jax.tree.all(jax.tree.map(np.array_equal, tree, written))
    ours.params = restored
    np.testing.assert_allclose(ours(IDS).logits, theirs(IDS, params=written).logits, rtol=1e-3, atol=1e-3)
    assert np.abs(ours(IDS).logits - want).max() > 0.1
