"""What the CUDA ops ask of the device: launches that fit it, on the current stream alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from support.device import CUDA_EMULATED
from support.launches import recorded
from support.random_weights import weights
from support.sparse import masked
from torch import nn

import rrnn_ext

pytestmark = [
    pytest.mark.skipif(not CUDA_EMULATED, reason="emulated launches are recorded"),
    pytest.mark.emulated,
    pytest.mark.filterwarnings("ignore:Sparse:UserWarning"),
]


def leaves(n: int, inputs: int | None, outputs: int | None, batch: tuple[int, ...] = ()) -> dict[str, Any]:
    given = weights(n, inputs, outputs, dtype=torch.float32, batches=(batch, batch, batch))
    return {name: weight.requires_grad_() for name, weight in given.items()}


def dense(
    n: int = 33,
    sides: tuple[int | None, int | None] = (3, 2),
    batch: tuple[int, ...] = (),
    calls: int = 2,
    **options: Any,
) -> None:
    """A first call makes .grad, a second one adds to it."""
    given = leaves(n, *sides, batch)
    for _ in range(calls):
        rrnn_ext.accumulate_penalty_grad(**given, **{"hops": 4, **options})


def sparse(hops: int = 3) -> None:
    given = {**leaves(9, 3, 2), "weight_hh": masked(9, 0.4, dtype=torch.float32).to_sparse_csr().requires_grad_()}
    rrnn_ext.resolvent_penalty(**given, hops=hops).backward()


def running(hops: int = 3) -> None:
    rnn, readout = nn.GRU(2, 5), nn.Linear(5, 3)
    penalty = rrnn_ext.ResolventPenalty(rnn, readout, hops=hops)
    x = torch.randn(8, 2, 2)
    penalty(x, rnn(x)[0]).backward()


CALLS: dict[str, Callable[[], None]] = {
    "total": dense,
    "one side": lambda: dense(sides=(3, None)),
    "per hop": lambda: dense(per_hop=True, hop_weights=torch.tensor([1.0, 2.0, 0.5, 1.0])),
    "batch": lambda: dense(batch=(3,)),
    "rectified": lambda: dense(rectify=True),
    "nothing": lambda: dense(sides=(0, 2)),
    "sparse": sparse,
    "running": running,
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_everything_is_on_the_current_stream(call: Callable[[], None]) -> None:
    """So that a user may put a penalty on a stream beside the network's."""
    with recorded(stream=42) as launches:
        call()
    assert launches
    assert {launch.stream for launch in launches} == {42}


@pytest.mark.parametrize(
    ("asked", "count"),
    [
        ({}, 4),  # chains of both sides, walks and norm, reverse chain, gradient of W
        ({"sides": (3, None)}, 6),
        ({"sides": (2, 40)}, 6),  # one side's chain and its reverse one
        ({"per_hop": True}, 6),
        ({"batch": (5,)}, 4),
        ({"n": 600}, 4),
        ({"rectify": True}, 6),  # and the sums of the sides, and the way back
        ({"rectify": True, "sides": (1, 1)}, 4),
    ],
    ids=str,
)
def test_launches_of_value_and_gradient(asked: dict[str, Any], count: int) -> None:
    """As the table of docs/cuda.md has them."""
    with recorded() as launches:
        dense(**asked, hops=20, calls=1)
    assert len(launches) == count


@pytest.mark.parametrize(
    ("call", "count"),
    [
        (lambda hops: dense(hops=hops), 0),
        (sparse, 3),  # a product there, one back and its part of the gradient
        (running, 4),  # a product and what the step does with it, there and back
    ],
    ids=["dense", "sparse", "running"],
)
def test_launches_of_a_hop_more(call: Callable[[int], None], count: int) -> None:
    counts = []
    for hops in (4, 5):
        with recorded() as launches:
            call(hops)
        counts.append(len(launches))
    assert counts[1] - counts[0] == count


def test_barriers_of_a_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    """One a hop, where blocks exchange what they know, and none after the last."""
    monkeypatch.setenv("EMULATED_MULTIPROCESSORS", "12")
    with recorded() as launches:
        dense(n=300, hops=20, calls=1)
    assert [launch.barriers for launch in launches] == [19, 0, 0, 0]


def test_too_many_blocks_for_a_barrier_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clear error where the device turns out to run fewer blocks at once than the layout counts on."""
    monkeypatch.setenv("EMULATED_MULTIPROCESSORS", "3")
    monkeypatch.setenv("EMULATED_CLUSTER", "1")
    monkeypatch.setenv("EMULATED_THREADS", "256")
    with pytest.raises(RuntimeError, match=r"3 blocks of a kernel have to run at once, .* room for 0"):
        dense(n=300)
