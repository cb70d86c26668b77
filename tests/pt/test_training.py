"""Training steps in PyTorch, and killed runs."""

import os
import subprocess
import sys
from signal import SIGXCPU

import pytest
import torch

from roberta_pt.backend import BACKEND
from roberta_pt.layers import Dropout


@pytest.fixture(scope="module")
def make(steps):
    """Return `make(plan, ...)`, which builds a trainer."""

    def made(*arguments, **settings):
        return steps.build_trainer(BACKEND, *arguments, **settings)

    return made


def test_the_masked_positions_are_multiplied_in_few_sizes(make, steps):
    ours, sizes = make(), []
    batches = [steps.build_batch(number, rows) for number, rows in ((0, 4), (1, 7), (2, 3), (3, 14))]
    counts = [int((batch["masked_labels"] != -100).sum()) for batch in batches]
    assert len(set(counts)) == 4
    ours.model.lm_head.register_forward_hook(lambda module, given, out: sizes.append(len(out)))
    for batch in batches:
        ours.step([batch], 0.0)
    assert sizes == [-(-count // 32) * 32 for count in counts]
    assert len(set(sizes)) == 2


@pytest.mark.parametrize("rate", [0.1, 0.75])
def test_the_quick_dropout_of_a_trainer_is_dropout(make, rate):
    drops = [module for module in make().model.modules() if isinstance(module, Dropout)]
    assert len(drops) > 3
    assert all(drop.quick for drop in drops)
    drop = drops[0].train()
    drop.p = rate
    x = torch.full((301, 7, 101), 3.0, requires_grad=True)  # an odd number of elements
    torch.manual_seed(1)
    out = drop(x)
    out.sum().backward()
    kept = out != 0
    assert kept.double().mean() == pytest.approx(1 - rate, abs=5 * (rate * (1 - rate) / x.numel()) ** 0.5)
    for dim in range(3):  # masks of elements are independent: they differ along every axis
        first, second = kept.transpose(0, dim)[:2]
        assert (first == second).double().mean() == pytest.approx(rate**2 + (1 - rate) ** 2, abs=0.07)
    torch.testing.assert_close(out[kept], torch.full_like(out[kept], 3 / (1 - rate)))
    torch.testing.assert_close(x.grad, kept / (1 - rate))
    torch.manual_seed(1)
    assert torch.equal(drop(x), out)
    assert torch.equal(drop.eval()(x), x)


MEMORY = """
import resource, torch
from roberta_pt.training import _keep_freed_memory
_keep_freed_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [torch.ones(4_000_000) for _ in range(9)]
    del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults(), faults()
print(min(faults() for _ in range(3)))  # in which one the last block finds its place differs
"""


@pytest.mark.skipif(sys.platform != "linux", reason="another C library")
def test_memory_that_a_step_freed_is_not_asked_for_again():
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC"))}

    def faults(**more):
        command = [sys.executable, "-c", MEMORY]
        return int(subprocess.run(command, capture_output=True, check=True, env=environment | more).stdout)

    assert faults() < 100
    assert faults(MALLOC_TOP_PAD_="0") > 1000  # the environment variable has priority: glibc returns freed memory


@pytest.mark.parametrize(
    ("limits", "said"), [({"limit": 1}, f"exited with {-SIGXCPU} before"), ({"looks": 20}, "no checkpoint of step 9")]
)
def test_the_wait_for_a_run_has_an_end(steps, tmp_path, limits, said):
    command = steps.build_command(steps.write_texts(tmp_path, dropout=0.1, steps=90), tmp_path / "run", BACKEND.name)
    with pytest.raises(AssertionError, match=said):
        steps.run_and_kill(command, tmp_path / "run", 9, **limits)


def test_a_hook_gets_padding_too(make, steps):
    ours, shapes = make(None, "ForTokenClassification"), []
    batch, layer = steps.build_task_batch("ForTokenClassification"), ours.model.roberta.encoder.layer[0]
    expected = float(ours.step([batch], 0.0)["loss"])
    hook = layer.register_forward_hook(lambda module, given, output: shapes.append(tuple(output[0].shape)))
    assert float(ours.step([batch], 0.0)["loss"]) == pytest.approx(expected, rel=1e-6)
    assert [shape[:-1] for shape in shapes] == [batch["input_ids"].shape]
    hook.remove()
