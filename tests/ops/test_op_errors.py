"""The checks of the ops' own, below the public functions: what does not fit is named, with what was needed and came."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from support.device import DEVICE
from support.op_calls import CALLS, CASES, op
from torch import Tensor

GRAPH: list[tuple[dict[str, Any], str]] = [
    ({"weight_hh": torch.ones(3, 3).half()}, "weight_hh must be float32 or float64"),
    ({"weight_hh": torch.ones(3, 3).long()}, "weight_hh must be float32 or float64"),
    ({"weight_hh": torch.ones(3)}, "weight_hh must be (n, n) or (batch, n, n), got (3,)"),
    ({"weight_hh": torch.ones(2, 2, 3, 3)}, "weight_hh must be (n, n) or (batch, n, n), got (2, 2, 3, 3)"),
    ({"weight_hh": torch.ones(2, 3)}, "weight_hh must be (3, 3), got (2, 3)"),
    ({"weight_hh": torch.ones(2, 2, 3)}, "weight_hh must be (2, 3, 3), got (2, 2, 3)"),
    ({"weight_hh": torch.ones(2, 3, 3)}, "weight_in must be (2, 3, *), got (3, 2)"),
    ({"weight_in": torch.ones(2, 3, 2)}, "weight_in must be (3, *), got (2, 3, 2)"),
    ({"weight_in": torch.ones(2, 3)}, "weight_in must be (3, *), got (2, 3)"),
    ({"weight_in": torch.ones(3)}, "weight_in must be (3, *), got (3,)"),
    ({"weight_in": torch.ones(3, 2).double()}, "weight_in must have the dtype of weight_hh"),
    ({"weight_out": torch.ones(2, 2)}, "weight_out must be (*, 3), got (2, 2)"),
    ({"weight_out": torch.ones(2, 3).bfloat16()}, "weight_out must have the dtype of weight_hh"),
    ({"weight_in": None, "weight_out": None}, "weight_in or weight_out must be given"),
    ({"hops": 0}, "hops must be at least 1, got 0"),
    ({"hops": -(2**63)}, "hops must be at least 1, got -9223372036854775808"),
    ({"hop_weights": torch.ones(2)}, "got (2,)"),
    ({"hop_weights": torch.ones(4)}, "got (4,)"),
    ({"hop_weights": torch.ones(1, 3)}, "got (1, 3)"),
    ({"hop_weights": torch.tensor(1.0)}, "got ()"),
    ({"hop_weights": torch.ones(3).double()}, "hop_weights must have the dtype of weight_hh"),
]
PAIRS: list[tuple[dict[str, Any], str]] = [
    ({"pair_weights": torch.ones(3, 2)}, "pair_weights must be (2, 2), got (3, 2)"),
    ({"pair_weights": torch.ones(1, 2, 2)}, "pair_weights must be (2, 2), got (1, 2, 2)"),
    ({"pair_weights": torch.tensor(1.0)}, "pair_weights must be (2, 2), got ()"),
    ({"pair_weights": torch.ones(2, 2).double()}, "pair_weights must have the dtype of weight_hh"),
]
KIND: list[tuple[dict[str, Any], str]] = [
    ({"chain_kind": 3}, "chain_kind must be 0 (none), 1 (narrow) or 2 (both), got 3"),
    ({"chain_kind": 2, "weight_in": None}, "chain_kind 2 (both) needs weight_in and weight_out, and a sum"),
    ({"chain_kind": 2, "per_hop": True}, "chain_kind 2 (both) needs weight_in and weight_out, and a sum"),
]
NORM: list[tuple[dict[str, Any], str]] = [({"norm": 2}, "norm must be a number from 0 (l1) to 1, got 2")]
CHAIN: list[tuple[dict[str, Any], str]] = [
    ({"chain": torch.ones(0)}, "chain must be (3, width, 3) as the forward op keeps it, got (0,)"),
    ({"chain": torch.ones(3, 1, 3)}, "chain must be (3, width, 3) as the forward op keeps it, got (3, 1, 3)"),
    ({"chain": torch.ones(3, 2, 3).half()}, "chain must have the dtype of weight_hh"),
    ({"hops": 4}, "chain must be (4, width, 3) as the forward op keeps it, got (3, 2, 3)"),
]
BATCH: list[tuple[dict[str, Any], str]] = [
    ({"weight_hh": torch.ones(1, 3, 3).half()}, "weight_hh must be float32 or float64"),
    ({"weight_hh": torch.ones(3, 3)}, "weight_hh must be (batch, n, n), got (3, 3)"),
    ({"weight_hh": torch.ones(1, 2, 3)}, "weight_hh must be (1, 3, 3), got (1, 2, 3)"),
]
ALL_PAIRS: list[tuple[dict[str, Any], str]] = [
    ({"pair_weights": torch.ones(2, 3)}, "pair_weights must be (3, 3), got (2, 3)"),
    ({"pair_weights": torch.ones(2, 3, 3)}, "pair_weights must be (1, 3, 3), got (2, 3, 3)"),
    ({"pair_weights": torch.ones(3, 3).double()}, "pair_weights must have the dtype of weight_hh"),
]
WRONG = {
    "finite_walks": [*GRAPH, *KIND],
    "finite_walks_penalty": [*GRAPH, *KIND, *PAIRS, *NORM],
    "penalty_value_and_grad": [*GRAPH, *PAIRS, *NORM],
    "finite_walks_backward": [
        *GRAPH,
        *CHAIN,
        ({"grad_walks": torch.ones(1, 2, 3)}, "grad_walks must have the shape of walks, got (1, 2, 3)"),
        ({"grad_walks": torch.ones(0)}, "grad_walks must have the shape of walks, got (0,)"),
        ({"grad_walks": torch.ones(1, 2, 2).half()}, "grad_walks must have the dtype of weight_hh"),
    ],
    "finite_walks_penalty_backward": [
        *GRAPH,
        *PAIRS,
        *CHAIN,
        ({"grad_value": torch.ones(2)}, "grad_value must have one element a graph, got (2,)"),
        ({"grad_value": torch.ones(0)}, "grad_value must have one element a graph, got (0,)"),
        ({"grad_value": torch.tensor(1.0).half()}, "grad_value must have the dtype of weight_hh"),
        ({"walks": torch.ones(3, 2, 2)}, "walks must come from the forward op, got (3, 2, 2)"),
        ({"walks": torch.ones(1, 2, 2).half()}, "walks must have the dtype of weight_hh"),
    ],
    "pathway": [
        *BATCH,
        ({"sources": torch.ones(1, 2)}, "sources must be (1, 3), got (1, 2)"),
        ({"targets": torch.ones(3)}, "targets must be (1, 3), got (3,)"),
        ({"targets": torch.ones(1, 3).double()}, "targets must have the dtype of weight_hh"),
    ],
    "pathway_backward": [
        *BATCH,
        ({"x": torch.ones(2, 3)}, "x must be (1, 3), got (2, 3)"),
        ({"y": torch.ones(1, 3).double()}, "y must have the dtype of weight_hh"),
        ({"scale": torch.ones(2)}, "scale must have one element a graph, got (2,)"),
        ({"scale": torch.ones(1).half()}, "scale must have the dtype of weight_hh"),
    ],
    "all_pairs_penalty": [*BATCH, *ALL_PAIRS, *NORM],
    "all_pairs_penalty_backward": [
        *BATCH,
        *ALL_PAIRS,
        ({"walks": torch.ones(1, 3, 2)}, "walks must be (1, 3, 3), got (1, 3, 2)"),
        ({"walks": torch.ones(1, 3, 3).double()}, "walks must have the dtype of weight_hh"),
        ({"grad_value": torch.ones(0)}, "grad_value must have one element a graph, got (0,)"),
        ({"grad_value": torch.ones(1).half()}, "grad_value must have the dtype of weight_hh"),
    ],
}


def on_device(change: dict[str, Any]) -> dict[str, Any]:
    return {name: each.to(DEVICE) if isinstance(each, Tensor) else each for name, each in change.items()}


@pytest.mark.emulated
@pytest.mark.parametrize(
    ("name", "change", "text"),
    [(name, change, text) for name, changes in WRONG.items() for change, text in changes],
)
def test_wrong_arguments_are_errors(name: str, change: dict[str, Any], text: str) -> None:
    arguments = next(CALLS[name](CASES["plain"], torch.float32))
    with pytest.raises(RuntimeError, match=re.escape(text)):
        op(name)(**{**arguments, **on_device(change)})


@pytest.mark.emulated
@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"weight_in": torch.ones(3, 3, 2)}, "weight_in must be (2, 3, *), got (3, 3, 2)"),
        ({"weight_out": torch.ones(2, 3)}, "weight_out must be (2, *, 3), got (2, 3)"),
        ({"hop_weights": torch.ones(3, 3)}, "hop_weights must be (2, 3) or (3,), got (3, 3)"),
        ({"hop_weights": torch.ones(2, 4)}, "hop_weights must be (2, 3) or (3,), got (2, 4)"),
        ({"pair_weights": torch.ones(3, 2, 2)}, "pair_weights must be (2, 2, 2), got (3, 2, 2)"),
    ],
)
def test_wrong_batches_are_errors(change: dict[str, Any], text: str) -> None:
    arguments = next(CALLS["finite_walks_penalty"](CASES["batch"], torch.float32))
    with pytest.raises(RuntimeError, match=re.escape(text)):
        op("finite_walks_penalty")(**{**arguments, **on_device(change)})


def test_more_memory_than_there_is_is_an_error() -> None:
    arguments = next(CALLS["finite_walks"](CASES["plain"], torch.float32))
    with pytest.raises(RuntimeError):
        op("finite_walks")(**{**arguments, "hops": 2**50})
