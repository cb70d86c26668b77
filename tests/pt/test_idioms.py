"""Idioms of PyTorch: compiling, exporting, mixed precision, two processes, freezing parameters."""

import copy
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from torch import distributed, multiprocessing
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from roberta_pt import RobertaForCausalLM, RobertaForMaskedLM, RobertaForSequenceClassification, RobertaModel
from roberta_pt.backend import BACKEND

LABELS = torch.tensor([1, 0])


def gradients(model, loss):
    loss.backward()
    return {name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None}


def test_a_model_compiles_whole_with_its_loss_and_gradients(make, config, ids):
    model = make(RobertaForSequenceClassification, config)
    compiled = torch.compile(copy.deepcopy(model), fullgraph=True, backend="aot_eager")
    want, got = (gradients(one, one(ids, labels=LABELS).loss) for one in (model, compiled))
    for name, value in want.items():
        torch.testing.assert_close(got[f"_orig_mod.{name}"], value, rtol=1e-5, atol=1e-6)


def test_a_decoder_compiles_whole_with_its_cache(make, config, ids):
    config.is_decoder = True
    model = make(RobertaForCausalLM, config)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    past = compiled(ids[:1, :4]).past_key_values
    step = compiled(ids[:1, 4:5], past_key_values=past)
    torch.testing.assert_close(step.logits[:, -1], model(ids[:1, :5]).logits[:, -1], rtol=1e-5, atol=1e-5)


