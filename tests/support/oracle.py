"""What results are compared with: reference.py in float64 under autograd, and how far rounding may lead from it.

The allowed error is a multiple of the sum of the absolute values of all terms, which the reference gives when every
weight is replaced by its absolute value. Its gradient is likewise the sum of the absolute values of the
gradient's terms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

import rrnn_ext
from rrnn_ext import reference

View = Callable[[Tensor], Tensor]
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 1e-5, torch.bfloat16: 1e-5}
_MATRICES = ("weight_hh", "weight_in", "weight_out")


def check(
    function: str,
    leaves: Mapping[str, Tensor],
    options: Mapping[str, Any],
    views: Mapping[str, View] | None = None,
    tolerance: float | None = None,
) -> None:
    """Value, also where no gradient is wanted, and all gradients of ``rrnn_ext.<function>`` against the reference.

    ``leaves`` maps weight_hh, weight_in, weight_out and alpha to the tensors that gradients are taken for,
    ``views`` the same names to what is passed of them, ``options`` holds every other argument.
    """
    views = views or {}
    dtype = leaves["weight_hh"].dtype
    tolerance = TOLERANCE[dtype] if tolerance is None else tolerance

    value, gradients, cotangent = _run(getattr(rrnn_ext, function), leaves, views, options)
    assert value.dtype == dtype
    assert value.device == leaves["weight_hh"].device
    cotangent = cotangent.cpu()

    exact = {name: leaf.detach().double().cpu() for name, leaf in leaves.items()}
    wanted = {key: _double(option) for key, option in options.items() if key != "method"}
    truth = _of_expanded(getattr(reference, function))
    true_value, true_gradients, _ = _run(truth, exact, views, wanted, cotangent.double())

    sizes = {name: leaf.abs() for name, leaf in exact.items()}
    positive = {key: option.abs() if isinstance(option, Tensor) else option for key, option in wanted.items()}
    positive["rectify"] = False
    if options.get("method") == "inverse" and positive.get("hops") is not None:
        # The closed form subtracts the terms beyond the last, of which the first is the largest.
        positive["hops"] += 1
    scale, gradient_scales, _ = _run(truth, sizes, views, positive, cotangent.double().abs())
    kinks = _kinks(function, exact, sizes, views, wanted, positive, cotangent.double().abs(), tolerance)

    assert_within("value", value, true_value, tolerance * _largest(scale))
    given = {name: views.get(name, _same)(leaf.detach()) for name, leaf in leaves.items()}
    alone = getattr(rrnn_ext, function)(**given, **options)
    assert_within("value without gradients", alone, true_value, tolerance * _largest(scale))
    summed = len({leaf.shape[:-2] for name, leaf in leaves.items() if name in _MATRICES}) > 1 or bool(views)
    for name, gradient in gradients.items():
        assert gradient.dtype == leaves[name].dtype
        assert gradient.device == leaves[name].device
        bound = tolerance * _largest(gradient_scales[name])
        if summed and dtype.itemsize == 2:
            # Autograd's sum over an expanded or broadcast weight adds halves.
            bound = bound + torch.finfo(dtype).eps * _largest(gradient_scales[name])
        assert_within(f"gradient of {name}", gradient, true_gradients[name], bound + 2 * kinks.get(name, 0.0))


def assert_within(what: str, actual: Tensor, expected: Tensor, bound: Tensor | float) -> None:
    """|actual - expected| <= bound everywhere, where a half may in addition be off by its own rounding."""
    assert actual.shape == expected.shape, f"{what}: shape {tuple(actual.shape)}, expected {tuple(expected.shape)}"
    actual, expected, bound = actual.detach().cpu(), expected.cpu(), torch.as_tensor(bound).cpu()
    if actual.dtype.itemsize == 2:
        info = torch.finfo(actual.dtype)
        bound = bound + 0.51 * info.eps * expected.abs() + info.smallest_normal * info.eps
    error = (actual.double() - expected).abs()
    wrong = ~(error <= bound)
    assert not wrong.any(), (
        f"{what}: {int(wrong.sum())} of {wrong.numel()} off by up to {float(error.max()):.3g}, "
        f"allowed {float(torch.as_tensor(bound).max()):.3g}"
    )


def _run(
    function: Callable[..., Tensor],
    leaves: Mapping[str, Tensor],
    views: Mapping[str, View],
    options: Mapping[str, Any],
    cotangent: Tensor | None = None,
) -> tuple[Tensor, dict[str, Tensor], Tensor]:
    """Value, the gradient of every leaf for the upstream gradient ``cotangent`` (drawn if None), and that."""
    fresh = {name: leaf.detach().clone().requires_grad_() for name, leaf in leaves.items()}
    value = function(**{name: views.get(name, _same)(leaf) for name, leaf in fresh.items()}, **options)
    if cotangent is None:
        generator = torch.Generator().manual_seed(value.numel())
        # Eighths up to two: exact in every dtype.
        steps = torch.randint(2, 17, value.shape, generator=generator)
        signs = 2 * torch.randint(0, 2, value.shape, generator=generator) - 1
        cotangent = (steps * signs / 8).to(value)
    gradients = torch.autograd.grad(value, list(fresh.values()), cotangent, materialize_grads=True)
    return value.detach(), dict(zip(fresh, gradients, strict=True)), cotangent


def _of_expanded(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """``function`` of weights that all have the whole batch: with one hop the reference never touches weight_hh."""

    def call(**arguments: Any) -> Tensor:
        given = {name: arguments[name] for name in _MATRICES if arguments.get(name) is not None}
        alpha = arguments.get("alpha", 1.0)
        batches = [matrix.shape[:-2] for matrix in given.values()]
        batch = torch.broadcast_shapes(*batches, *([alpha.shape] if isinstance(alpha, Tensor) else []))
        expanded = {name: matrix.expand(*batch, *matrix.shape[-2:]) for name, matrix in given.items()}
        return function(**{**arguments, **expanded})

    return call


def _kinks(
    function: str,
    exact: Mapping[str, Tensor],
    sizes: Mapping[str, Tensor],
    views: Mapping[str, View],
    wanted: Mapping[str, Any],
    positive: Mapping[str, Any],
    cotangent: Tensor,
    tolerance: float,
) -> dict[str, Tensor]:
    """How much of the gradient's scale belongs to entries so near zero that rounding may turn the sign of |.|."""
    if function != "resolvent_penalty" or wanted.get("norm", "l1") != "l1" or wanted.get("rectify"):
        return {}
    inner = "hop_decomposition" if wanted.get("per_hop") else "resolvent"
    keys = ("hops",) if inner == "hop_decomposition" else ("hops", "hop_weights")
    signed, _, _ = _run(
        _of_expanded(getattr(reference, inner)), exact, views, {k: wanted[k] for k in (*keys, "alpha") if k in wanted}
    )

    def near_zero(**arguments: Any) -> Tensor:
        terms = _of_expanded(getattr(reference, inner))(
            **{k: v for k, v in arguments.items() if k in (*exact, *keys, "alpha")}
        )
        terms = torch.where(signed.abs() <= 2 * tolerance * _largest(terms.detach()), terms, 0)
        if inner == "hop_decomposition":
            if arguments.get("hop_weights") is not None:
                terms = arguments["hop_weights"][..., None, None] * terms
            terms = terms.sum(-3)
        if arguments.get("pair_weights") is not None:
            terms = arguments["pair_weights"] * terms
        value = terms.sum((-2, -1))
        reduction = arguments.get("reduction", "sum")
        return value if reduction == "none" else getattr(torch, reduction)(value)

    return _run(near_zero, sizes, views, positive, cotangent)[1]


def _largest(scale: Tensor) -> Tensor:
    """The largest entry of every matrix: solves and products of powers are accurate by norm, not by entry."""
    if scale.dim() < 2 or scale.numel() == 0:
        return scale
    return scale.amax((-2, -1), keepdim=True)


def _double(option: Any) -> Any:
    """On the CPU too."""
    return option.double().cpu() if isinstance(option, Tensor) else option


def _same(leaf: Tensor) -> Tensor:
    return leaf
