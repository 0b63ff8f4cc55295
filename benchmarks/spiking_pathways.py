"""``python -m benchmarks.spiking_pathways``: how far the linear walks of a recurrent spiking network hold.

All units of a network get an extra input of the same size at one step. Prints the extra spikes of all units per unit of
that input, in windows of lags, as simulations have them (up less down, same noise; two standard errors) and as walks
do.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

import rrnn_ext
from benchmarks.tables import as_table
from rrnn_ext.spiking import LIF, SpikingPathways

TAU, DT = 20e-3, 1e-3
UNITS, BEFORE, LAGS, SAMPLES, RUNS = 40, 100, 60, 1000, 8
MEAN, STD = 0.5, 0.4  # of the free potential that the noise makes
WINDOWS = ((0, 1), (1, 4), (4, 10), (10, LAGS), (0, LAGS))


def coupled(strength: float) -> LIF:
    """All to all, of unequal weights whose sum over the sources is about ``strength``."""
    torch.manual_seed(0)
    layer = LIF(tau=TAU, dt=DT, refractory=2e-3, recurrent=UNITS)
    assert layer.weight_rec is not None
    with torch.no_grad():
        layer.weight_rec.copy_(strength / UNITS * (1 + torch.randn(UNITS, UNITS) / 2))
    return layer


def simulated(layer: LIF, kick: float) -> tuple[float, Tensor]:
    """The mean rate, and (samples, lags): extra spikes of all units per unit of the kick."""
    leak, generator = math.exp(-DT / TAU), torch.Generator().manual_seed(1)
    extra, rates = [], []
    for _ in range(RUNS):
        noise = torch.randn(BEFORE + LAGS, SAMPLES, UNITS, generator=generator)
        current = MEAN * (1 - leak) + STD * math.sqrt(1 - leak**2) * noise
        current[BEFORE] += kick
        up = layer(current)
        current[BEFORE] -= 2 * kick
        down = layer(current)
        extra.append(((up - down) / (2 * kick))[BEFORE:].sum(-1).T)
        rates.append(up[50:BEFORE].mean().item() / DT)
    return sum(rates) / RUNS, torch.cat(extra)


def predicted(pathways: SpikingPathways) -> Tensor:
    """(lags,): the same as walks from all units to all units."""
    kick = torch.ones(UNITS, 1)
    hops = rrnn_ext.hop_decomposition(pathways.weight_hh(), kick, pathways.weight_out(), hops=LAGS)
    return hops.sum((-2, -1))


@torch.no_grad()
def main() -> None:
    rows = []
    for strength, kick in ((0.0, 0.05), (0.6, 0.05), (1.2, 0.05), (-1.5, 0.05), (0.6, 0.2), (0.6, 0.5), (0.6, 1.0)):
        layer = coupled(strength)
        rate, extra = simulated(layer, kick)
        point = SpikingPathways(layer, mean=MEAN, std=STD)
        membrane = SpikingPathways(layer, mean=MEAN, std=STD, decay="membrane")
        cells = []
        for first, last in WINDOWS:
            window = extra[:, first:last].sum(1)
            error = 2 * window.std() / len(window) ** 0.5
            walks = (f"{predicted(each)[first:last].sum():.1f}" for each in (point, membrane))
            cells.append(f"{window.mean():.1f} ± {error:.1f} ({', '.join(walks)})")
        rows.append((f"{strength:g}", f"{kick:g}", f"{rate:.2f} ({point.rate.mean():.2f})", *cells))
    header = ("strength", "kick", "rate, Hz", *(f"lags {first} to {last - 1}" for first, last in WINDOWS))
    print("Simulated, and in parentheses by walks: with the response's decay, with the membrane's.\n")
    print(as_table(header, rows))


if __name__ == "__main__":
    main()