def test_an_exported_model_takes_other_sizes(make, config, ids):
    model = make(RobertaForMaskedLM, config)
    sizes = {"input_ids": {0: torch.export.Dim("batch"), 1: torch.export.Dim("length", max=17)}}
    exported = torch.export.export(model, (), {"input_ids": ids}, dynamic_shapes=sizes).module()
    for other in (ids, ids[:1, :5]):
        torch.testing.assert_close(exported(input_ids=other).logits, model(other).logits, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_computes_in_half_precision_and_keeps_float32_parameters(make, config, ids, dtype):
    model = make(RobertaForSequenceClassification, config)
    with torch.autocast("cpu", dtype):
        output = model(ids, labels=LABELS)
    assert (output.logits.dtype, output.loss.dtype) == (dtype, torch.float32)
    exact = model(ids, labels=LABELS)
    torch.testing.assert_close(output.logits.float(), exact.logits, rtol=0.05, atol=0.1)
    assert not torch.equal(output.logits.float(), exact.logits)
    assert {value.dtype for value in gradients(model, output.loss).values()} == {torch.float32}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_a_model_moves_to_another_type(make, config, ids, dtype):
    model = make(RobertaForMaskedLM, config).to(dtype)
    assert (model.dtype, model(ids).logits.dtype) == (dtype, dtype)
    assert torch.isfinite(model(ids, attention_mask=torch.eye(7)[:2]).logits).all()


def test_functional_calls_give_gradients_and_map_over_models(make, config, ids):
    model = make(RobertaForSequenceClassification, config, attn_implementation="eager")  # vmap has no fused kernel
    values = dict(model.named_parameters())

    def loss(values):
        return torch.func.functional_call(model, values, (ids,), {"labels": LABELS}).loss

    want, got = gradients(model, loss(values)), torch.func.grad(loss)(values)
    for name, value in want.items():
        torch.testing.assert_close(got[name], value, rtol=1e-5, atol=1e-6)
    many = {name: torch.stack([value, value * 0.5]) for name, value in values.items()}
    torch.testing.assert_close(torch.func.vmap(loss)(many)[0], loss(values))


@pytest.mark.parametrize("reentrant", [True, False])
def test_gradient_checkpointing_of_either_kind_changes_no_gradient(make, config, ids, reentrant):
    model = make(RobertaForSequenceClassification, config).train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    want = gradients(model, model(ids, labels=LABELS).loss)
    model.zero_grad()
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": reentrant})
    assert model.is_gradient_checkpointing
    calls = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("roberta_pt.encoder.checkpoint", lambda *a, **k: calls.append(k) or checkpoint(*a, **k))
        loss = model(ids, labels=LABELS).loss
    assert calls == [{"use_reentrant": reentrant}] * 2
    for name, value in gradients(model, loss).items():
        torch.testing.assert_close(value, want[name])


def test_a_frozen_part_gets_no_gradient_and_is_not_counted(make, config, ids):
    model = make(RobertaForSequenceClassification, config)
    model.roberta.requires_grad_(False)
    found = gradients(model, model(ids, labels=LABELS).loss)
    assert {name.split(".")[0] for name in found} == {"classifier"}
    assert model.num_parameters(only_trainable=True) == sum(value.numel() for value in found.values())


def test_untied_output_embeddings_can_be_replaced(make, config, ids):
    config.tie_word_embeddings = False
    model = make(RobertaForMaskedLM, config)
    table = torch.nn.Linear(12, 101)
    model.set_output_embeddings(table)
    assert model.get_output_embeddings() is table
    assert model.lm_head.bias is table.bias
    assert torch.equal(model(ids).logits, model.lm_head(model.roberta(ids).last_hidden_state))


def step(rank: int, model: RobertaModel, ids: torch.Tensor, address: str, results) -> None:
    """Compute the gradients of one row in one of two processes, which average them."""
    distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    parallel = DistributedDataParallel(model)
    parallel(ids[rank : rank + 1], labels=LABELS[rank : rank + 1]).loss.backward()
    if rank == 0:
        results.put({name: value.grad.numpy() for name, value in model.named_parameters()})
    distributed.barrier()
    distributed.destroy_process_group()


def test_two_processes_have_the_gradients_of_one(make, config, ids, tmp_path):
    model = make(RobertaForSequenceClassification, config)
    results = multiprocessing.get_context("fork").SimpleQueue()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # forking a process with threads: the children only compute gradients
        arguments = (copy.deepcopy(model), ids, f"file://{tmp_path}/meet", results)
        running = multiprocessing.start_processes(step, arguments, nprocs=2, join=False, start_method="fork")
    found = results.get()
    running.join()
    for name, value in gradients(model, model(ids, labels=LABELS).loss).items():
        torch.testing.assert_close(torch.from_numpy(found[name]), value, rtol=1e-5, atol=1e-6)


def test_a_run_uses_no_dropout_and_keeps_no_gradients(config, ids, weights):
    pt = BACKEND
    model = pt.from_tensors("ForMaskedLM", config, weights(config, "ForMaskedLM")).train()
    first, second = (pt.run(model, {"input_ids": ids.numpy()}).logits for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_tensors_of_a_tokenizer_import_no_training_code():
    code = (
        "import sys; from roberta_core import RobertaTokenizerFast as Tokenizer\n"
        "Tokenizer.from_pretrained('roberta-tiny')('a', return_tensors='pt')\n"
        "print([name for name in sys.modules if name.startswith(('roberta_core.training', 'roberta_core.tasks'))])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_quantize_dynamic_quantises_every_linear_layer(make, config, ids):
    model = make(RobertaForMaskedLM, config)
    made = torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8)
    kinds = [type(module).__module__ for module in made.modules() if type(module).__name__ == "Linear"]
    assert len(kinds) == 14
    assert set(kinds) == {"torch.ao.nn.quantized.dynamic.modules.linear"}
    assert 0 < (made(ids).logits - model(ids).logits).abs().max() < 2


def test_torchscript_in_the_configuration_returns_tuples_that_can_be_traced(make, config, ids):
    config.torchscript = True
    model = make(RobertaForMaskedLM, config)
    traced = torch.jit.trace(model, ids)
    assert isinstance(model(ids), tuple)
    torch.testing.assert_close(traced(ids)[0], model(ids, return_dict=True).logits)
