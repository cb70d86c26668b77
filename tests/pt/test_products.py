import os
import subprocess
import sys

import pytest
import torch
from torch.nn import functional as F

from roberta_pt import RobertaForMaskedLM, products
from roberta_pt.layers import Linear
from roberta_pt.products import multiply, select_library

pytestmark = pytest.mark.skipif(not products._has_onednn(), reason="this PyTorch is built without oneDNN")


@pytest.fixture
def onednn(monkeypatch):
    """Use oneDNN on any CPU and count the calls of its operator."""
    calls = []
    multiplied = products._multiply_onednn
    monkeypatch.setattr(products, "select_library", lambda: "onednn")
    monkeypatch.setattr(products, "_multiply_onednn", lambda *tensors: calls.append(1) or multiplied(*tensors))
    return calls


@pytest.fixture
def tensors():
    torch.manual_seed(3)
    return [torch.randn(shape, requires_grad=True) for shape in ((2, 5, 320), (272, 320), (272,))]


@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("shape", [(2, 5, 320), (7, 320), (1, 320), (2, 1, 3, 320), (8, 320), (64, 320), (5, 13, 320)])
def test_the_product_and_its_gradients_are_those_of_linear(onednn, tensors, shape, has_bias):
    _, weight, bias = tensors
    rows = torch.randn(shape, requires_grad=True)
    given = (rows, weight, bias) if has_bias else (rows, weight)
    got, want = multiply(*given), F.linear(*given)
    assert len(onednn) == 1
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-4)
    gradient = torch.randn_like(want)
    for one, other in zip(
        torch.autograd.grad(got, given, gradient), torch.autograd.grad(want, given, gradient), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-4)
    assert len(onednn) == 3


@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("count", [7, 8, 64, 65])
def test_the_product_is_the_same_where_nothing_is_recorded(onednn, tensors, count, has_bias, monkeypatch):
    monkeypatch.setattr(products._Product, "apply", None)
    _, weight, bias = tensors
    given = (torch.randn(1, count, 320), weight, *([bias] if has_bias else []))
    with torch.no_grad():
        got = multiply(*given)
    torch.testing.assert_close(got, F.linear(*given), rtol=1e-5, atol=1e-4)
    assert got.is_contiguous()
    assert len(onednn) == 1


def test_the_weight_is_the_left_operand_of_few_rows_only(tensors, monkeypatch):
    _, weight, bias = (tensor.detach() for tensor in tensors)
    left, multiply = [], torch.ops.mkldnn._linear_pointwise

    def seen(rows, *rest):
        left.append(rows is weight)
        return multiply(rows, *rest)

    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", seen)
    for count in (7, 8, 64, 65):
        products._multiply_onednn(torch.randn(count, 320), weight, bias)
    products._multiply_onednn(torch.randn(8, 272), weight.t(), None)
    assert left == [False, True, True, False, False]


def test_only_the_gradients_that_are_wanted_are_computed(onednn, tensors):
    rows, weight, bias = (tensors[0], *(tensor.detach() for tensor in tensors[1:]))
    multiply(rows, weight, bias).sum().backward()
    assert len(onednn) == 2
    assert weight.grad is None


def test_a_gradient_has_a_gradient(onednn):
    torch.manual_seed(3)
    small = [torch.randn(shape, requires_grad=True) for shape in ((3, 5), (4, 5), (4,))]
    found = []
    for function in (multiply, F.linear):
        (first,) = torch.autograd.grad(function(*small).square().sum(), small[:1], create_graph=True)
        found.append(torch.autograd.grad(first.square().sum(), small))
    assert len(onednn) == 7
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-4)


def test_turned_and_sliced_inputs_are_multiplied(onednn, tensors):
    _, weight, bias = tensors
    for rows in (torch.randn(320, 9).t(), torch.randn(4, 6, 640)[:, ::2, ::2], torch.randn(320).expand(3, 320)):
        torch.testing.assert_close(multiply(rows, weight, bias), F.linear(rows, weight, bias), rtol=1e-5, atol=1e-4)
    assert len(onednn) == 3


