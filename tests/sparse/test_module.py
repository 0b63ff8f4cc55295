"""ResolventPenalty of sparse weights, training of stored values, and the page on it."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
import torch
from support.device import DEVICE
from support.sparse import drawn, masked
from torch import Tensor, nn

import rrnn_ext
from rrnn_ext.sparse import Pattern

pytestmark = pytest.mark.filterwarnings("ignore:Sparse:UserWarning")


class Network(nn.Module):
    """A sparse recurrent weight as a CSR Parameter, and as a Parameter of values."""

    def __init__(self) -> None:
        super().__init__()
        sparse = masked(8, 0.4, dtype=torch.float32).to_sparse_csr()
        self.weight = nn.Parameter(sparse)
        self.values = nn.Parameter(sparse.values().detach().clone())
        self.encoder = nn.Linear(3, 8, device=DEVICE)

    def recurrent(self) -> Any:
        return torch.sparse_csr_tensor(self.weight.crow_indices(), self.weight.col_indices(), self.values, (8, 8))

    def of_pattern(self) -> Any:
        return Pattern.of(self.weight).with_values(self.values)


@pytest.mark.parametrize("name", ["weight", "recurrent", "of_pattern"])
def test_penalty_of_a_model(name: str) -> None:
    model = Network()
    units = torch.tensor([1, 6], device=DEVICE)
    source = name if name == "weight" else getattr(model, name)
    penalty = rrnn_ext.ResolventPenalty.from_weights(model, source, "encoder.weight", units, hops=5, alpha=0.7)
    dense = model.weight.detach().to_dense().requires_grad_()
    eye = torch.eye(8, device=DEVICE)
    sides = model.encoder.weight.detach(), eye[units]
    expected = rrnn_ext.resolvent_penalty(dense, *sides, hops=5, alpha=0.7)
    torch.testing.assert_close(penalty(), expected)
    torch.testing.assert_close(penalty.resolvent(), rrnn_ext.resolvent(dense, *sides, hops=5, alpha=0.7))
    torch.testing.assert_close(
        penalty.hop_decomposition(), rrnn_ext.hop_decomposition(dense, *sides, hops=5, alpha=0.7)
    )
    penalty().backward()
    expected.backward()
    assert dense.grad is not None
    gradient = model.weight.grad if name == "weight" else model.values.grad
    assert gradient is not None
    stored = gradient.values() if name == "weight" else gradient
    torch.testing.assert_close(stored, dense.grad[dense != 0])
    assert model.encoder.weight.grad is not None
    if name != "weight":  # PyTorch does not copy sparse Parameters deeply in every version
        return
    penalty.alpha = 0.35
    torch.testing.assert_close(penalty(), rrnn_ext.resolvent_penalty(dense, *sides, hops=5, alpha=0.35))


def test_a_copied_model_has_the_penalty_of_its_own_values() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pattern = Pattern.of(masked(8, 0.4, dtype=torch.float32).to_sparse_csr())
            self.values = nn.Parameter(drawn(self.pattern.stored, dtype=torch.float32))
            self.units = torch.arange(2, device=DEVICE)
            self.penalty = rrnn_ext.ResolventPenalty.from_weights(self.recurrent, self.units, self.units, hops=3)

        def recurrent(self) -> Any:
            return self.pattern.with_values(self.values)

    model = Model()
    other = copy.deepcopy(model)
    other.values.data.mul_(2)
    other.penalty().backward()
    assert model.values.grad is None
    assert other.values.grad is not None
    assert other.penalty() != model.penalty()


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"leak": 0.5}, ValueError, "leak must be None for a sparse weight_hh"),
        ({"gains": torch.ones(2, 8)}, TypeError, "gains must be None for a sparse weight_hh"),
    ],
)
def test_what_sparse_weights_cannot_have(options: dict[str, Any], error: type[Exception], text: str) -> None:
    units = torch.tensor([1, 6], device=DEVICE)
    penalty = rrnn_ext.ResolventPenalty.from_weights(Network(), "weight", units, hops=3, **options)
    with pytest.raises(error, match=re.escape(text)):
        penalty()


def test_adam_on_stored_values_is_adam_on_the_dense_ones() -> None:
    dense = masked(7, 0.5)
    pattern = Pattern.of(dense.to_sparse_csr())
    values = nn.Parameter(dense[dense != 0].clone())
    weights, mask = nn.Parameter(dense.clone()), dense != 0
    weight_in, weight_out = drawn(7, 2, seed=1), drawn(3, 7, seed=2)
    sparse_steps, dense_steps = torch.optim.Adam([values], lr=0.05), torch.optim.Adam([weights], lr=0.05)

    def step(optimiser: torch.optim.Optimizer, weight_hh: Any) -> Tensor:
        optimiser.zero_grad()
        penalty = rrnn_ext.resolvent_penalty(weight_hh, weight_in, weight_out, hops=4, alpha=0.5, norm="l2")
        penalty.backward()
        optimiser.step()
        return penalty.detach()

    penalties = []
    for _ in range(20):
        crow, columns = pattern.crow.long(), pattern.columns.long()
        ours = step(sparse_steps, torch.sparse_csr_tensor(crow, columns, values, (7, 7)))
        torch.testing.assert_close(ours, step(dense_steps, weights * mask), rtol=1e-10, atol=0.0)
        penalties.append(ours)
    assert penalties[-1] < 0.5 * penalties[0]
    torch.testing.assert_close(values, weights[mask], rtol=1e-8, atol=1e-10)


def test_a_csr_leaf_has_a_csr_gradient() -> None:
    leaf = masked(7, 0.5).to_sparse_csr().requires_grad_()
    rrnn_ext.resolvent_penalty(leaf, torch.tensor([2], device=DEVICE), hops=3).backward()
    assert leaf.grad is not None
    assert leaf.grad.layout == torch.sparse_csr
