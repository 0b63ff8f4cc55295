"""Ways to have weights: subclasses of Tensor, and weights that other tensors make."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune
from torch.utils._pytree import tree_map

from support.ways import CALLS, DIFFERENTIABLE, SMALL, Call, check, close, directions, value_and_gradients, way
from support.ways_derivatives import Network

# ---------------------------------------------------------------------------------------------------- subclass tensors


@way("`nn.Parameter`", CALLS)
def _(call: Call) -> None:
    network = Network(call)
    value = network()
    if call.differentiable:
        value.backward()
    check(call, value.detach(), [leaf.grad for leaf in network.leaves] if call.differentiable else None)


class Tagged(Tensor):
    """A subclass with what Tensor's __torch_function__ gives it."""


class Counted(Tensor):
    """A subclass with a __torch_function__ of its own, and an attribute."""

    calls = 0

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        Counted.calls += 1
        return super().__torch_function__(func, types, args, kwargs or {})


@way("a subclass with `__torch_function__`", CALLS)
def _(call: Call) -> None:
    for subclass in (Tagged, Counted):
        leaves = [leaf.requires_grad_() for leaf in call.leaves()]
        value = call.value(*(leaf.as_subclass(subclass) for leaf in leaves))
        gradients = torch.autograd.grad(value, leaves) if call.differentiable else None
        check(call, value.detach().as_subclass(Tensor), gradients)


class Wrapped(Tensor):
    """Holds another tensor and computes with that one: the usual wrapper with __torch_dispatch__."""

    held: Any

    @staticmethod
    def __new__(cls, inner: Tensor) -> Wrapped:
        wrapper: Wrapped = Tensor._make_wrapper_subclass(
            cls, inner.shape, strides=inner.stride(), dtype=inner.dtype, device=inner.device
        )
        wrapper.held = inner
        return wrapper

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        args, kwargs = tree_map(unwrapped, (args, kwargs or {}))
        return tree_map(lambda each: Wrapped(each) if isinstance(each, Tensor) else each, func(*args, **kwargs))


def unwrapped(each: Any) -> Any:
    return each.held if isinstance(each, Wrapped) else each


@way("a subclass with `__torch_dispatch__`", CALLS)
def _(call: Call) -> None:
    leaves = [Wrapped(leaf).requires_grad_() for leaf in call.leaves()]
    value = call.value(*leaves)
    gradients = [unwrapped(g) for g in torch.autograd.grad(value, leaves)] if call.differentiable else None
    check(call, unwrapped(value.detach()), gradients)


# ---------------------------------------------------------------------------------------- weights made of other weights


def check_made(call: Call, make: Callable[..., tuple[Tensor, ...]], given: list[Tensor]) -> None:
    """Value, first and second derivatives by what the weights are made of."""

    def ours(*raw: Tensor) -> Tensor:
        return call.value(*make(*raw))

    def right(*raw: Tensor) -> Tensor:
        return call.true_value(*make(*raw))

    value, gradients = value_and_gradients(ours, given)
    right_value, right_gradients = value_and_gradients(right, given)
    close("value", value, right_value)
    for place, (gradient, truth) in enumerate(zip(gradients, right_gradients, strict=True)):
        close(f"gradient of what makes them, {place}", gradient, truth)
    if call in SMALL:
        second = [_hessian_product(function, given) for function in (ours, right)]
        for place, (product, truth) in enumerate(zip(*second, strict=True)):
            close(f"second derivative of what makes them, {place}", product, truth, 1e-9)


def _hessian_product(function: Callable[..., Tensor], given: list[Tensor]) -> tuple[Tensor, ...]:
    fresh = [leaf.detach().clone().requires_grad_() for leaf in given]
    first = torch.autograd.grad(function(*fresh), fresh, create_graph=True)
    for gradient, truth in zip(first, torch.autograd.grad(function(*fresh), fresh), strict=True):
        close("gradient that has a graph", gradient.detach(), truth)
    return torch.autograd.grad(first, fresh, directions(given), materialize_grads=True)


@way("one weight in several places (tied)")
def _(call: Call) -> None:
    """U and V are parts of W, then of one another."""
    recurrent, *rest = call.leaves()
    sides = ([(recurrent, lambda w: w[..., : call.i])] if call.i else []) + (
        [(recurrent, lambda w: w[..., : call.o, :])] if call.o else []
    )
    alpha = [rest[-1]] if call.learns_alpha else []

    def of_one(w: Tensor, *alpha: Tensor) -> tuple[Tensor, ...]:
        return w, *(part(w) for _, part in sides), *alpha

    check_made(call, of_one, [recurrent, *alpha])
    if call.i and call.o:
        width = call.o

        def transposed(w: Tensor, u: Tensor, *alpha: Tensor) -> tuple[Tensor, ...]:
            return w, u, u.mT[:width], *alpha

        check_made(call, transposed, [recurrent, rest[0], *alpha])


