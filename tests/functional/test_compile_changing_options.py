"""Options that change from call to call of a compiled function: neither stale values nor endless recompilation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from support.device import DEVICE
from support.random_weights import weights
from support.ways import close
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend

import rrnn_ext
from rrnn_ext import reference

# Static first, then with the option as a variable; 1 is a case of its own to the compiler.
CHANGES_THAT_COMPILE = 3


@pytest.fixture(autouse=True)
def fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def matrices(i: int | None = 3, o: int | None = 2) -> dict[str, Any]:
    return weights(6, i, o, seed=5)


def check_changes(
    loss: Callable[..., Tensor], changes: list[Any], given: dict[str, Tensor], exact: Callable[..., Tensor]
) -> None:
    """Values and gradients for each change in turn, from as few graphs as there should be."""
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(loss, fullgraph=True, backend=counter)
    graphs = []
    for change in changes:
        leaves = {name: leaf.clone().requires_grad_() for name, leaf in given.items()}
        results = []
        for function in (compiled, exact):
            value = function(change, **leaves)
            results.append([value, *torch.autograd.grad(value, [*leaves.values()], materialize_grads=True)])
        for mine, right in zip(*results, strict=True):
            torch.testing.assert_close(mine, right, rtol=1e-10, atol=1e-10)
        graphs.append(counter.frame_count)
    assert graphs[CHANGES_THAT_COMPILE:] == graphs[CHANGES_THAT_COMPILE - 1 : -1]


@pytest.mark.parametrize(("requires_grad", "backend"), [(False, "inductor"), (True, "aot_eager")])
def test_an_alpha_that_is_computed_from_a_float(requires_grad: bool, backend: str) -> None:
    """The float is used beside the penalty too, so that the compiler makes a variable of it."""

    def loss(module: Any, a: float, w: Tensor, u: Tensor, v: Tensor) -> Tensor:
        return (w * a).sum() + module.resolvent_penalty(w, u, v, hops=4, alpha=0.5 * a + 0.1)

    given = [leaf.requires_grad_(requires_grad) for leaf in matrices().values()]
    compiled = torch.compile(loss, backend=backend)
    for a in (0.9, 0.8, 0.7, 0.6):
        close(f"value at {a}", compiled(rrnn_ext, a, *given), loss(reference, a, *given).detach())


def check_function(
    function: str, option: str, changes: list[Any], sides: tuple[int | None, int | None], options: dict[str, Any]
) -> None:
    def loss(module: Any, options: dict[str, Any], change: Any, **leaves: Tensor) -> Tensor:
        return getattr(module, function)(**leaves, **{option: change}, **options).square().sum()

    exact = {name: value for name, value in options.items() if name != "method"}
    check_changes(
        lambda change, **leaves: loss(rrnn_ext, options, change, **leaves),
        changes,
        matrices(*sides),
        lambda change, **leaves: loss(reference, exact, change, **leaves),
    )


@pytest.mark.parametrize(
    ("function", "sides", "options"),
    [
        ("resolvent_penalty", (3, 2), {"hops": 4}),
        ("resolvent_penalty", (None, 2), {"hops": 4, "rectify": True, "per_hop": True}),
        ("resolvent_penalty", (3, 2), {"hops": 4, "method": "inverse"}),
        ("resolvent_penalty", (3, 2), {"hops": None}),
        ("resolvent_penalty", (3, 2), {"hops": None, "rectify": True}),
        ("resolvent", (None, None), {"hops": 4}),
        ("resolvent", (None, None), {"hops": None}),
        ("hop_decomposition", (3, None), {"hops": 4}),
    ],
)
def test_twelve_alphas(function: str, sides: tuple[int | None, int | None], options: dict[str, Any]) -> None:
    check_function(function, "alpha", [0.05 * k + 0.3 for k in range(12)], sides, options)


@pytest.mark.parametrize(
    ("function", "sides", "options"),
    [
        ("resolvent_penalty", (3, 2), {}),
        ("resolvent_penalty", (None, 2), {"per_hop": True, "norm": "l2"}),
        ("resolvent_penalty", (1, 1), {"rectify": True}),
        ("resolvent_penalty", (3, 2), {"method": "inverse"}),
        ("resolvent", (None, None), {}),
        ("hop_decomposition", (3, 2), {}),
    ],
)
def test_twelve_hops(function: str, sides: tuple[int | None, int | None], options: dict[str, Any]) -> None:
    check_function(function, "hops", list(range(1, 13)), sides, options)


def test_twelve_lengths_of_hop_weights() -> None:
    def loss(module: Any, factors: Tensor, **leaves: Tensor) -> Tensor:
        return module.resolvent_penalty(**leaves, hops=factors.shape[0], hop_weights=factors, per_hop=True)

    lengths = [torch.linspace(-1.0, 2.0, hops, dtype=torch.float64, device=DEVICE) for hops in range(2, 14)]
    check_changes(
        lambda factors, **leaves: loss(rrnn_ext, factors, **leaves),
        lengths,
        matrices(),
        lambda factors, **leaves: loss(reference, factors, **leaves),
    )


@pytest.mark.parametrize("hops", [4, None])
def test_a_tensor_alpha_takes_one_graph(hops: int | None) -> None:
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(rrnn_ext.resolvent_penalty, fullgraph=True, backend=counter)
    given, graphs = matrices(), set()
    for alpha in torch.linspace(0.3, 0.9, 12, dtype=torch.float64, device=DEVICE):
        value = compiled(**given, hops=hops, alpha=alpha.clone())
        close(f"value at {alpha}", value, reference.resolvent_penalty(**given, hops=hops, alpha=alpha))
        graphs.add(counter.frame_count)
    assert len(graphs) == 1
