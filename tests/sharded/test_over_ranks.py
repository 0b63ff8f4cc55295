"""Weights that are sharded over processes: each case of tests/support/sharded, in groups of 2, 3 and 4 of them."""

from __future__ import annotations

import pytest
import torch
from support.sharded import ranks

pytestmark = pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="PyTorch was built without gloo")


@pytest.mark.parametrize("size", [2, 3, 4])
@pytest.mark.parametrize("case", ranks.names())
def test_over_ranks(case: str, size: int) -> None:
    """A group stops at the first case that fails."""
    failures = ranks.failures(size)
    assert case not in failures, failures[case]
    assert not failures, f"{case} was not reached on all ranks: {', '.join(failures)} failed before"
