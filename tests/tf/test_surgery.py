import keras
import numpy as np

from roberta_tf import TFRobertaForMaskedLM


def test_a_frozen_part_stays_frozen(fresh, config):
    model = fresh(TFRobertaForMaskedLM, config)
    model.roberta.trainable = False
    model.resize_token_embeddings(103)
    assert not model.get_input_embeddings().embeddings.trainable
    assert model.lm_head.bias.trainable
    assert len(model.trainable_variables) == 5


def test_a_changed_model_is_compiled_and_fitted_anew(fresh, config, ids):
    model = fresh(TFRobertaForMaskedLM, config)
    data = {"input_ids": ids, "labels": ids}
    for size in (101, 104):
        model.resize_token_embeddings(size)
        model.compile("adam")
        before = model.lm_head.bias.numpy()
        model.fit(data, verbose=0)
        assert (model.lm_head.bias.numpy() != before).any()


def test_new_input_embeddings_may_have_more_rows(fresh, config, ids):
    model = fresh(TFRobertaForMaskedLM, config)
    table = keras.layers.Embedding(105, 12)
    table.build()
    model.set_input_embeddings(table)
    np.testing.assert_array_equal(model.get_output_embeddings().embeddings.numpy(), table.embeddings.numpy())
    assert model(ids).logits.shape[-1] == 105
