"""An argument that is NaN makes its own neuron's result NaN, and no other's, in functions of rates and densities."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from rrnn_ext import spiking

DIFFUSION = {"mean": 0.2, "std": 0.6, "tau": 1e-2, "threshold": 1.0, "reset": 0.0, "refractory": 1e-3}
NOISELESS = {**DIFFUSION, "std": 0.0}  # which is silent whatever else is the case
SHOTS = {"rate_exc": 300.0, "size_exc": 0.2, "rate_inh": 100.0, "size_inh": 0.1, "tau": 1e-2, "rest": 0.0}
STEP = {"dt": 1e-3}
CALLS: dict[str, tuple[Callable[..., Tensor], dict[str, float]]] = {
    "rate": (spiking.firing_rate, DIFFUSION),
    "rate without noise": (spiking.firing_rate, NOISELESS),
    "rate in steps": (spiking.firing_rate, DIFFUSION | STEP),
    "rate in steps without noise": (spiking.firing_rate, NOISELESS | STEP),
    "coloured": (spiking.firing_rate_coloured, DIFFUSION | {"tau_syn": 2e-3}),
    "coloured in steps": (spiking.firing_rate_coloured, DIFFUSION | STEP | {"tau_syn": 2e-3}),
    "density": (spiking.membrane_density, DIFFUSION | {"v": 0.1}),
    "density in steps": (spiking.membrane_density, DIFFUSION | STEP | {"v": 0.1}),
    "shots": (spiking.firing_rate_shot_noise, SHOTS),
    "normal shots": (spiking.firing_rate_shot_noise, SHOTS | {"size_std": 0.1}),
    "density of shots": (spiking.membrane_density_shot_noise, SHOTS | {"v": 0.1}),
    "density of fixed shots": (spiking.membrane_density_shot_noise, SHOTS | {"v": 0.1, "size_std": 0.0}),
    "threshold": (spiking.discrete_threshold, {"threshold": 1.0, "std": 0.6, "tau": 1e-2, **STEP}),
}


@pytest.mark.parametrize(("name", "argument"), [(name, each) for name, (_, given) in CALLS.items() for each in given])
def test_a_neuron_that_is_not_known(name: str, argument: str) -> None:
    function, given = CALLS[name]
    arguments: dict[str, Any] = {key: torch.tensor([value, value], dtype=torch.float64) for key, value in given.items()}
    arguments[argument][0] = torch.nan
    unknown, known = function(**arguments)
    assert unknown.isnan()
    alone = function(**{key: torch.tensor(value, dtype=torch.float64) for key, value in given.items()})
    torch.testing.assert_close(known, alone, rtol=1e-9, atol=0.0)


def test_the_response_of_a_neuron_that_is_not_known() -> None:
    mean = torch.tensor([torch.nan, 0.5], dtype=torch.float64)
    unknown, known = spiking.kick_response(mean, 0.4, tau=20e-3, dt=1e-3, lags=3)
    assert unknown.isnan().all()
    assert torch.equal(known, spiking.kick_response(mean[1], 0.4, tau=20e-3, dt=1e-3, lags=3))
