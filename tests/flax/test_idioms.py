"""Idioms of JAX: several devices, half precision, saving with Orbax, training a part of the parameters."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint
import pytest
from flax import traverse_util

import roberta_flax
from roberta_flax import FlaxRobertaForCausalLM, FlaxRobertaForMaskedLM, FlaxRobertaForSequenceClassification

DEVICES = """
import os
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
import jax, numpy as np
from functools import partial
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
from roberta_core import RobertaConfig
from roberta_flax import FlaxRobertaForSequenceClassification

config = RobertaConfig(
    vocab_size=101, hidden_size=12, num_hidden_layers=1, num_attention_heads=3, intermediate_size=20,
    max_position_embeddings=19, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
)
model = FlaxRobertaForSequenceClassification(config)
ids = np.random.default_rng(0).integers(2, 101, (4, 7))
labels = np.array([1, 0, 0, 1])
params, mesh = model.params, Mesh(jax.devices(), "rows")
assert len(jax.devices()) == 2

def loss(params, ids, labels):
    return model(ids, labels=labels, params=params).loss

@partial(jax.shard_map, mesh=mesh, in_specs=(P(), P("rows"), P("rows")), out_specs=P(), check_vma=False)
def step(params, ids, labels):
    return jax.lax.pmean(jax.value_and_grad(loss)(params, ids, labels), "rows")

want = jax.value_and_grad(loss)(params, ids, labels)
rows = NamedSharding(mesh, P("rows"))
placed = jax.device_put(params, NamedSharding(mesh, P())), jax.device_put(ids, rows), jax.device_put(labels, rows)
for got in (jax.jit(step)(params, ids, labels), jax.jit(jax.value_and_grad(loss))(*placed)):
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
assert model(placed[1], params=placed[0]).logits.shape == (4, 2)
print("the same")
"""


def test_two_devices_have_the_loss_and_gradients_of_one():
    done = subprocess.run([sys.executable, "-c", DEVICES], capture_output=True, text=True, check=False)
    assert done.stdout == "the same\n", done.stderr


def test_orbax_saves_and_restores_parameters(make, config, ids, tmp_path):
    model = make(FlaxRobertaForMaskedLM, config)
    with orbax.checkpoint.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "saved", model.params)
        checkpointer.wait_until_finished()
        restored = checkpointer.restore(tmp_path / "saved", jax.tree.map(np.zeros_like, model.params))
    assert jax.tree.structure(restored) == jax.tree.structure(model.params)
    assert jax.tree.all(jax.tree.map(np.array_equal, restored, model.params))
    other = FlaxRobertaForMaskedLM(config, seed=5)
    other.params = restored
    np.testing.assert_array_equal(other(ids).logits, model(ids).logits)


def test_a_model_computes_in_bfloat16_with_parameters_of_either_type(make, config, ids, lenient):
    exact = make(FlaxRobertaForSequenceClassification, config)
    half = make(FlaxRobertaForSequenceClassification, config, dtype=jnp.bfloat16)
    for params in (exact.params, exact.to_bf16(exact.params)):
        logits = half(ids, params=params).logits
        assert logits.dtype == jnp.bfloat16
        np.testing.assert_allclose(logits.astype(jnp.float32), exact(ids).logits, rtol=0.05, atol=0.1)


def test_a_frozen_part_stays_as_it_is(make, config, ids, lenient):
    model = make(FlaxRobertaForSequenceClassification, config)
    params = model.params
    parts = traverse_util.path_aware_map(lambda path, _: "frozen" if path[0] == "roberta" else "trained", params)
    optimizer = optax.multi_transform({"trained": optax.adam(0.1), "frozen": optax.set_to_zero()}, parts)
    gradients = jax.grad(lambda params: model(ids, labels=np.array([1, 0]), params=params).loss)(params)
    updates, _ = optimizer.update(gradients, optimizer.init(params), params)
    changed = jax.tree.map(lambda value, update: bool(jnp.any(value != value + update)), params, updates)
    assert not any(jax.tree.leaves(changed["roberta"]))
    assert all(jax.tree.leaves(changed["classifier"]))


def test_decoding_with_a_fixed_cache_is_one_jitted_function(make, config, ids):
    config.is_decoder = True
    model = make(FlaxRobertaForCausalLM, config)
    traces = []

    @jax.jit
    def step(params, token, cache):
        traces.append(1)
        output = model(token, params=params, past_key_values=cache, use_cache=True)
        return output.logits[:, -1], output.past_key_values

    cache = model.init_cache(batch_size=1, max_length=9)
    for token in ids[0]:
        logits, cache = step(model.params, jnp.full((1, 1), int(token)), cache)
    np.testing.assert_allclose(logits, model(ids[:1]).logits[:, -1], rtol=1e-5, atol=1e-5)
    assert len(traces) == 1


@pytest.mark.parametrize("name", ["Model", "ForMaskedLM", "ForMultipleChoice", "ForQuestionAnswering"])
def test_the_linen_module_of_a_class_computes_what_the_class_computes(make, config, ids, name):
    config.pruned_heads = {1: [0]}
    model = make(getattr(roberta_flax, f"FlaxRoberta{name}"), config)
    assert type(model.module) is getattr(roberta_flax, f"FlaxRoberta{name}Module".replace("ModelModule", "Module"))
    ids = ids[None] if name == "ForMultipleChoice" else ids
    inputs = {"attention_mask": (ids != 1).astype(int)}
    want, got = model(ids, **inputs), model.module.apply({"params": model.params}, ids, **inputs)
    assert [*got] == [*want]
    for field in want:
        assert np.abs(got[field] - want[field]).max() / np.abs(want[field]).max() < 2e-6


class CausalLinen(roberta_flax.FlaxRobertaPreTrainedModel):
    module_class = roberta_flax.FlaxRobertaForCausalLMModule


def test_the_cache_of_a_linen_module_gives_what_one_call_gives(config, ids):
    config.is_decoder = True
    model, mask = CausalLinen(config), np.ones((2, 9), int)
    places = np.asarray(roberta_flax.create_position_ids_from_input_ids(jnp.asarray(ids), 1))
    cache, whole = model.init_cache(2, 9), model(ids, attention_mask=(ids != 1).astype(int)).logits
    for start, end in ((0, 4), (4, 7)):
        given = {"attention_mask": mask, "position_ids": places[:, start:end]}
        output = model(ids[:, start:end], past_key_values=cache, **given)
        cache = output.past_key_values
        np.testing.assert_allclose(output.logits[0], whole[0, start:end], rtol=1e-5, atol=1e-5)
    assert int(cache["roberta"]["encoder"]["layer"]["0"]["attention"]["self"]["cache_index"]) == 7
    assert np.isnan(model(ids[:, :3], past_key_values=cache, **{**given, "position_ids": places[:, :3]}).logits).all()
    with pytest.raises(ValueError, match="past_key_values requires position_ids: a Linen module does not count"):
        model(ids[:, :3], attention_mask=mask, past_key_values=cache)
    with pytest.raises(TypeError, match="CausalLinen does not accept labels: its module is a Linen one"):
        model(ids, labels=ids)
    config.is_decoder = False
    with pytest.raises(ValueError, match="has no cache: set is_decoder=True"):
        CausalLinen(config, _do_init=False).init_cache(2, 9)
