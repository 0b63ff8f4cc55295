"""Ways to make a graph of a call before it runs, or instead: compilers, exporters, tracers, fake and meta tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx

from support.device import DEVICE
from support.ways import (
    CALLS,
    Call,
    check,
    close,
    directions,
    expected,
    flat,
    inner_product,
    named,
    second_derivative,
    true_hessian,
    value_and_gradients,
    way,
)
from support.ways_derivatives import Network

# A compiler takes a second for each of them. tests/functional/test_transforms.py compiles more.
COMPILED = named(
    "finite, per hop, weighted",
    "finite, rectified, per hop, weighted",
    "finite, all pairs, per hop",
    "finite, inverse",
    "finite, tensor alpha",
    "infinite",
    "infinite, rectified",
    "infinite, all pairs, large",
    "resolvent_info",
)
FEW = named("finite, per hop, weighted", "infinite, tensor alpha", "resolvent")
FEWER = named("finite, per hop, weighted", "infinite")


# ----------------------------------------------------------------------------------------------------- torch.compile


@contextmanager
def fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    try:
        yield
    finally:
        torch._dynamo.reset()


def check_compiled(call: Call, **options: Any) -> None:
    with fresh_compiler():
        compiled = torch.compile(call.value, **{"backend": "aot_eager", **options})
        if call.differentiable:
            check(call, *value_and_gradients(compiled, call.leaves()))
        else:
            check(call, compiled(*call.leaves()))


@way("`torch.compile`", FEW)
def _(call: Call) -> None:
    check_compiled(call)


@way("`torch.compile(fullgraph=True)`", COMPILED)
def _(call: Call) -> None:
    check_compiled(call, fullgraph=True)


@way("`torch.compile(fullgraph=True, dynamic=True)`", FEW)
def _(call: Call) -> None:
    check_compiled(call, fullgraph=True, dynamic=True)


@way("`torch.compile`, default backend", named("finite, per hop, weighted"))
def _(call: Call) -> None:
    check_compiled(call, fullgraph=True, backend="inductor")


@way("`torch.compile` of a training step", FEWER)
def _(call: Call) -> None:
    """Backward and a step inside the compiled function, which breaks the graph there."""
    network = Network(call)
    before = [leaf.detach().clone() for leaf in network.leaves]

    def step() -> Tensor:
        value = network()
        value.backward()
        with torch.no_grad():
            for leaf in network.leaves:
                leaf.sub_(leaf.grad, alpha=0.5)
        return value.detach()

    with fresh_compiler():
        value = torch.compile(step, backend="aot_eager")()
    check(call, value, [leaf.grad for leaf in network.leaves])
    for leaf, start, gradient in zip(network.leaves, before, expected(call)[1], strict=True):
        close("stepped", leaf.detach(), start - 0.5 * gradient)


@way("`torch.compile` of `torch.func.grad`", FEWER)
def _(call: Call) -> None:
    places = tuple(range(len(call.leaves())))
    with fresh_compiler():
        compiled = torch.compile(
            torch.func.grad_and_value(call.value, argnums=places), fullgraph=True, backend="aot_eager"
        )
        gradients, value = compiled(*call.leaves())
    check(call, value, gradients)


@way("`torch.compile` of `torch.func.jvp`", FEWER)
def _(call: Call) -> None:
    leaves, right = tuple(call.leaves()), expected(call)[1]
    tangents = tuple(directions(leaves))
    with fresh_compiler():
        compiled = torch.compile(partial(torch.func.jvp, call.value), fullgraph=True, backend="aot_eager")
        value, slope, *_ = compiled(leaves, tangents)
    check(call, value)
    close("slope", slope, inner_product(right, tangents))


@way("`torch.compile` of `torch.func.vmap`", FEWER)
def _(call: Call) -> None:
    leaves = [torch.stack([leaf, 0.875 * leaf]) for leaf in call.leaves()]
    right = torch.stack([call.true_value(*each) for each in zip(*leaves, strict=True)])
    with fresh_compiler():
        compiled = torch.compile(torch.vmap(call.value), fullgraph=True, backend="aot_eager")
        close("values", compiled(*leaves), right)


@way("`torch.compile` of `torch.func.vmap` of `grad`", FEWER)
def _(call: Call) -> None:
    leaves = [torch.stack([leaf, 0.875 * leaf]) for leaf in call.leaves()]
    right = [value_and_gradients(call.true_value, each)[1][0] for each in zip(*leaves, strict=True)]
    with fresh_compiler():
        compiled = torch.compile(torch.vmap(torch.func.grad(call.value)), fullgraph=True, backend="aot_eager")
        close("gradients", compiled(*leaves), torch.stack(right))


@way("`torch.compile` of second derivatives", FEWER)
def _(call: Call) -> None:
    """A row of the Hessian, in reverse mode twice; and the Hessian times a direction, forward over reverse."""
    function, vector = flat(call, call.value)
    (direction,) = directions([vector])
    gradient = torch.func.grad(function)
    products = (
        torch.func.grad(lambda x: (gradient(x) * direction).sum()),
        lambda x: torch.func.jvp(gradient, (x,), (direction,))[1],
    )
    for product in products:
        with fresh_compiler():
            compiled = torch.compile(product, fullgraph=True, backend="aot_eager")
            close("Hessian times direction", compiled(vector), true_hessian(call) @ direction)


@way("`torch.compile`, then dual numbers", FEWER)
def _(call: Call) -> None:
    """In the compiled function, and into it; into one whose weights require gradients it is PyTorch's own error."""
    leaves, right = call.leaves(), expected(call)[1]
    tangents = directions(leaves)

    def slope(function: Callable[..., Tensor], leaves: list[Tensor], tangents: list[Tensor]) -> Tensor | None:
        with forward_ad.dual_level():
            dual = [forward_ad.make_dual(leaf, tangent) for leaf, tangent in zip(leaves, tangents, strict=True)]
            return forward_ad.unpack_dual(function(*dual)).tangent

    with fresh_compiler():
        inside = torch.compile(partial(slope, call.value), backend="aot_eager")(leaves, tangents)
        outside = slope(torch.compile(call.value, backend="aot_eager"), leaves, tangents)
        learning = [leaf.clone().requires_grad_() for leaf in leaves]
        with pytest.raises(NotImplementedError, match="forward mode AD"):
            slope(torch.compile(call.value, backend="aot_eager"), learning, tangents)
    for what, actual in (("inside", inside), ("outside", outside)):
        assert actual is not None, f"no tangent: {what}"
        close(f"slope, {what}", actual, inner_product(right, tangents))


