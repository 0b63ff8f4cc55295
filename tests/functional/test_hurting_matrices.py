"""Matrices made to hurt: every result is within its stated bound of exact arithmetic, or it is a typed error.

An error has to be justified too. Finite sums by series never have one; an infinite sum that clearly converges and whose
condition is mild has a number; one that does not converge has none. The bounds are in exact_walks.py.
"""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import dataclass, replace

import pytest
import torch
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st
from support.device import DEVICE
from support.hurting_checks import (
    check_batch,
    check_finite,
    check_finite_gradients,
    check_infinite,
    check_infinite_gradients,
    outcome,
)
from support.hurting_matrices import FAMILIES, SIZES, Weights, weights
from torch import Tensor

import rrnn_ext

REALS = [torch.float64, torch.float32]
HALVES = [torch.float16, torch.bfloat16]
METHODS = ["auto", "series", "inverse"]

# A twelfth of what the profile says: there are many kinds. To explain a failure would take far longer than to find it.
FEW = settings(
    max_examples=settings().max_examples // 12,
    phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
    report_multiple_bugs=False,
)

pytestmark = pytest.mark.usefixtures("one_thread")


@st.composite
def hops_for(draw: st.DrawFn, case: Weights) -> int:
    """Finite, and as many as exact arithmetic can do in a moment."""
    n = case.weight_hh.shape[-1]
    width = n if case.weight_in is None else case.weight_in.shape[-1]
    most = 15_000 // max(1, n * n * width)
    return draw(st.sampled_from([hops for hops in (1, 2, 3, 7, 20, 64, 300) if hops <= max(most, 7)]))


@st.composite
def hop_weights_for(draw: st.DrawFn, hops: int, dtype: torch.dtype) -> Tensor | None:
    kind = draw(st.sampled_from(("none", "none", "wave", "first", "last", "factorial")))
    if kind == "none":
        return None
    numbers = {
        "wave": [(m % 7 - 3) / 2 for m in range(hops)],  # zero and negative ones among them
        "first": [float(m < 3) for m in range(hops)],
        "last": [-float(m == hops - 1) for m in range(hops)],
        "factorial": [math.exp(-math.lgamma(m + 1)) for m in range(hops)],
    }[kind]
    return torch.tensor(numbers, dtype=dtype, device=DEVICE)


@st.composite
def pair_weights_for(draw: st.DrawFn, case: Weights) -> Tensor | None:
    """Quarters up to one, zero among them where there are five pairs."""
    if draw(st.booleans()):
        return None
    n = case.weight_hh.shape[-1]
    o = n if case.weight_out is None else case.weight_out.shape[-2]
    i = n if case.weight_in is None else case.weight_in.shape[-1]
    quarters = torch.arange(1, o * i + 1).remainder(5).div(4).reshape(o, i)
    return quarters.to(DEVICE, torch.float64 if case.weight_hh.dtype == torch.float64 else torch.float32)


@pytest.mark.parametrize("dtype", REALS, ids=str)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("family", FAMILIES)
class TestRealNumbers:
    @FEW
    @given(data=st.data())
    def test_finite(self, family: str, method: str, dtype: torch.dtype, data: st.DataObject) -> None:
        case = data.draw(weights(family, dtype))
        hops, rectify = data.draw(hops_for(case)), data.draw(st.booleans())
        hop_weights = None if method == "inverse" else data.draw(hop_weights_for(hops, dtype))
        check_finite(case, rectify, hops, hop_weights, data.draw(pair_weights_for(case)), method)

    @FEW
    @given(data=st.data())
    def test_infinite(self, family: str, method: str, dtype: torch.dtype, data: st.DataObject) -> None:
        case, rectify = data.draw(weights(family, dtype)), data.draw(st.booleans())
        check_infinite(case, rectify, data.draw(pair_weights_for(case)), method)


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("family", FAMILIES)
@FEW
@given(data=st.data())
def test_halves(family: str, dtype: torch.dtype, data: st.DataObject) -> None:
    case, rectify = data.draw(weights(family, dtype)), data.draw(st.booleans())
    pair_weights = data.draw(pair_weights_for(case))
    method = data.draw(st.sampled_from(METHODS))
    if data.draw(st.booleans()):
        check_infinite(case, rectify, pair_weights, method)
    else:
        hops = data.draw(hops_for(case))
        hop_weights = None if method == "inverse" else data.draw(hop_weights_for(hops, torch.float32))
        check_finite(case, rectify, hops, hop_weights, pair_weights, method)


