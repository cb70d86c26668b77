"""The matrix product of a linear layer, by the faster of PyTorch's two libraries.

With float32 on an AMD CPU, the library that PyTorch prefers, MKL, reaches half of what oneDNN does, which is in PyTorch
too; on Intel's it is the better one. The CPU decides, never a measurement: two runs on one machine must choose alike,
or they would not agree to the last bit. `ROBERTA_LINEAR=onednn` or `ROBERTA_LINEAR=torch` decides otherwise, also
whether `frozen()` packs weights for oneDNN.
"""

import os
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn import functional as F

LIBRARIES = ("onednn", "torch")
VARIABLE = "ROBERTA_LINEAR"
# The instruction sets of AMD's CPUs with which oneDNN was measured to be the faster one.
FASTER = ("AVX512",)
VENDORS = {"AuthenticAMD": "AMD", "GenuineIntel": "Intel"}
# How many rows are few: oneDNN copies its right operand before it multiplies, and then the weight had better be the
# left one. With 16 rows that takes 22 ms instead of 31 for all linear layers of roberta-base; outside it gains nothing.
FEW = range(8, 65)


@cache
def select_library() -> str:
    """Which library multiplies, "onednn" or "torch"; `ValueError` if the environment names another one."""
    named = os.environ.get(VARIABLE)
    if named is not None and named not in LIBRARIES:
        raise ValueError(f"{VARIABLE} is {named!r}; expected one of {', '.join(LIBRARIES)}")
    if not _has_onednn():
        return "torch"
    faster = _read_vendor() == "AuthenticAMD" and torch.backends.cpu.get_cpu_capability() in FASTER
    return named or ("onednn" if faster else "torch")


@cache
def find_packing_obstacle() -> str | None:
    """Why weights are not packed for oneDNN on this CPU; None if they are.

    On AMD's CPUs packed weights were measured to be faster, with AVX-512 and with AVX2; others were not measured.
    """
    if not _has_onednn() or not hasattr(torch.ops.mkldnn, "_reorder_linear_weight"):
        return "this PyTorch has no oneDNN"
    select_library()  # refuses an unknown value of the variable
    named = os.environ.get(VARIABLE)
    if named == "torch":
        return f"{VARIABLE} is torch"
    if named is None and _read_vendor() != "AuthenticAMD":
        return f"not measured on CPUs of {describe_cpu()}; {VARIABLE}=onednn packs"
    return None


def describe_cpu() -> str:
    """The maker of the CPU and the instruction set that PyTorch uses, such as "AMD, AVX512"."""
    vendor = _read_vendor()
    return f"{VENDORS.get(vendor, vendor or 'an unknown maker')}, {torch.backends.cpu.get_cpu_capability()}"


def multiply(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`rows` [..., I] by `weight` [O, I], plus `bias` [O]: what `torch.nn.functional.linear` gives, [..., O]."""
    if _is_plain(rows, weight) and select_library() == "onednn":  # in this order: a compiler stumbles over the second
        recorded = torch.is_grad_enabled() and any(
            tensor is not None and tensor.requires_grad for tensor in (rows, weight, bias)
        )
        return (_Product.apply if recorded else _multiply_onednn)(rows, weight, bias)
    return F.linear(rows, weight, bias)


class _Product(torch.autograd.Function):
    """oneDNN's product, which PyTorch gives no gradient; each gradient is a product too."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(rows, weight)
        return _multiply_onednn(rows, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        (rows, weight), wanted = ctx.saved_tensors, ctx.needs_input_grad
        flat = gradient.flatten(end_dim=-2)
        return (
            multiply(gradient, weight.t()) if wanted[0] else None,
            multiply(flat.t(), rows.flatten(end_dim=-2).t()) if wanted[1] else None,
            flat.sum(0) if wanted[2] else None,
        )


def _multiply_onednn(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Compute oneDNN's product without a gradient."""
    multiply = torch.ops.mkldnn._linear_pointwise
    if rows.shape[:-1].numel() not in FEW or not weight.is_contiguous():
        return multiply(rows, weight, bias, "none", [], "")
    turned = multiply(weight, rows.flatten(end_dim=-2), None, "none", [], "").t()
    out = rows.new_empty((*rows.shape[:-1], weight.shape[0]))  # in its own order, not the turned one
    flat = out.view(turned.shape)
    return (flat.copy_(turned) if bias is None else torch.add(turned, bias, out=flat)).view(out.shape)


def _is_plain(rows: Tensor, weight: Tensor) -> bool:
    """Whether both are ordinary float32 tensors on the CPU that nothing but autograd watches."""
    return (
        type(rows) is Tensor
        and type(weight) in (Tensor, nn.Parameter)
        and rows.dtype == weight.dtype == torch.float32
        and rows.device.type == weight.device.type == "cpu"
        and is_eager()
        and rows.dim() > 1
        and rows.numel() > 0  # last: a trace would take note of it
    )


def is_eager() -> bool:
    """Whether operators run as they are written: not compiled, traced, transformed or autocast."""
    return (
        not torch.compiler.is_compiling()
        and not torch._C._is_tracing()
        and not torch.is_autocast_enabled("cpu")
        and not torch._C._are_functorch_transforms_active()
        and forward_ad._current_level < 0
    )


def _has_onednn() -> bool:
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def _read_vendor() -> str:
    """The maker of the CPU as the CPU spells it; empty where Linux does not say."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("vendor_id")), "")
