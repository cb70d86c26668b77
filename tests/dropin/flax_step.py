"""A jitted training step with optax and a mask of what decays, as it is written for transformers 4.57.6."""

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import traverse_util
from flax.training.common_utils import onehot
from flax.training.train_state import TrainState
from transformers import FlaxRobertaForMaskedLM, RobertaTokenizerFast

folder = sys.argv[1]
texts = ["The cat sat on the mat.", "She opened the door and went in.", "It rained.", "He read a book by the sea."]
tokenizer = RobertaTokenizerFast.from_pretrained(folder)
model = FlaxRobertaForMaskedLM.from_pretrained(folder, dtype=jnp.float32)


def decay_mask(params):
    """Biases and the parameters of LayerNorm do not decay."""
    flat = traverse_util.flatten_dict(params)
    norms = {path[-2:] for path in flat if "norm" in path[-2].lower()}
    return traverse_util.unflatten_dict({path: path[-1] != "bias" and path[-2:] not in norms for path in flat})


schedule = optax.linear_schedule(init_value=3e-4, end_value=0.0, transition_steps=6)
adamw = optax.adamw(schedule, b1=0.9, b2=0.98, eps=1e-6, weight_decay=0.1, mask=decay_mask)
state = TrainState.create(apply_fn=model.__call__, params=model.params, tx=adamw)


@jax.jit
def train_step(state, batch, dropout_rng):
    """The new state and the loss over the masked tokens."""

    def loss_fn(params):
        labels = batch["labels"]
        inputs = {name: value for name, value in batch.items() if name != "labels"}
        logits = state.apply_fn(**inputs, params=params, dropout_rng=dropout_rng, train=True)[0]
        counted = jnp.where(labels > 0, 1.0, 0.0)
        losses = optax.softmax_cross_entropy(logits, onehot(labels, logits.shape[-1])) * counted
        return losses.sum() / counted.sum()

    loss, gradients = jax.value_and_grad(loss_fn)(state.params)
    return state.apply_gradients(grads=gradients), loss, optax.global_norm(gradients)


ids = tokenizer(texts, padding=True, return_tensors="np")
batch = dict(ids)
masked = np.zeros_like(batch["input_ids"], bool)
masked[:, 2:4] = batch["attention_mask"][:, 2:4] == 1
batch["labels"] = np.where(masked, batch["input_ids"], -100)
batch["input_ids"] = np.where(masked, tokenizer.mask_token_id, batch["input_ids"])

losses, norms = [], []
rng = jax.random.PRNGKey(0)
for _ in range(5):
    rng, dropout_rng = jax.random.split(rng)
    state, loss, norm = train_step(state, batch, dropout_rng)
    losses.append(float(loss))
    norms.append(float(norm))

flat = traverse_util.flatten_dict(state.params, sep="/")
query = flat["roberta/encoder/layer/0/attention/self/query/kernel"]
decays = traverse_util.flatten_dict(decay_mask(state.params), sep="/")
output = model(batch["input_ids"], batch["attention_mask"], params=state.params, output_attentions=True)
print(
    json.dumps(
        {
            "decaying parameters": sorted(name for name, yes in decays.items() if yes),
            "loss": losses,
            "gradient norm": norms,
            "logits": np.asarray(output.logits)[:, :4, :50].tolist(),
            "attentions": np.asarray(output.attentions[1])[:, 0].tolist(),
            "query of layer 0": np.asarray(query)[:20, :20].tolist(),
            "word embeddings": np.asarray(flat["roberta/embeddings/word_embeddings/embedding"])[:40].tolist(),
        }
    )
)