@way("`torch.compile`, then double backward", FEWER, error=RuntimeError)
def _(call: Call) -> None:
    with fresh_compiler(), pytest.raises(RuntimeError):
        second_derivative(torch.compile(call.value, backend="aot_eager"), call.leaves())


@way("compiled autograd", FEWER)
def _(call: Call) -> None:
    network = Network(call)

    def step() -> Tensor:
        value = network()
        value.backward()
        return value.detach()

    with fresh_compiler(), torch._dynamo.config.patch(compiled_autograd=True):
        value = torch.compile(step, backend="aot_eager")()
    check(call, value, [leaf.grad for leaf in network.leaves])


@way("`torch.compile` under autocast", FEWER)
def _(call: Call) -> None:
    leaves = [leaf.requires_grad_() for leaf in call.leaves(torch.float32)]
    with fresh_compiler():
        compiled = torch.compile(call.value, fullgraph=True, backend="aot_eager")
        with torch.autocast(DEVICE.type, dtype=torch.bfloat16):
            value = compiled(*leaves)
            gradients = torch.autograd.grad(value, leaves)
    check(call, value.detach(), gradients, torch.float32)


# -------------------------------------------------------------------------------------------------- export and tracing


@way("`torch.export`", FEW)
def _(call: Call) -> None:
    """The exported module, and its decomposed form, with their gradients."""
    for strict in (False, True):
        exported = torch.export.export(Network(call), (), strict=strict)
        for program in (exported, exported.run_decompositions()):
            module = program.module()
            value = module()
            check(call, value.detach())
            parameters = dict(module.named_parameters())
            gradients = torch.autograd.grad(value, list(parameters.values()))
            order = [name for name, _ in Network(call).named_parameters()]
            by_name = dict(zip(parameters, gradients, strict=True))
            check(call, value.detach(), [by_name[name] for name in order])


