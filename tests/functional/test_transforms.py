"""torch.compile, torch.func and autocast around the functional interface."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import torch
from support.device import DEVICE
from support.oracle import assert_within
from support.random_weights import penalty_of, weights
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend

import rrnn_ext
from rrnn_ext import reference
from rrnn_ext.infinite import deferred

CASES: list[dict[str, Any]] = [
    {"hops": 5},
    {"hops": 5, "rectify": True},
    {"hops": 5, "rectify": True, "norm": "l2"},
    {"hops": 5, "per_hop": True},
    {"hops": 5, "method": "inverse"},
    {"hops": 5, "hop_weights": torch.tensor([1.0, 0.0, -1.0, 2.0, 0.5]).double().to(DEVICE)},
    {"hops": None},
    {"hops": None, "rectify": True},
    {"hops": None, "method": "series"},
]
SIDES = [(3, 2), (None, 2), (None, None)]


def named(options: Any) -> str:
    """A short test id."""
    return "-".join(key if isinstance(x, Tensor) else f"{key}={x}" for key, x in options.items())


def given(i: int | None = 3, o: int | None = 2, n: int = 6, **more: Any) -> list[Tensor]:
    """The weights in the order of the arguments, without those left out."""
    return list(weights(n, i, o, **more).values())


def assert_diverges(call: Callable[[], Tensor]) -> None:
    if DEVICE.type == "cpu":
        with pytest.raises(rrnn_ext.ResolventDivergenceError):
            call()
    else:  # NaN, and an error later
        value = call()
        assert value.isnan().any()
        with pytest.raises(rrnn_ext.ResolventDivergenceError):
            deferred.raise_noted(value.device)


def close(actual: Tensor, expected: Tensor, tolerance: float = 1e-12) -> None:
    assert_within("result", actual, expected, tolerance * float(expected.abs().max()))


class TestCompile:
    @pytest.fixture(autouse=True)
    def fresh_compiler(self) -> Iterator[None]:
        torch._dynamo.reset()
        yield
        torch._dynamo.reset()

    @pytest.mark.parametrize("options", CASES, ids=named)
    @pytest.mark.parametrize(("i", "o"), SIDES)
    def test_no_graph_break(self, i: int | None, o: int | None, options: dict[str, Any]) -> None:
        plain = penalty_of(i, o, **options)
        compiled = torch.compile(plain, fullgraph=True, backend="aot_eager")
        leaves = [leaf.requires_grad_() for leaf in given(i, o)]
        close(compiled(*leaves).detach(), plain(*leaves).detach())
        expected = torch.autograd.grad(plain(*leaves), leaves)
        for a, b in zip(torch.autograd.grad(compiled(*leaves), leaves), expected, strict=True):
            close(a, b)

    @pytest.mark.parametrize("function", [rrnn_ext.resolvent, rrnn_ext.hop_decomposition])
    def test_matrices(self, function: Callable[..., Tensor]) -> None:
        leaves = [leaf.requires_grad_() for leaf in given()]

        def total(*matrices: Tensor) -> Tensor:
            return function(*matrices, hops=4).square().sum()

        compiled = torch.compile(total, fullgraph=True, backend="aot_eager")
        expected = torch.autograd.grad(total(*leaves), leaves)
        for a, b in zip(torch.autograd.grad(compiled(*leaves), leaves), expected, strict=True):
            close(a, b)

    def test_alpha_and_batches(self) -> None:
        leaves = [leaf.requires_grad_() for leaf in given(batches=((2, 1), (3,), ()))]
        leaves.append(torch.full((2, 3), 0.75, dtype=torch.float64, device=DEVICE, requires_grad=True))

        def total(w: Tensor, u: Tensor, v: Tensor, alpha: Tensor) -> Tensor:
            return rrnn_ext.resolvent_penalty(w, u, v, alpha=alpha, hops=4, reduction="mean")

        compiled = torch.compile(total, fullgraph=True, backend="aot_eager")
        expected = torch.autograd.grad(total(*leaves), leaves)
        for a, b in zip(torch.autograd.grad(compiled(*leaves), leaves), expected, strict=True):
            close(a, b)

    def test_training_step_through_inductor(self) -> None:
        """The penalty in the middle of other arithmetic, with the default backend."""
        leaves = [leaf.requires_grad_() for leaf in given()]

        def loss(w: Tensor, u: Tensor, v: Tensor) -> Tensor:
            return (v @ torch.tanh(w @ u)).square().sum() + 0.1 * rrnn_ext.resolvent_penalty(w.tanh(), u, 2 * v, hops=5)

        compiled = torch.compile(loss, fullgraph=True)
        expected = torch.autograd.grad(loss(*leaves), leaves)
        for a, b in zip(torch.autograd.grad(compiled(*leaves), leaves), expected, strict=True):
            close(a, b)

    @pytest.mark.parametrize("options", CASES, ids=named)
    def test_dynamic_shapes_compile_once(self, options: dict[str, Any]) -> None:
        counter = CompileCounterWithBackend("aot_eager")
        plain = penalty_of(3, 2, **options)
        compiled = torch.compile(plain, fullgraph=True, dynamic=True, backend=counter)
        for n, i, o in ((6, 4, 3), (8, 5, 2), (11, 7, 6)):
            leaves = [leaf.requires_grad_() for leaf in given(i, o, n)]
            value = compiled(*leaves)
            close(value.detach(), plain(*leaves).detach())
            expected = torch.autograd.grad(plain(*leaves), leaves)
            for a, b in zip(torch.autograd.grad(value, leaves), expected, strict=True):
                close(a, b)
            if n == 6:
                frames = counter.frame_count  # more than one where Dynamo started over with alpha as a constant
        assert counter.frame_count == frames

    def test_divergence_is_still_an_error(self) -> None:
        compiled = torch.compile(penalty_of(3, 2, hops=None), fullgraph=True, backend="aot_eager")
        w, u, v = given()
        compiled(w, u, v)
        assert_diverges(lambda: compiled(4 * w, u, v))


class TestFunc:
    @pytest.fixture(autouse=True)
    def batched_natively(self) -> Iterator[None]:
        """An operator without a batching rule is an error here, and so is any warning."""
        functorch: Any = torch._C._functorch
        functorch._set_vmap_fallback_enabled(False)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            yield
        functorch._set_vmap_fallback_enabled(True)

    @pytest.mark.parametrize("options", CASES, ids=named)
    @pytest.mark.parametrize(("i", "o"), SIDES)
    def test_grad(self, i: int | None, o: int | None, options: dict[str, Any]) -> None:
        plain = penalty_of(i, o, **options)
        leaves = given(i, o)
        places = tuple(range(len(leaves)))
        actual, value = torch.func.grad_and_value(plain, argnums=places)(*leaves)
        inputs = [leaf.clone().requires_grad_() for leaf in leaves]
        expected_value = plain(*inputs)
        close(value, expected_value.detach())
        for a, b in zip(actual, torch.autograd.grad(expected_value, inputs), strict=True):
            close(a, b)

    def test_grad_of_alpha(self) -> None:
        w, u, v = given()
        alpha = torch.tensor(0.75, dtype=torch.float64, device=DEVICE)
        actual = torch.func.grad(lambda a: rrnn_ext.resolvent_penalty(w, u, v, alpha=a, hops=5))(alpha)
        expected = torch.func.grad(lambda a: reference.resolvent_penalty(w, u, v, alpha=a, hops=5))(alpha)
        close(actual, expected)

    @pytest.mark.parametrize("hops", [4, None])
    def test_grad_of_grad(self, hops: int | None) -> None:
        w, u, v = given()

        def slope(function: Callable[..., Tensor], m: Tensor) -> Tensor:
            return torch.func.grad(lambda x: function(x, u, v, hops=hops))(m).square().sum()

        actual = torch.func.grad(lambda m: slope(rrnn_ext.resolvent_penalty, m))(w)
        close(actual, torch.func.grad(lambda m: slope(reference.resolvent_penalty, m))(w), 1e-11)

    @pytest.mark.parametrize("options", CASES, ids=named)
    @pytest.mark.parametrize(("i", "o"), SIDES)
    def test_vmap(self, i: int | None, o: int | None, options: dict[str, Any]) -> None:
        plain = penalty_of(i, o, **options)
        batched = given(i, o, batches=((4,), (4,), (4,)))
        each = [plain(*matrices) for matrices in zip(*batched, strict=True)]
        close(torch.vmap(plain)(*batched), torch.stack(each))
        places = tuple(range(len(batched)))
        slopes = torch.vmap(torch.func.grad(plain, argnums=places))(*batched)
        singles = [torch.func.grad(plain, argnums=places)(*matrices) for matrices in zip(*batched, strict=True)]
        for a, b in zip(slopes, zip(*singles, strict=True), strict=True):
            close(a, torch.stack(b))

    @pytest.mark.parametrize("options", CASES, ids=named)
    @pytest.mark.parametrize("in_dims", [(0, None, None), (None, 0, None), (None, None, 0), (2, 0, None), (-1, 1, 2)])
    def test_vmap_over_some(self, in_dims: tuple[int | None, ...], options: dict[str, Any]) -> None:
        plain = penalty_of(3, 2, **options)
        batched = given(batches=((4,), (4,), (4,)))
        inputs = [m[0] if d is None else m.movedim(0, d) for m, d in zip(batched, in_dims, strict=True)]
        chosen = [[m[0 if d is None else k] for m, d in zip(batched, in_dims, strict=True)] for k in range(4)]
        close(torch.vmap(plain, in_dims)(*inputs), torch.stack([plain(*matrices) for matrices in chosen]))
        slopes = torch.vmap(torch.func.grad(plain, argnums=(0, 1, 2)), in_dims)(*inputs)
        singles = [torch.func.grad(plain, argnums=(0, 1, 2))(*matrices) for matrices in chosen]
        for a, b in zip(slopes, zip(*singles, strict=True), strict=True):
            close(a, torch.stack(b))

    @pytest.mark.parametrize("reduction", ["sum", "mean", "none"])
    def test_vmap_over_batches(self, reduction: str) -> None:
        """The reduction is over the batch that the function sees, not over vmap's dimension."""
        batched = given(batches=((4, 3), (4, 1), (4, 3)))
        plain = penalty_of(3, 2, hops=4, reduction=reduction)
        expected = torch.stack([plain(*matrices) for matrices in zip(*batched, strict=True)])
        close(torch.vmap(plain)(*batched), expected)

    @pytest.mark.parametrize("dim", [1, 2, -1])
    def test_vmap_beside_a_batch(self, dim: int) -> None:
        """The dimension of vmap comes after that of the batch."""
        batched = given(batches=((4, 3), (4, 3), (4, 3)))
        plain = penalty_of(3, 2, hops=4, reduction="none")
        expected = torch.stack([plain(*matrices) for matrices in zip(*batched, strict=True)])
        close(torch.vmap(plain, dim)(*(m.movedim(0, dim) for m in batched)), expected)

    def test_vmap_of_vmap(self) -> None:
        batched = given(batches=((2, 3), (2, 3), (2, 3)))
        plain = penalty_of(3, 2, hops=4)
        expected = penalty_of(3, 2, hops=4, reduction="none")(*batched)
        close(torch.vmap(torch.vmap(plain))(*batched), expected)

    @pytest.mark.parametrize("hops", [4, None])
    def test_vmap_over_alpha(self, hops: int | None) -> None:
        w, u, v = given()
        alphas = torch.linspace(0.25, 1.0, 4, dtype=torch.float64, device=DEVICE)

        def slope(alpha: Tensor) -> Tensor:
            return torch.func.grad(lambda a: rrnn_ext.resolvent_penalty(w, u, v, alpha=a, hops=hops))(alpha)

        close(torch.vmap(slope)(alphas), torch.stack([slope(alpha) for alpha in alphas]))

    @pytest.mark.parametrize("function", ["resolvent", "hop_decomposition"])
    def test_vmap_of_matrices(self, function: str) -> None:
        batched = given(batches=((4,), (4,), (4,)))
        call = getattr(rrnn_ext, function)
        each = torch.stack([call(*matrices, hops=3) for matrices in zip(*batched, strict=True)])
        close(torch.vmap(lambda w, u, v: call(w, u, v, hops=3))(*batched), each)

    def test_divergence_under_vmap_is_still_an_error(self) -> None:
        w, u, v = given(batches=((3,), (3,), (3,)))
        w[1] *= 4
        assert_diverges(lambda: torch.vmap(penalty_of(3, 2, hops=None))(w, u, v))

    @pytest.mark.parametrize("hops", [4, None])
    @pytest.mark.parametrize("function", ["resolvent", "resolvent_penalty"])
    def test_jacrev(self, function: str, hops: int | None) -> None:
        matrices, places = given(), (0, 1, 2)
        actual = torch.func.jacrev(partial(getattr(rrnn_ext, function), hops=hops), places)(*matrices)
        expected = torch.func.jacrev(partial(getattr(reference, function), hops=hops), places)(*matrices)
        for a, b in zip(actual, expected, strict=True):
            close(a, b)

    def test_jacrev_of_hops(self) -> None:
        actual = torch.func.jacrev(partial(rrnn_ext.hop_decomposition, hops=3))(*given())
        close(actual, torch.func.jacrev(partial(reference.hop_decomposition, hops=3))(*given()))

    def test_hessian_by_jacrev_twice(self) -> None:
        w, u, v = given(n=4)
        hessian = torch.func.jacrev(torch.func.jacrev(lambda m: rrnn_ext.resolvent_penalty(m, u, v, hops=4)))(w)
        expected = torch.func.jacrev(torch.func.jacrev(lambda m: reference.resolvent_penalty(m, u, v, hops=4)))(w)
        close(hessian, expected, 1e-11)

    def test_functional_call(self) -> None:
        """Per-sample style: the weights of a module are passed as a dict."""
        rnn = torch.nn.RNN(3, 5, dtype=torch.float64).to(DEVICE)
        x = torch.ones(4, 2, 3, dtype=torch.float64, device=DEVICE)
        parameters = {name: parameter.detach() for name, parameter in rnn.named_parameters()}

        def loss(named: dict[str, Tensor]) -> Tensor:
            out, _ = torch.func.functional_call(rnn, named, (x,))
            return out.sum() + rrnn_ext.resolvent_penalty(named["weight_hh_l0"], named["weight_ih_l0"], hops=4)

        def expected_loss(named: dict[str, Tensor]) -> Tensor:
            out, _ = torch.func.functional_call(rnn, named, (x,))
            return out.sum() + reference.resolvent_penalty(named["weight_hh_l0"], named["weight_ih_l0"], hops=4)

        actual, expected = torch.func.grad(loss)(parameters), torch.func.grad(expected_loss)(parameters)
        for name in parameters:
            close(actual[name], expected[name])


