"""No two threads of a kernel touch the same number, one of them writing, without a barrier between: watched by the
emulation, which ends the process where they do. Together these calls launch every kernel, in every layout of its
blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from support.random_weights import weights
from support.sparse import masked
from torch import nn

import rrnn_ext
from rrnn_ext import _C
from rrnn_ext.spiking import LIF

WATCHED = getattr(_C, "watches_accesses", False)

pytestmark = [
    pytest.mark.skipif(not WATCHED, reason="only make races builds kernels that can be watched"),
    pytest.mark.emulated,
    pytest.mark.filterwarnings("ignore:Sparse:UserWarning"),
]


@pytest.fixture(autouse=True)
def watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMULATED_RACES", "1")


def dense(n: int, i: int | None, o: int | None, *, batch: tuple[int, ...] = (), **options: Any) -> None:
    given = weights(n, i, o, dtype=torch.float32, batches=(batch, batch, batch))
    rrnn_ext.resolvent_penalty(**{name: each.requires_grad_() for name, each in given.items()}, **options).backward()


def sparse(**options: Any) -> None:
    given = weights(9, 3, 2, dtype=torch.float32)
    given["weight_hh"] = masked(9, 0.4, dtype=torch.float32).to_sparse_csr()
    rrnn_ext.resolvent_penalty(**{name: each.requires_grad_() for name, each in given.items()}, **options).backward()


def running(hops: int, per_hop: bool) -> None:
    rnn, readout = nn.LSTM(2, 5), nn.Linear(5, 3)
    x = torch.randn(6, 2, 2)
    rrnn_ext.ResolventPenalty(rnn, readout, hops=hops, per_hop=per_hop)(x, rnn(x)[0]).backward()


def spiking(recurrent: int | None) -> None:
    current = 40 * torch.rand(5, 2, 40, generator=torch.Generator().manual_seed(0))
    LIF(tau=20e-3, dt=1e-3, recurrent=recurrent)(current.requires_grad_()).sum().backward()


@pytest.mark.parametrize(
    ("multiprocessors", "shared_bytes", "cluster"),
    [(1, 232448, 8), (12, 101376, 8), (12, 101376, 1), (2, 101376, 1)],
    ids=["one block", "clusters", "grid", "streamed tiles"],
)
def test_chains(monkeypatch: pytest.MonkeyPatch, multiprocessors: int, shared_bytes: int, cluster: int) -> None:
    monkeypatch.setenv("EMULATED_MULTIPROCESSORS", str(multiprocessors))
    monkeypatch.setenv("EMULATED_SHARED_BYTES", str(shared_bytes))
    monkeypatch.setenv("EMULATED_CLUSTER", str(cluster))
    dense(197, 9, 3, hops=3)
    dense(130, 2, None, hops=3, rectify=True)
    dense(70, 2, 3, hops=3, per_hop=True, batch=(3,))


NOT_DOMINANT = 1.4  # the norms of A are above 1, its radius is not: powers tell
CALLS: dict[str, Callable[[], None]] = {
    "many walks": lambda: dense(9, 70, 80, hops=2),
    "sums of sides": lambda: dense(40, 3, 2, hops=2, rectify=True, batch=(2,)),
    "all lags": lambda: dense(33, None, None, alpha=NOT_DOMINANT),
    "all lags of more units": lambda: dense(70, None, None, batch=(2,), alpha=NOT_DOMINANT),
    "all lags in device memory": lambda: dense(132, None, None, alpha=NOT_DOMINANT),
    "a pathway's all lags": lambda: dense(40, 3, 2, rectify=True),
    "all lags with sides": lambda: dense(20, 3, 2),
    "sparse": lambda: sparse(hops=3),
    "sparse, per hop": lambda: sparse(hops=3, per_hop=True),
    "running": lambda: running(3, False),
    "running, per hop": lambda: running(3, True),
    "spiking": lambda: spiking(None),
    "spiking, recurrent": lambda: spiking(40),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_no_races(call: Callable[[], None]) -> None:
    call()
