"""A script of the shape of the published Flax examples: a training step under pmap."""

import jax
import optax
from flax.training import train_state
from transformers import FLAX_MODEL_FOR_MASKED_LM_MAPPING, AutoTokenizer, FlaxAutoModelForMaskedLM
from transformers.models.roberta.modeling_flax_roberta import FlaxRobertaPreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

TYPES = tuple(FLAX_MODEL_FOR_MASKED_LM_MAPPING)
NAME = "./norwegian-roberta-base"


def collate(tokenizer: PreTrainedTokenizerBase, texts):
    return tokenizer(texts, padding=True, return_tensors="np")


tokenizer = AutoTokenizer.from_pretrained(NAME)
model: FlaxRobertaPreTrainedModel = FlaxAutoModelForMaskedLM.from_pretrained(NAME, seed=0)
state = train_state.TrainState.create(apply_fn=model.__call__, params=model.params, tx=optax.adamw(1e-4))


def train_step(state, batch, dropout_rng):
    def loss_fn(params):
        return state.apply_fn(**batch, params=params, dropout_rng=dropout_rng, train=True)[0].mean()

    loss, grads = jax.value_and_grad(loss_fn)(state.params)
    return state.apply_gradients(grads=grads), loss


print(jax.tree_map(lambda value: value.shape, state.params))
print(model.module, jax.tree_leaves(model.params)[0].shape)
