"""Above 1024 units a sum that diverges costs no eigenvalues; what its error knows, and says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from support.device import DEVICE
from torch import Tensor

import rrnn_ext

pytestmark = pytest.mark.skipif(DEVICE.type == "cuda", reason="on a GPU the error knows no numbers")
N = 1100


@pytest.fixture
def no_large_eigenvalues(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("eig", "eigvals"):
        whole = getattr(torch.linalg, name)

        def small(matrices: Tensor, whole: Callable[..., Any] = whole) -> Any:
            assert matrices.shape[-1] <= 16
            return whole(matrices)

        monkeypatch.setattr(torch.linalg, name, small)


def of_radius(radius: float) -> Tensor:
    """Rows of one sign pattern each, (N, N): rank two, with eigenvalues ``radius`` and -0.3."""
    torch.manual_seed(0)
    basis, _ = torch.linalg.qr(torch.randn(N, 2, dtype=torch.float64))
    return basis @ torch.diag(torch.tensor([radius, -0.3], dtype=torch.float64)) @ basis.mT


@pytest.mark.usefixtures("no_large_eigenvalues")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("radius", [1.002, 1.3, 40.0])
def test_the_error_knows_the_radius_and_a_safe_alpha(radius: float, dtype: torch.dtype) -> None:
    weight_hh = of_radius(radius).to(dtype)
    weight_in = torch.ones(N, 1, dtype=dtype)
    with pytest.raises(rrnn_ext.ResolventDivergenceError, match="must be below 1") as raised:
        rrnn_ext.resolvent_penalty(weight_hh, weight_in, hops=None)
    error = raised.value
    assert error.spectral_radius == pytest.approx(radius, rel=2e-3)
    assert error.entry is None
    assert 0.2 / radius < error.max_alpha <= 1.0001 / radius
    assert torch.isfinite(rrnn_ext.resolvent(weight_hh, weight_in, alpha=0.99 * error.max_alpha)).all()


@pytest.mark.usefixtures("no_large_eigenvalues")
def test_what_converges_is_a_number() -> None:
    """A = B diag(.99, -.3) B': (I - A)^{-1} 1 = 1 + B diag(.99 / .01, -.3 / 1.3) B' 1."""
    weight_hh, ones = of_radius(0.99), torch.ones(N, 1, dtype=torch.float64)
    torch.manual_seed(0)
    basis, _ = torch.linalg.qr(torch.randn(N, 2, dtype=torch.float64))
    expected = ones + basis @ torch.diag(torch.tensor([99.0, -0.3 / 1.3], dtype=torch.float64)) @ (basis.mT @ ones)
    torch.testing.assert_close(rrnn_ext.resolvent(weight_hh, ones), expected, rtol=1e-9, atol=1e-9)


class TestWhatTheErrorSays:
    def test_which_of_a_batch(self) -> None:
        weights = torch.stack([0.5 * torch.eye(2), 0.7 * torch.eye(2), 1.5 * torch.eye(2)]).reshape(3, 1, 2, 2)
        for sides in ((), (torch.ones(2, 1),)):
            with pytest.raises(rrnn_ext.ResolventDivergenceError, match="of entry 2") as raised:
                rrnn_ext.resolvent(weights, *sides)
            assert raised.value.entry == 2

    @pytest.mark.parametrize("excess", [1e-3, 1e-6, 1e-9])
    def test_enough_digits_near_the_limit(self, excess: float) -> None:
        """ "is 1, and must be below 1" says nothing."""
        with pytest.raises(rrnn_ext.ResolventDivergenceError) as raised:
            rrnn_ext.resolvent((1 + excess) * torch.eye(3, dtype=torch.float64))
        assert raised.value.spectral_radius - 1 == pytest.approx(excess, rel=1e-5)
        shown = str(raised.value).split(" is about ")[1].split(",")[0]
        assert float(shown) - 1 == pytest.approx(excess, rel=0.02)