class TestAutocast:
    @pytest.mark.parametrize("options", CASES, ids=named)
    @pytest.mark.parametrize(("i", "o"), SIDES)
    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
    def test_computes_in_float32(
        self, dtype: torch.dtype, i: int | None, o: int | None, options: dict[str, Any]
    ) -> None:
        leaves = [leaf.to(dtype).requires_grad_() for leaf in given(i, o)]
        constants = {k: x.to(torch.float32) if isinstance(x, Tensor) else x for k, x in options.items()}
        with torch.autocast(DEVICE.type, dtype=torch.bfloat16):
            value = penalty_of(i, o, **constants)(*leaves)
        gradients = torch.autograd.grad(value, leaves)
        exact = [leaf.detach().double().requires_grad_() for leaf in leaves]
        expected = penalty_of(i, o, **options)(*exact)
        assert value.dtype == torch.float32
        close(value.detach(), expected.detach(), 1e-5)
        for leaf, a, b in zip(leaves, gradients, torch.autograd.grad(expected, exact), strict=True):
            assert a.dtype == leaf.dtype
            close(a, b, 1e-5)

    def test_mixed_dtypes_promote(self) -> None:
        w, u, v = given()
        with torch.autocast(DEVICE.type, dtype=torch.bfloat16):
            value = rrnn_ext.resolvent_penalty(w.float(), u.bfloat16(), v.half(), hops=5)
        assert value.dtype == torch.float32
        rounded = (w.float().double(), u.bfloat16().double(), v.half().double())
        close(value, reference.resolvent_penalty(*rounded, hops=5), 1e-5)

    def test_double_stays_double(self) -> None:
        w, u, v = given()
        with torch.autocast(DEVICE.type, dtype=torch.bfloat16):
            value = rrnn_ext.resolvent_penalty(w, u, v, hops=5)
        assert value.dtype == torch.float64
        close(value, reference.resolvent_penalty(w, u, v, hops=5))

    def test_matrices(self) -> None:
        halves = [matrix.bfloat16() for matrix in given()]
        exact = [matrix.double() for matrix in halves]
        with torch.autocast(DEVICE.type, dtype=torch.bfloat16):
            total = rrnn_ext.resolvent(*halves, hops=5)
            terms = rrnn_ext.hop_decomposition(*halves, hops=5)
        assert total.dtype == terms.dtype == torch.float32
        close(total, reference.resolvent(*exact, hops=5), 1e-5)
        close(terms, reference.hop_decomposition(*exact, hops=5), 1e-5)

    def test_output_of_a_linear_layer(self) -> None:
        """Under autocast a computed weight arrives as bfloat16 beside float32 parameters."""
        w, u, v = (matrix.float() for matrix in given())
        with torch.autocast(DEVICE.type, dtype=torch.bfloat16):
            product = w @ torch.eye(6, device=DEVICE)
            assert product.dtype == torch.bfloat16
            value = rrnn_ext.resolvent_penalty(product, u, v, hops=5)
        close(value, reference.resolvent_penalty(product.double(), u.double(), v.double(), hops=5), 1e-5)