@pytest.mark.parametrize("dtype", REALS, ids=str)
@pytest.mark.parametrize("family", FAMILIES)
class TestGradients:
    @FEW
    @given(data=st.data())
    def test_finite(self, family: str, dtype: torch.dtype, data: st.DataObject) -> None:
        case, rectify = data.draw(weights(family, dtype)), data.draw(st.booleans())
        hops, per_hop, squared = data.draw(hops_for(case)), data.draw(st.booleans()), data.draw(st.booleans())
        hop_weights = data.draw(hop_weights_for(hops, dtype))
        pair_weights = data.draw(pair_weights_for(case))
        check_finite_gradients(case, rectify, hops, hop_weights, pair_weights, per_hop, squared)

    @FEW
    @given(data=st.data())
    def test_infinite(self, family: str, dtype: torch.dtype, data: st.DataObject) -> None:
        case, rectify = data.draw(weights(family, dtype)), data.draw(st.booleans())
        pair_weights, squared = data.draw(pair_weights_for(case)), data.draw(st.booleans())
        check_infinite_gradients(case, rectify, pair_weights, squared, data.draw(st.sampled_from(METHODS)))


@pytest.mark.parametrize("dtype", REALS, ids=str)
@pytest.mark.parametrize("method", METHODS)
@FEW
@given(data=st.data())
def test_batches(method: str, dtype: torch.dtype, data: st.DataObject) -> None:
    """Of any kinds side by side."""
    sizes = data.draw(SIZES)
    kinds = st.sampled_from([family for family in FAMILIES if family != "tiny"])
    cases = [data.draw(weights(data.draw(kinds), dtype, sizes)) for _ in range(3)]
    cases = [replace(case, alpha=cases[0].alpha) for case in cases]
    check_batch(cases, data.draw(st.sampled_from((None, 1, 5))), method)


# Small ones that drawing might miss: rows of weight_hh, and a read-out or none.
NAMED: dict[str, tuple[list[list[float]], list[float] | None]] = {
    "reducible, diverging": ([[2.0, 8.0], [0.0, 2.0]], None),
    "reducible, barely diverging": ([[1.001, 8.0], [0.0, 1.001]], None),
    "one-way into a rotation": ([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [8.0, 0.0, 0.5]], None),
    "small beside 1": ([[1e-9, 0.0], [0.0, 1e-9]], None),
    "a unit that none reaches": ([[0.0, 0.0, 0.0], [0.3, 0.1, 0.2], [0.7, 0.3, 0.3]], None),
    "nearly stochastic, read out": ([[0.52642041, 0.47257957], [0.61798567, 0.38101435]], [-1.0163, -0.0721]),
    "graded": ([[0.3272, 2.4506e-31], [-7.5457e28, -0.22903]], None),
    "singular but for float64": (
        [
            [0.9999989867, -4.893727303, -3.436326027],
            [3.19e-17, 3.499368191, 1.755031943],
            [-4.5e-17, -3.559391737, -1.4993701],
        ],
        None,
    ),
}


@pytest.mark.parametrize("dtype", REALS, ids=str)
@pytest.mark.parametrize("name", NAMED)
class TestNamed:
    def case(self, name: str, dtype: torch.dtype) -> Weights:
        rows, readout = NAMED[name]
        w = torch.tensor(rows, dtype=dtype, device=DEVICE)
        return Weights(w, None, None if readout is None else torch.tensor([readout], dtype=dtype, device=DEVICE), 1.0)

    @pytest.mark.parametrize("rectify", [False, True])
    @pytest.mark.parametrize("method", METHODS)
    def test_sums(self, method: str, rectify: bool, name: str, dtype: torch.dtype) -> None:
        case = self.case(name, dtype)
        check_infinite(case, rectify, None, method)
        check_finite(case, rectify, 7, None, None, method)

    @pytest.mark.parametrize("squared", [False, True])
    def test_gradients(self, squared: bool, name: str, dtype: torch.dtype) -> None:
        case = self.case(name, dtype)
        check_infinite_gradients(case, False, None, squared, "auto")
        check_finite_gradients(case, False, 7, None, None, False, squared)