@way("a low-rank update of a frozen weight (LoRA)")
def _(call: Call) -> None:
    frozen, *rest = call.leaves()
    n = call.n
    down = torch.linspace(-0.25, 0.5, 2 * n, dtype=frozen.dtype, device=frozen.device).reshape(2, n)
    up = torch.linspace(0.3, -0.2, 2 * n, dtype=frozen.dtype, device=frozen.device).reshape(n, 2) / n
    check_made(call, lambda up, down: (frozen + up @ down, *rest), [up, down])


class Halved(nn.Module):
    def forward(self, raw: Tensor) -> Tensor:
        return torch.tanh(raw) / 2


@way("parametrised weights")
def _(call: Call) -> None:
    network = nn.Module()
    network.weight_hh = nn.Parameter(call.leaves()[0])
    parametrize.register_parametrization(network, "weight_hh", Halved())
    rest = call.leaves()[1:]
    raw: Any = network.parametrizations.weight_hh.original  # type: ignore[union-attr]
    for cached in (False, True):
        with parametrize.cached() if cached else torch.enable_grad():
            value = call.value(network.weight_hh, *rest)
            (gradient,) = torch.autograd.grad(value, raw)
        right_value, (truth,) = value_and_gradients(lambda w: call.true_value(w.tanh() / 2, *rest), [raw])
        close("value", value.detach(), right_value)
        close("gradient of the original", gradient, truth)


@way("pruned weights")
def _(call: Call) -> None:
    network = nn.Module()
    network.weight_hh = nn.Parameter(call.leaves()[0])
    mask = torch.ones_like(network.weight_hh)
    mask[..., 0, 1] = mask[..., 2, :] = 0.0
    prune.custom_from_mask(network, "weight_hh", mask)
    rest = call.leaves()[1:]
    original = network.weight_hh_orig
    assert isinstance(original, Tensor)
    value = call.value(network.weight_hh, *rest)
    (gradient,) = torch.autograd.grad(value, original)
    right_value, (truth,) = value_and_gradients(lambda w: call.true_value(w * mask, *rest), [original])
    close("value", value.detach(), right_value)
    close("gradient of the original", gradient, truth)


@way("views, expanded and not contiguous")
def _(call: Call) -> None:
    padded = [torch.nn.functional.pad(leaf, (1, 2, 2, 1)) if leaf.dim() else leaf for leaf in call.leaves()]

    def make(*raw: Tensor) -> tuple[Tensor, ...]:
        cut = (leaf.mT.contiguous().mT[..., 2:-1, 1:-2] if leaf.dim() else leaf for leaf in raw)
        return tuple(leaf.clone() if leaf.dim() == 0 else leaf for leaf in cut)

    check_made(call, make, padded)


@contextmanager
def one_process() -> Iterator[None]:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    with tempfile.TemporaryDirectory() as folder:
        torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=0, world_size=1)
        try:
            yield
        finally:
            torch.distributed.destroy_process_group()


@way("`DistributedDataParallel`", DIFFERENTIABLE if torch.distributed.is_gloo_available() else ())
def _(call: Call) -> None:
    """The penalty inside the wrapped module's forward."""
    network = Network(call)
    with one_process():
        wrapped = nn.parallel.DistributedDataParallel(network)
        value = wrapped()
        value.backward()
    check(call, value.detach(), [leaf.grad for leaf in network.leaves])


@way("sharded weights (`DTensor`)", CALLS if torch.distributed.is_gloo_available() else ())
def _(call: Call) -> None:
    """In a group of one, which goes the way of weights that are gathered; tests/sharded has larger groups."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    with one_process():
        mesh = init_device_mesh("cpu", (1,))
        leaves: list[Any] = [
            nn.Parameter(distribute_tensor(leaf, mesh, [Shard(0)]) if leaf.dim() else leaf) for leaf in call.leaves()
        ]
        value = call.value(*leaves)
        assert type(value) is Tensor
        if not call.differentiable:
            check(call, value)
            return
        gradients: Sequence[Any] = torch.autograd.grad(value, leaves)
        assert all(type(gradient) is type(leaf.data) for gradient, leaf in zip(gradients, leaves, strict=True))
        wholes = [each.full_tensor() if hasattr(each, "full_tensor") else each for each in gradients]
        check(call, value.detach(), wholes)
