"""The calls that are tried in every way to run PyTorch, their right answers, and the register of ways.

A right answer is that of rrnn_ext/reference.py in float64, in plain eager mode, by reverse-mode derivatives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

import rrnn_ext
from rrnn_ext import reference
from support.device import DEVICE
from support.random_weights import on_cpu

Leaves = Sequence[Tensor]
HOPS = 5


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a public function: which weights it gets, and all its other arguments."""

    name: str
    function: str = "resolvent_penalty"
    i: int | None = 3
    o: int | None = 2
    n: int = 6
    batch: tuple[int, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    learns_alpha: bool = False

    @property
    def differentiable(self) -> bool:
        return self.function != "resolvent_info"

    def leaves(self, dtype: torch.dtype = torch.float64) -> list[Tensor]:
        """weight_hh, weight_in, weight_out and alpha, without those that the call does without."""
        drawn = on_cpu(self.n, self.i, self.o, seed=3, batches=(self.batch, (), ()))
        # One unit hears the others well and is hardly heard: no norm is below 1, though the spectral radius is.
        drawn["weight_hh"][..., 0, 1:] *= 16
        drawn["weight_hh"][..., 1:, 0] /= 16
        given = list(drawn.values())
        if self.learns_alpha:
            given.append(torch.tensor(0.875, dtype=torch.float64))
        return [leaf.to(DEVICE, dtype) for leaf in given]

    def with_constants(self, convert: Callable[[Tensor], Tensor]) -> Call:
        """The same call with hop_weights and pair_weights as ``convert`` makes them."""
        converted = {key: convert(each) if isinstance(each, Tensor) else each for key, each in self.options.items()}
        return replace(self, options=converted)

    def with_options(self, **options: Any) -> Call:
        return replace(self, options={**self.options, **options})

    def result(self, *leaves: Tensor) -> Tensor:
        """What the library answers: of resolvent_info, its numbers side by side."""
        arguments = self._arguments(leaves)
        if self.differentiable:
            return getattr(rrnn_ext, self.function)(**arguments)
        info = rrnn_ext.resolvent_info(**arguments)
        assert info.tail_bound is not None
        return torch.stack([info.spectral_radius, info.tail_bound, info.max_alpha])

    def value(self, *leaves: Tensor) -> Tensor:
        """One number for the result."""
        return contracted(self.result(*leaves))

    def true_result(self, *leaves: Tensor) -> Tensor:
        arguments = self._arguments(leaves)
        arguments.pop("method", None)
        return getattr(reference, self.function)(**arguments) if self.differentiable else _true_info(**arguments)

    def true_value(self, *leaves: Tensor) -> Tensor:
        return contracted(self.true_result(*leaves))

    def _arguments(self, leaves: Leaves) -> dict[str, Any]:
        sides = {"weight_in": self.i, "weight_out": self.o, "alpha": self.learns_alpha or None}
        names = ["weight_hh", *(name for name, given in sides.items() if given is not None)]
        return {**dict(zip(names, leaves, strict=True)), **self.options}


def contracted(result: Tensor) -> Tensor:
    """A matrix, or several, as one number in which each entry counts differently."""
    if result.dim() == 0:
        return result
    factors = torch.linspace(0.5, 1.5, result.numel(), dtype=result.dtype, device=result.device)
    return (factors.reshape(result.shape) * result).sum()


def _true_info(weight_hh: Tensor, alpha: float, hops: int, rectify: bool = False) -> Tensor:
    matrix = weight_hh.detach().double().cpu().numpy()
    a = alpha * (np.abs(matrix) if rectify else matrix)
    radius = np.abs(np.linalg.eigvals(a)).max()
    left_out = np.linalg.matrix_power(a, hops) @ np.linalg.inv(np.eye(len(a)) - a)
    numbers = [radius, np.linalg.norm(left_out, 2), alpha / radius]
    return torch.tensor(numbers, dtype=torch.float64, device=weight_hh.device)


_HOP_WEIGHTS = torch.tensor([1.0, -0.5, 0.0, 2.0, -1.5], dtype=torch.float64).to(DEVICE)
_PAIR_WEIGHTS = torch.tensor([[1.0, 0.5, 0.0], [2.0, 1.0, 0.25]], dtype=torch.float64).to(DEVICE)
_FINITE: dict[str, Any] = {"hops": HOPS, "alpha": 0.9}
_INFINITE: dict[str, Any] = {"hops": None, "alpha": 0.9}
_NEITHER: dict[str, Any] = {"i": None, "o": None}

CALLS = (
    Call("finite", options=_FINITE),
    Call(
        "finite, per hop, weighted",
        options={**_FINITE, "per_hop": True, "hop_weights": _HOP_WEIGHTS, "pair_weights": _PAIR_WEIGHTS},
    ),
    Call(
        "finite, squares, weighted",
        options={**_FINITE, "norm": "l2", "hop_weights": _HOP_WEIGHTS, "pair_weights": _PAIR_WEIGHTS},
    ),
    Call("finite, rectified", options={**_FINITE, "rectify": True}),
    Call(
        "finite, rectified, per hop, weighted",
        options={**_FINITE, "rectify": True, "per_hop": True, "hop_weights": _HOP_WEIGHTS},
    ),
    Call("finite, outputs alone", i=None, options=_FINITE),
    Call("finite, all pairs", **_NEITHER, options=_FINITE),
    Call("finite, all pairs, per hop", **_NEITHER, options={**_FINITE, "per_hop": True, "hop_weights": _HOP_WEIGHTS}),
    Call("finite, inverse", options={**_FINITE, "method": "inverse"}),
    Call("finite, tensor alpha", options={"hops": HOPS}, learns_alpha=True),
    Call("finite, a batch", batch=(2,), options={**_FINITE, "reduction": "mean"}),
    Call("infinite", options=_INFINITE),
    Call("infinite, inputs alone", o=None, options=_INFINITE),
    Call("infinite, series", options={**_INFINITE, "method": "series"}),
    Call("infinite, rectified", options={**_INFINITE, "rectify": True}),
    Call("infinite, tensor alpha", options={"hops": None}, learns_alpha=True),
    Call("infinite, a batch", batch=(2,), options={**_INFINITE, "pair_weights": _PAIR_WEIGHTS, "reduction": "mean"}),
    Call("infinite, a batch, rectified", batch=(2,), options={**_INFINITE, "rectify": True}),
    Call("infinite, all pairs", **_NEITHER, options=_INFINITE),
    Call("infinite, all pairs, rectified", **_NEITHER, options={**_INFINITE, "rectify": True}),
    Call("infinite, all pairs, squares", **_NEITHER, options={**_INFINITE, "rectify": True, "norm": "l2"}),
    Call("infinite, all pairs, large", **_NEITHER, n=170, options={"hops": None, "alpha": 0.7}),
    Call("resolvent", "resolvent", options={**_FINITE, "hop_weights": _HOP_WEIGHTS}),
    Call("resolvent, infinite", "resolvent", options=_INFINITE),
    Call("hop_decomposition", "hop_decomposition", options=_FINITE),
    Call("resolvent_info", "resolvent_info", **_NEITHER, options=_FINITE),
)
DIVERGING = Call("infinite, diverging", options={"hops": None, "alpha": 50.0})
# Matrices large enough for LAPACK to use threads, as a batch.
LARGE_BATCHES = (
    Call("large batch, infinite, all pairs", **_NEITHER, n=170, batch=(2,), options=_INFINITE),
    Call("large batch, infinite", n=185, batch=(2,), options=_INFINITE),
    Call("large batch, infinite, rectified", n=200, batch=(2,), options={**_INFINITE, "rectify": True}),
    Call("large batch, inverse", n=180, batch=(2,), options={**_FINITE, "method": "inverse"}),
)
DIFFERENTIABLE = tuple(call for call in CALLS if call.differentiable)
SMALL = tuple(call for call in DIFFERENTIABLE if call.n <= 6)


def named(*names: str) -> tuple[Call, ...]:
    """Those of the calls, where a way is too slow for all of them."""
    chosen = tuple(call for call in CALLS if call.name in names)
    assert len(chosen) == len(names)
    return chosen


@dataclass(frozen=True)
class Way:
    """A way to run PyTorch: ``run`` makes a call that way and compares with the right answer."""

    name: str  # the row of the table in docs/ways-to-run.md
    run: Callable[[Call], None]
    calls: tuple[Call, ...]
    error: type[Exception] | None  # what the way answers instead of a number, on purpose


WAYS: dict[str, Way] = {}
Run = Callable[[Call], None]


def way(
    name: str, calls: tuple[Call, ...] = DIFFERENTIABLE, error: type[Exception] | None = None
) -> Callable[[Run], Run]:
    """Registers a function as a way to run each of the calls."""

    def register(run: Run) -> Run:
        assert name not in WAYS
        WAYS[name] = Way(name, run, calls, error)
        return run

    return register


# ------------------------------------------------------------------------------------------------------ right answers


def value_and_gradients(function: Callable[..., Tensor], leaves: Leaves) -> tuple[Tensor, tuple[Tensor, ...]]:
    """In eager mode, of leaves of its own."""
    fresh = [leaf.detach().clone().requires_grad_() for leaf in leaves]
    value = function(*fresh)
    return value.detach(), torch.autograd.grad(value, fresh)


@cache
def _expected(call: Call, dtype: torch.dtype) -> tuple[Tensor, tuple[Tensor, ...]]:
    exact = [leaf.double() for leaf in call.leaves(dtype)]
    if not call.differentiable:
        return call.true_value(*exact), ()
    return value_and_gradients(call.true_value, exact)


def expected(call: Call, dtype: torch.dtype = torch.float64) -> tuple[Tensor, tuple[Tensor, ...]]:
    """The right value and gradients, for the leaves as rounded to ``dtype``. Made outside whatever mode is tried."""
    return _expected(call, dtype)


def directions(leaves: Leaves) -> list[Tensor]:
    """A tangent for each of the leaves."""

    def cosines(leaf: Tensor) -> Tensor:
        return torch.arange(1, leaf.numel() + 1, dtype=leaf.dtype, device=leaf.device).cos().reshape(leaf.shape)

    return [cosines(leaf) for leaf in leaves]


def inner_product(gradients: Leaves, tangents: Leaves) -> Tensor:
    return torch.stack([(g * t.to(g)).sum() for g, t in zip(gradients, tangents, strict=True)]).sum()


def second_derivative(function: Callable[..., Tensor], leaves: Leaves) -> Tensor:
    """Twice along one direction, by differentiating the gradient."""
    fresh = [leaf.detach().clone().requires_grad_() for leaf in leaves]
    along = directions([leaf.detach() for leaf in leaves])
    gradients = torch.autograd.grad(function(*fresh), fresh, create_graph=True)
    return inner_product(torch.autograd.grad(inner_product(gradients, along), fresh), along)


def flat(call: Call, function: Callable[..., Tensor]) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """``function`` of the leaves as a function of one vector, and that vector."""
    leaves = call.leaves()
    sizes, shapes = [leaf.numel() for leaf in leaves], [leaf.shape for leaf in leaves]

    def of_vector(vector: Tensor) -> Tensor:
        pieces = vector.split(sizes)
        return function(*(piece.reshape(shape) for piece, shape in zip(pieces, shapes, strict=True)))

    return of_vector, torch.cat([leaf.flatten() for leaf in leaves])


@cache
def true_hessian(call: Call) -> Tensor:
    function, vector = flat(call, call.true_value)
    return torch.autograd.functional.hessian(function, vector)


def close(what: str, actual: Tensor, right: Tensor, tolerance: float = 1e-10) -> None:
    """Within ``tolerance`` of the largest entry, and of the same shape."""
    assert actual.shape == right.shape, f"{what}: {tuple(actual.shape)} instead of {tuple(right.shape)}"
    error = (actual.detach().to(right) - right).abs()
    allowed = tolerance * float(right.abs().max())
    assert bool((error <= allowed).all()), f"{what}: off by up to {float(error.max()):.3g}, allowed {allowed:.3g}"


def check(
    call: Call, value: Tensor, gradients: Sequence[Tensor | None] | None = None, dtype: torch.dtype = torch.float64
) -> None:
    """Value and gradients against the right ones."""
    tolerance = {torch.float64: 1e-10, torch.float32: 1e-4}.get(dtype, 1e-2)
    right_value, right_gradients = expected(call, dtype)
    # The wider of the leaves' dtype and what autocast makes of it.
    close("value", value, right_value, tolerance)
    if gradients is not None:
        assert len(gradients) == len(right_gradients)
        for place, (gradient, right) in enumerate(zip(gradients, right_gradients, strict=True)):
            assert gradient is not None, f"no gradient for leaf {place}"
            close(f"gradient of leaf {place}", gradient, right, tolerance)


def check_eager(call: Call) -> None:
    if call.differentiable:
        check(call, *value_and_gradients(call.value, call.leaves()))
    else:
        check(call, call.value(*call.leaves()))


def check_large_batch(call: Call) -> None:
    """As a batch and under vmap, against the graphs one by one: value, gradient, second derivative."""
    recurrent, *sides = call.leaves()
    single = replace(call, batch=())
    (direction,) = directions([recurrent[0]])

    def along(function: Callable[..., Tensor], given: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        w = given.detach().requires_grad_()
        value = function(w, *sides)
        (gradient,) = torch.autograd.grad(value.sum(), w, create_graph=True)
        (second,) = torch.autograd.grad((gradient * direction).sum(), w)
        return value.detach(), gradient.detach(), second

    def along_in_transforms(w: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        def slope(w: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
            gradient, value = torch.func.grad_and_value(single.value)(w, *sides)
            return (gradient * direction).sum(), (value, gradient)

        second, (value, gradient) = torch.func.grad(slope, has_aux=True)(w)
        return value, gradient, second

    each = [along(single.true_value, w) for w in recurrent]
    right = [torch.stack(parts) for parts in zip(*each, strict=True)]
    ways = {
        "a batch": along(call.with_options(reduction="none").result, recurrent),
        "vmap": along(torch.vmap(single.value, (0, *(None for _ in sides))), recurrent),
        "vmap of derivatives": torch.vmap(along_in_transforms)(recurrent),
    }
    for how, parts in ways.items():
        for what, part, truth in zip(("value", "gradient", "second derivative"), parts, right, strict=True):
            close(f"{how}: {what}", part, truth, 1e-8)
