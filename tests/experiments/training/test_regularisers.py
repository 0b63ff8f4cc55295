"""Every penalty of the experiments against its definition in NumPy, and the communicability against matrix_exp."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch
from numpy.typing import NDArray
from torch import Tensor

from experiments.training import regularisers, stacked
from experiments.training.regularisers import REGULARISERS
from experiments.training.stacked import Networks

Array = NDArray[np.float64]
STEPS = 5
BATCH = 3


@pytest.fixture
def networks() -> Networks:
    drawn = stacked.new_networks(range(BATCH), inputs=3, hidden=8, outputs=2)
    return Networks(*(weight.double() for weight in drawn))


def sum_of_walks(w: Array, u: Array, v: Array) -> Array:
    return np.sum([v @ np.linalg.matrix_power(w, m) @ u for m in range(STEPS)], axis=0)


def communicability(w: Array) -> Array:
    """The definition, one element at a time: strength of what leaves a unit, scaled |W|, its exponential."""
    strength = [sum(abs(w[target, source]) for target in range(len(w))) for source in range(len(w))]
    scaled = [[abs(w[i, j]) / np.sqrt(strength[i] * strength[j]) for j in range(len(w))] for i in range(len(w))]
    return scipy.linalg.expm(np.array(scaled))


def off_diagonal(matrix: Array) -> Array:
    return matrix[~np.eye(len(matrix), dtype=bool)]


DEFINITIONS = {
    "none": lambda w, u, v: 0.0,
    "L1": lambda w, u, v: sum(np.abs(x).sum() for x in (w, u, v)),
    "L2": lambda w, u, v: sum((x**2).sum() for x in (w, u, v)),
    "R-RNN": lambda w, u, v: np.abs(sum_of_walks(w, u, v)).sum(),
    "R-RNN per hop": lambda w, u, v: sum(np.abs(v @ np.linalg.matrix_power(w, m) @ u).sum() for m in range(STEPS)),
    "R-RNN rectified": lambda w, u, v: sum_of_walks(abs(w), abs(u), abs(v)).sum(),
    "seRNN": lambda w, u, v: off_diagonal(abs(w) * communicability(w)).sum(),
}


@pytest.mark.parametrize("name", list(REGULARISERS))
def test_by_definition(name: str, networks: Networks) -> None:
    found = REGULARISERS[name](networks, STEPS)
    expected = [
        DEFINITIONS[name](w.numpy(), u.numpy(), v.numpy())
        for w, u, v in zip(networks.weight_hh, networks.weight_in, networks.weight_out, strict=True)
    ]
    assert found.shape == (BATCH,)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-7)


@pytest.mark.parametrize("name", [name for name in REGULARISERS if name != "none"])
def test_gradient(name: str, networks: Networks) -> None:
    leaves = [weight.requires_grad_() for weight in networks]

    def penalties(*weights: Tensor) -> Tensor:
        return REGULARISERS[name](Networks(*weights), STEPS)

    assert torch.autograd.gradcheck(penalties, leaves)
    # Each network's penalty has to do with its own weights alone.
    (grad,) = torch.autograd.grad(penalties(*leaves)[1], leaves[0])
    assert grad[1].abs().min() > 0
    assert not grad[[0, 2]].any()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-7), (torch.float32, 1e-6)])
@pytest.mark.parametrize("size", [1, 7, 64])
def test_communicability_is_the_matrix_exponential(size: int, dtype: torch.dtype, tolerance: float) -> None:
    weight_hh = torch.randn(4, size, size, dtype=dtype, generator=torch.Generator().manual_seed(size))
    root = weight_hh.abs().sum(-2).sqrt()
    scaled = weight_hh.abs() / root[..., :, None] / root[..., None, :]
    exact = torch.matrix_exp(scaled) - torch.eye(size, dtype=dtype)
    torch.testing.assert_close(regularisers.communicability(weight_hh), exact, rtol=tolerance, atol=tolerance)


def test_unit_that_nothing_leaves(networks: Networks) -> None:
    """It communicates with none, and the others as if it were not there."""
    networks.weight_hh[:, :, 2] = 0
    weight_hh = networks.weight_hh.requires_grad_()
    found = regularisers.communicability(weight_hh)
    assert not found[:, :, 2].any()
    assert not found[:, 2, :].any()
    others = [unit for unit in range(8) if unit != 2]
    alone = weight_hh[:, others][:, :, others]
    scaled = alone.abs() / weight_hh.abs().sum(-2)[:, None, others]  # similar, so the traces agree
    expected = torch.matrix_exp(scaled) - torch.eye(7)
    torch.testing.assert_close(found.diagonal(dim1=1, dim2=2).sum(-1), expected.diagonal(dim1=1, dim2=2).sum(-1))
    REGULARISERS["seRNN"](networks, STEPS).sum().backward()
    assert weight_hh.grad is not None
    assert weight_hh.grad.isfinite().all()


def test_unknown_name_lists_the_known() -> None:
    with pytest.raises(ValueError, match=r"none, L1, L2, R-RNN, R-RNN per hop, R-RNN rectified, seRNN; got 'L3'"):
        regularisers.named("L3")