@dataclass(frozen=True)
class LongChain:
    """A chain of many units in any order, the others beside it shrinking, and what walks from its first to its last."""

    weight_hh: Tensor
    weight_in: Tensor
    weight_out: Tensor
    value: float


@st.composite
def long_chains(draw: st.DrawFn, dtype: torch.dtype) -> LongChain:
    """Gains of powers of two: what walks fades below rounding and grows again, in stretches of up to 100 hops."""
    steepest, reach = (1, 120) if dtype == torch.float32 else (3, 1000)
    stretches = draw(st.lists(st.tuples(st.integers(1, 100), st.integers(-steepest, steepest)), min_size=1, max_size=4))
    powers = [power for length, power in stretches for _ in range(length)][:250]
    heights = list(itertools.accumulate(powers, initial=0))
    assume(max(heights) - min(heights) < reach)  # from whichever end, the dtype holds what walks
    others = draw(st.sampled_from((0, 3)))
    n = len(powers) + 1 + others
    order = list(range(n))
    if draw(st.booleans()):
        random.Random(n).shuffle(order)
    w = torch.zeros(n, n, dtype=dtype)
    for k, power in enumerate(powers):
        w[order[k + 1], order[k]] = 2.0**power
    for k in range(n - others, n):
        w[order[k], order[k]] = 0.75
    picks = torch.eye(n, dtype=dtype)
    u, v = picks[:, order[:1]], picks[order[len(powers)]][None]
    return LongChain(w.to(DEVICE), u.to(DEVICE), v.to(DEVICE), 2.0 ** heights[-1])


def check_chain(chain: LongChain, hops: int | None, method: str, rectify: bool) -> None:
    case = Weights(chain.weight_hh, chain.weight_in, chain.weight_out, 1.0)
    for function in (rrnn_ext.resolvent, rrnn_ext.resolvent_penalty):
        result = outcome(function, case, hops=hops, method=method, rectify=rectify)
        if hops is not None and method != "inverse":
            assert isinstance(result, Tensor), result
        if isinstance(result, Tensor):
            # Finite sums add one power of two to zeros.
            tolerance = 2.0**-11 if hops is None or method == "inverse" else 0.0
            assert result.item() == pytest.approx(chain.value, rel=tolerance, abs=0)


@pytest.mark.parametrize("dtype", REALS, ids=str)
@pytest.mark.parametrize("method", METHODS)
class TestLongChains:
    """Nilpotent: every infinite sum is finite, and no size of a term tells that it is over."""

    @pytest.mark.parametrize("hops", [251, 400, None])
    @pytest.mark.parametrize("rectify", [False, True])
    def test_hundred_halves_then_doubles(
        self, method: str, dtype: torch.dtype, hops: int | None, rectify: bool
    ) -> None:
        w = torch.diag(torch.tensor([0.5] * 100 + [2.0] * 150, dtype=dtype), -1).to(DEVICE)
        picks = torch.eye(251, dtype=dtype, device=DEVICE)
        check_chain(LongChain(w, picks[:, :1], picks[250:], 2.0**50), hops, method, rectify)

    @FEW
    @given(data=st.data())
    def test_humps(self, method: str, dtype: torch.dtype, data: st.DataObject) -> None:
        chain = data.draw(long_chains(dtype))
        hops = data.draw(st.sampled_from((None, None, chain.weight_hh.shape[-1], 300)))
        check_chain(chain, hops, method, data.draw(st.booleans()))


@pytest.mark.parametrize("seed", range(100, 110))
@pytest.mark.parametrize("method", METHODS)
def test_stochastic_matrix(method: str, seed: int) -> None:
    """Every hop passes all on: eight units and twenty hops give 160, and no limit."""
    drawn = torch.rand(8, 8, generator=torch.Generator().manual_seed(seed))
    p = (drawn / drawn.sum(-1, keepdim=True)).to(DEVICE)
    case = Weights(p, None, None, 1.0)
    for function in (rrnn_ext.resolvent, rrnn_ext.resolvent_penalty):
        result = outcome(function, case, hops=20, method=method)
        if method != "inverse":
            assert isinstance(result, Tensor), result
        if isinstance(result, Tensor):
            assert result.sum().item() == pytest.approx(160, rel=2.0**-11)
    check_infinite(case, False, None, method)
