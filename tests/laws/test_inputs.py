"""Inputs of any integer type, arrays and lists give the same result or the same error in every framework."""

import os
import threading

import numpy as np
import pytest

pytestmark = pytest.mark.usefixtures("eager")


@pytest.mark.parametrize("kind", ["int8", "int16", "int32", "uint8", "uint16", "uint32", "uint64"])
def test_ids_of_any_integer_type_are_read(framework, make, config, ids, close, kind):
    model = make("ForMaskedLM", config)
    close(framework.numpy(model(ids.astype(kind)).logits), framework.numpy(model(ids).logits))


def test_lists_and_wide_embeddings_are_read(framework, make, config, ids, close):
    model = make("ForMaskedLM", config)
    close(framework.numpy(model(ids.tolist()).logits), framework.numpy(model(ids).logits))
    embeds = np.random.default_rng(0).normal(size=(*ids.shape, 12))
    close(
        framework.numpy(model(inputs_embeds=embeds).logits),
        framework.numpy(model(inputs_embeds=embeds.astype("f4")).logits),
    )


def test_a_row_without_a_batch_is_refused(framework, make, config, ids):
    with pytest.raises(ValueError, match=r"input_ids has shape \[7\]"):
        make("ForMaskedLM", config)(input_ids=ids[0].tolist())


def test_an_id_above_the_range_of_int64_is_refused(framework, make, config):
    with pytest.raises(ValueError, match="input_ids"):
        make("ForMaskedLM", config)(np.array([[0, 2**63, 2]], np.uint64))


@pytest.mark.parametrize("architecture", ["ForMaskedLM", "ForTokenClassification"])
def test_fractional_class_labels_are_refused(framework, make, config, ids, architecture):
    with pytest.raises(ValueError, match="labels has dtype float32; class labels must be integers"):
        framework.call(make(architecture, config), ids, labels=np.full(ids.shape, 1.5, "f4"))


def test_fractional_positions_of_an_answer_are_refused(framework, make, config, ids):
    config.num_labels = 2
    given = {"start_positions": np.ones(len(ids), np.int64), "end_positions": np.full(len(ids), 1.5, "f4")}
    with pytest.raises(ValueError, match="end_positions has dtype float32; positions must be integers"):
        framework.call(make("ForQuestionAnswering", config), ids, **given)


def test_a_text_in_place_of_ids_is_refused(framework, make, config):
    with pytest.raises(ValueError, match=r"input_ids .*(ids must be integers|must be an array)"):
        make("Model", config)("text")


def test_a_forked_process_is_refused_where_it_would_hang(framework, make, config, ids):
    if framework.name == "pt":
        pytest.skip("PyTorch computes in forked processes")
    model = make("Model", config)
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        threading.Timer(20, os._exit, [1]).start()  # the call would hang
        try:
            model(ids)
        except RuntimeError as error:
            os.write(writing, str(error).encode())
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    assert b"was in use when this process was forked" in os.read(reading, 1000)