OTHERS = {
    "one row without a batch": lambda rows, *rest: (rows[0, 0], *rest),
    "no rows": lambda rows, *rest: (rows[:, :0], *rest),
    "float64": lambda *given: tuple(tensor.double() for tensor in given),
    "bfloat16": lambda *given: tuple(tensor.bfloat16() for tensor in given),
    "meta": lambda *given: tuple(tensor.to("meta") for tensor in given),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_what_onednn_is_not_meant_for_goes_the_usual_way(onednn, tensors, kind):
    given = OTHERS[kind](*tensors)
    got, want = multiply(*given), F.linear(*given)
    assert (got.shape, got.dtype, got.device) == (want.shape, want.dtype, want.device)
    assert not onednn


def test_autocast_keeps_its_dtype(onednn, tensors):
    with torch.autocast("cpu", torch.bfloat16):
        assert multiply(*tensors).dtype == torch.bfloat16
    assert not onednn


def test_transforms_see_an_ordinary_linear(onednn, tensors):
    rows, weight, bias = (tensor.detach() for tensor in tensors)
    want = F.linear(rows, weight, bias)
    torch.testing.assert_close(torch.vmap(multiply, (0, None, None))(rows, weight, bias), want, rtol=1e-5, atol=1e-4)
    _, tangent = torch.func.jvp(lambda rows: multiply(rows, weight, bias), (rows,), (rows,))
    torch.testing.assert_close(tangent, want - bias, rtol=1e-5, atol=1e-4)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(rows, rows)
        tangent = torch.autograd.forward_ad.unpack_dual(multiply(dual, weight, bias)).tangent
    torch.testing.assert_close(tangent, want - bias, rtol=1e-5, atol=1e-4)
    jacobian = torch.func.jacrev(lambda row: multiply(row, weight, bias))(rows[0, :1])
    torch.testing.assert_close(jacobian[0, :, 0], weight)
    assert not onednn


@pytest.mark.usefixtures("onednn")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # jit.trace is deprecated, but still used
def test_a_graph_that_is_exported_or_traced_has_no_private_operator():
    layer = Linear(320, 272)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    rows = torch.randn(2, 320)
    for graph in (torch.export.export(layer, (rows,)).graph, torch.jit.trace(layer, rows).inlined_graph):
        assert "linear" in str(graph)
        assert "mkldnn" not in str(graph)
        assert "_Product" not in str(graph)


def test_a_model_and_its_gradients_do_not_depend_on_the_library(make, config, ids, onednn, monkeypatch):
    model = make(RobertaForMaskedLM, config)
    found = []
    for name in products.LIBRARIES:
        monkeypatch.setattr(products, "select_library", lambda name=name: name)
        model.zero_grad()
        output = model(ids, labels=ids)
        output.loss.backward()
        found.append([output.logits, *(parameter.grad for parameter in model.parameters())])
    assert len(onednn) == 3 * 14
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["onednn", "torch", "mkl"])
def test_the_environment_decides_before_the_cpu(name):
    code = "from roberta_pt.products import select_library; print(select_library())"
    environment = {**os.environ, "ROBERTA_LINEAR": name}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    if name in products.LIBRARIES:
        assert ended.stdout.strip() == name
    else:
        assert "ROBERTA_LINEAR is 'mkl'; expected one of onednn, torch" in ended.stderr


@pytest.mark.parametrize(
    ("vendor", "instructions", "want"),
    [("AuthenticAMD", "AVX512", "onednn"), ("AuthenticAMD", "AVX2", "torch"), ("GenuineIntel", "AVX512", "torch")],
)
def test_the_cpu_decides(monkeypatch, vendor, instructions, want):
    monkeypatch.delenv("ROBERTA_LINEAR", raising=False)
    monkeypatch.setattr(products, "_read_vendor", lambda: vendor)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: instructions)
    assert select_library.__wrapped__() == want