@way("`make_fx`", tuple(call for call in COMPILED if call.differentiable))
def _(call: Call) -> None:
    """Of the value, which stays differentiable at any order and in both modes, and of the value with its gradients."""
    for tracing in ("real", "symbolic"):
        leaves = [leaf.requires_grad_() for leaf in call.leaves()]
        traced = make_fx(call.value, tracing_mode=tracing, _allow_non_fake_inputs=True)(*leaves)
        value = traced(*leaves)
        check(call, value.detach(), torch.autograd.grad(value, leaves))
        check_traced(call, tracing)
        both = make_fx(
            lambda *given: value_and_gradients(call.value, given), tracing_mode=tracing, _allow_non_fake_inputs=True
        )(*leaves)
        check(call, *both(*leaves))


def check_traced(call: Call, tracing: Any) -> None:
    """Derivatives of a graph in which the value is one term of two: none of them lacks the value's part."""

    def beside(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        return lambda *given: function(*given) + torch.stack([leaf.square().sum() for leaf in given]).sum()

    leaves = tuple(call.leaves())
    tangents = tuple(directions(leaves))
    traced = make_fx(beside(call.value), tracing_mode=tracing, _allow_non_fake_inputs=True)(*leaves)
    right_value, right = value_and_gradients(beside(call.true_value), leaves)
    for gradient, truth in zip(value_and_gradients(traced, leaves)[1], right, strict=True):
        close("gradient", gradient, truth)
    value, slope, *_ = torch.func.jvp(traced, leaves, tangents)
    close("value", value, right_value)
    close("slope", slope, inner_product(right, tangents))
    if call.n <= 6:
        close("second", second_derivative(traced, leaves), second_derivative(beside(call.true_value), leaves), 1e-9)


@way("`torch.jit.trace`", FEW)
def _(call: Call) -> None:
    """Of the function; a scripted or traced model that carries a penalty has tests of its own."""
    leaves = [leaf.requires_grad_() for leaf in call.leaves()]
    traced = torch.jit.trace(call.value, tuple(leaves), check_trace=False)
    value = traced(*leaves)
    check(call, value.detach(), torch.autograd.grad(value, leaves))


class Passing(nn.Module):
    """A call whose weights are arguments."""

    def __init__(self, call: Call) -> None:
        super().__init__()
        self.call = call

    def forward(self, weight_hh: Tensor, weight_in: Tensor, weight_out: Tensor) -> Tensor:
        return self.call.value(weight_hh, weight_in, weight_out)


@way("`torch.fx.symbolic_trace`", named("finite", "infinite", "resolvent", "hop_decomposition"), error=TypeError)
def _(call: Call) -> None:
    with pytest.raises(TypeError, match="weight_hh must be a tensor, got Proxy"):
        torch.fx.symbolic_trace(Passing(call))


# ----------------------------------------------------------------------------------------------- fake and meta tensors


def check_shapes(
    call: Call, convert: Callable[[Tensor], Tensor], mode: AbstractContextManager[object], dtype: torch.dtype
) -> None:
    """The shape, dtype and device of result and gradients, without and with autocast."""
    moved = call.with_constants(convert)
    right = call.result(*call.leaves(dtype))
    for autocast in (False, True):
        leaves = [convert(leaf).requires_grad_() for leaf in call.leaves(dtype)]
        with mode, torch.autocast(DEVICE.type, dtype=torch.bfloat16, enabled=autocast):
            result = moved.result(*leaves)
            assert (result.shape, result.dtype) == (right.shape, right.dtype)
            assert result.device == leaves[0].device
            if call.differentiable:
                assert result.requires_grad
                for gradient, leaf in zip(torch.autograd.grad(result.sum(), leaves), leaves, strict=True):
                    assert (gradient.shape, gradient.dtype) == (leaf.shape, leaf.dtype)
            with torch.no_grad():
                assert moved.result(*leaves).shape == right.shape


@way("`FakeTensorMode`", CALLS)
def _(call: Call) -> None:
    for dtype in (torch.float64, torch.float32):
        mode = FakeTensorMode()
        check_shapes(call, mode.from_tensor, mode, dtype)


@way("meta tensors", CALLS)
def _(call: Call) -> None:
    for dtype in (torch.float64, torch.float32):
        check_shapes(call, lambda tensor: tensor.to("meta"), nullcontext(), dtype)
