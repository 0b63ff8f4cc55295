"""``python -m benchmarks.spiking_rates [table ...]``: rates and densities of spiking neurons against simulations.

Prints the tables of docs/spiking.md, in half an hour for all of them. A deviation stands with two standard errors of
its simulation.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from itertools import product
from typing import TypeAlias

import torch
from torch import Tensor

from rrnn_ext.spiking import (
    firing_rate,
    firing_rate_coloured,
    firing_rate_shot_noise,
    lif,
    membrane_density,
    membrane_density_shot_noise,
)

NEURONS = 16384
WHITE_SPIKES = 200_000  # at least
LEAST_STEPS = 400_000_000
WHITE_MEANS, WHITE_TAUS, WHITE_STEPS, WHITE_RATES = (0.0, 0.9), (5, 20, 50), (0.1, 1, 2.5, 5), (1, 10, 40, 100)
SHOT_SPIKES = 1_000_000
SYNAPSE_SPIKES = 100_000
SAMPLES = 10_000_000

Inputs: TypeAlias = tuple[float, float, float, float]  # rate and size upwards, rate and size downwards


def std_for(rate: float, mean: float, tau: float, dt: float | None = None) -> float:
    """The standard deviation with which the formula gives this rate."""
    low, high = 1e-3, 1e4
    for _ in range(60):
        middle = math.sqrt(low * high)
        asked = firing_rate(mean, torch.tensor(middle, dtype=torch.float64), tau=tau, dt=dt).item()
        low, high = (middle, high) if asked < rate else (low, middle)
    return middle


def simulated_once_a_step(
    mean: float, std: float, tau: float, dt: float, rate: float, generator: torch.Generator
) -> tuple[float, float]:
    """Rate of neurons whose free potential is stepped exactly, and twice its standard error."""
    decay = math.exp(-dt / tau)
    step = std * math.sqrt(1 - decay * decay)
    warm = math.ceil((10 * tau + 2 / rate) / dt)
    steps = math.ceil(max(WHITE_SPIKES / (rate * dt), LEAST_STEPS) / NEURONS)
    v, noise, spikes = torch.zeros(NEURONS), torch.empty(NEURONS), torch.zeros(NEURONS)
    for k in range(warm + steps):
        noise.normal_(mean * (1 - decay), step, generator=generator)
        v.mul_(decay).add_(noise)
        fired = v >= 1
        v.masked_fill_(fired, 0.0)
        if k >= warm:
            spikes += fired
    rates = spikes / (steps * dt)
    return rates.mean().item(), 2 * rates.std().item() / math.sqrt(NEURONS)


def white_noise(generator: torch.Generator) -> Iterator[str]:
    yield f"| mean | tau, ms | dt, ms | {' | '.join(f'{rate} Hz' for rate in WHITE_RATES)} |"
    yield "|---|---|---|---|---|---|---|"
    for mean, tau, dt in product(WHITE_MEANS, WHITE_TAUS, WHITE_STEPS):
        if dt <= tau / 2:
            yield f"| {mean} | {tau} | {dt} | {' | '.join(white_noise_row(mean, tau, dt, generator))} |"


def white_noise_row(mean: float, tau: float, dt: float, generator: torch.Generator) -> Iterator[str]:
    """Deviations in percent, at standard deviations that the formula gives each rate; tau and dt in ms."""
    generator.manual_seed(0)
    tau, dt = tau * 1e-3, dt * 1e-3
    for rate in WHITE_RATES:
        if rate * dt > 0.2:
            yield ""
            continue
        std = std_for(rate, mean, tau, dt)
        simulated, error = simulated_once_a_step(mean, std, tau, dt, rate, generator)
        yield f"{100 * (rate / simulated - 1):+.2f} ± {100 * error / simulated:.2f}"


def simulated_shots(
    inputs: Inputs, tau: float, rate: float, generator: torch.Generator, spikes: int, size_std: float | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Event by event, exact: the potentials before an input and whether it made a spike, after a warm-up."""
    rate_exc, size_exc, rate_inh, size_inh = inputs
    total = rate_exc + rate_inh
    v = torch.zeros(NEURONS)
    warm = math.ceil((10 * tau + 5 / rate) * total)
    for k in range(warm + math.ceil(spikes / rate * total / NEURONS)):
        # An exponentially distributed interval is -log(uniform) / total.
        v *= torch.rand(NEURONS, generator=generator).pow_(1 / (tau * total))
        before = v.clone()
        upwards = torch.rand(NEURONS, generator=generator) < rate_exc / total
        size = torch.where(upwards, size_exc, -size_inh)
        if size_std is None:
            v -= size * torch.rand(NEURONS, generator=generator).log_().clamp_min_(-100)
        else:
            v += size + size_std * torch.randn(NEURONS, generator=generator)
        fired = v >= 1
        v = v.masked_fill(fired, 0.0)
        if k >= warm:
            yield before, fired


def shots_at(rate: float, std: float, tau: float) -> Inputs:
    """As many inhibitory inputs as excitatory ones, of one size, that give the free potential this std."""
    size = std / math.sqrt(2 * tau * rate)
    return rate, size, rate, size


def shot_noise(generator: torch.Generator) -> Iterator[str]:
    yield "| inputs, Hz | sizes | formula, Hz | simulated, Hz | deviation, % | white noise, Hz |"
    yield "|---|---|---|---|---|---|"
    tau = 0.01
    cases: list[tuple[Inputs, float | None]] = [(shots_at(rate, 0.645, tau), None) for rate in (250.0, 1000.0, 4000.0)]
    for inputs in ((250.0, 0.25, 0.0, 0.0), (1000.0, 0.12, 500.0, 0.12), (4000.0, 0.05, 1000.0, 0.1)):
        cases += [(inputs, None), (inputs, 0.0)]
    cases += [((rate, 0.0, 0.0, 0.0), 0.645 * math.sqrt(2 / (tau * rate))) for rate in (250.0, 1000.0, 4000.0)]
    for inputs, size_std in cases:
        rate_exc, size_exc, rate_inh, size_inh = inputs
        mean = tau * (rate_exc * size_exc - rate_inh * size_inh)
        squares = rate_exc * size_exc**2 + rate_inh * size_inh**2
        if size_std is None:
            law, variance = "exponential", tau * squares
        else:
            law = f"normal, ± {size_std:.3f}" if size_std else "fixed"
            variance = tau / 2 * (squares + (rate_exc + rate_inh) * size_std**2)
        rate = firing_rate_shot_noise(*inputs, tau=tau, size_std=size_std).item()
        spikes = events = 0
        for _, fired in simulated_shots(inputs, tau, rate, generator, SHOT_SPIKES, size_std):
            spikes, events = spikes + int(torch.count_nonzero(fired)), events + NEURONS
        simulated = spikes / (events / (rate_exc + rate_inh))
        yield (
            f"| {rate_exc:.0f} + {rate_inh:.0f} | {size_exc:.3f}, {size_inh:.3f}, {law} | "
            f"{rate:.3f} | {simulated:.3f} | {100 * (rate / simulated - 1):+.2f} ± {200 / math.sqrt(spikes):.2f} | "
            f"{firing_rate(mean, math.sqrt(variance), tau=tau).item():.3f} |"
        )


def simulated_continuously(mean: float, std: float, tau: float, generator: torch.Generator) -> Iterator[Tensor]:
    """Potentials at every 50th of many short steps, between which a Brownian bridge may have crossed the threshold."""
    dt = tau / 500
    decay = math.exp(-dt / tau)
    step = std * math.sqrt(1 - decay * decay)
    v, noise, chance = torch.zeros(NEURONS), torch.empty(NEURONS), torch.empty(NEURONS)
    for k in range(20 * 500 + 50 * math.ceil(SAMPLES / NEURONS)):
        noise.normal_(mean * (1 - decay), step, generator=generator)
        following = v * decay + noise
        crossed = torch.exp(-2 * (1 - v) * (1 - following).clamp_min(0) / step**2)
        v = following.masked_fill(chance.uniform_(generator=generator) < crossed, 0.0)
        if k >= 20 * 500 and k % 50 == 0:
            yield v


def total_variation(counts: Tensor, edges: Tensor, density: Tensor) -> float:
    """Of a histogram, and of a density at 100 points in each of its bins."""
    expected = density.mean(-1) * edges.diff()
    return 0.5 * (counts / counts.sum() - expected / expected.sum()).abs().sum().item()


def densities(generator: torch.Generator) -> Iterator[str]:
    tau = 0.01
    yield "| input | samples | bins | total variation, % |"
    yield "|---|---|---|---|"

    def grid(lowest: float) -> tuple[Tensor, Tensor]:
        edges = torch.cat([torch.linspace(lowest, 0, 101)[:-1], torch.linspace(0, 1, 51)]).double()
        return edges, edges[:-1, None] + edges.diff()[:, None] * (torch.arange(100) + 0.5) / 100

    for mean, std in ((0.0, 0.645), (0.8, 0.3)):
        edges, points = grid(mean - 6 * std)
        counts = torch.zeros(150, dtype=torch.float64)
        for v in simulated_continuously(mean, std, tau, generator):
            counts += torch.histogram(v.double(), edges).hist
        variation = total_variation(counts, edges, membrane_density(points, mean, std, tau=tau))
        yield f"| white noise, mean {mean}, std {std} | {counts.sum():.1e} | 150 | {100 * variation:.2f} |"
    for arrivals in (250.0, 1000.0, 4000.0):
        inputs = shots_at(arrivals, 0.645, tau)
        rate = firing_rate_shot_noise(*inputs, tau=tau).item()
        edges, points = grid(-8.0)
        counts = torch.zeros(150, dtype=torch.float64)
        for before, _ in simulated_shots(inputs, tau, rate, generator, round(SAMPLES * rate / (2 * arrivals))):
            counts += torch.histogram(before[before != 0].double(), edges).hist
        variation = total_variation(counts, edges, membrane_density_shot_noise(points, *inputs, tau=tau))
        yield f"| {arrivals:.0f} + {arrivals:.0f} Hz of jumps | {counts.sum():.1e} | 150 | {100 * variation:.2f} |"


def simulated_with_synapses(
    mean: float, std: float, tau: float, tau_syn: float, generator: torch.Generator
) -> tuple[float, int]:
    """Potential and current are a Gaussian process that is stepped exactly, by a twentieth of tau_syn."""
    dt, neurons, warm, steps = tau_syn / 20, NEURONS, math.ceil(10 * tau / (tau_syn / 20)), 0
    variance = std**2 * (tau + tau_syn) / (tau**2 * tau_syn)
    covariance = variance * tau * tau_syn / (tau + tau_syn)
    stationary = torch.tensor([[std**2, covariance], [covariance, variance]], dtype=torch.float64)
    step = torch.linalg.matrix_exp(torch.tensor([[-1 / tau, 1.0], [0.0, -1 / tau_syn]], dtype=torch.float64) * dt)
    noise = torch.linalg.cholesky(stationary - step @ stationary @ step.T)
    (by_v, by_current), (_, decay) = step.tolist()
    (own, _), (shared, apart) = noise.tolist()
    v, current = torch.zeros(neurons), math.sqrt(variance) * torch.randn(neurons, generator=generator)
    first, second, spikes = torch.empty(neurons), torch.empty(neurons), 0
    while spikes < SYNAPSE_SPIKES:
        first.normal_(generator=generator)
        second.normal_(generator=generator)
        v = mean + by_v * (v - mean) + by_current * current + own * first
        current = decay * current + shared * first + apart * second
        fired = v >= 1
        v.masked_fill_(fired, 0.0)
        steps += 1
        spikes += int(torch.count_nonzero(fired)) if steps > warm else 0
    return spikes / (neurons * (steps - warm) * dt), spikes


def synapses(generator: torch.Generator) -> Iterator[str]:
    yield "| mean | std | tau_syn / tau | formula, Hz | simulated, Hz | deviation, % | without synapses, Hz |"
    yield "|---|---|---|---|---|---|---|"
    tau = 0.02
    for mean, std in ((0.0, 0.8), (0.8, 0.4), (1.3, 0.3)):
        for ratio in (0.01, 0.03, 0.1, 0.3):
            rate = firing_rate_coloured(mean, std, tau=tau, tau_syn=ratio * tau).item()
            simulated, spikes = simulated_with_synapses(mean, std, tau, ratio * tau, generator)
            yield (
                f"| {mean} | {std} | {ratio} | {rate:.3f} | {simulated:.3f} | "
                f"{100 * (rate / simulated - 1):+.2f} ± {200 / math.sqrt(spikes):.2f} | "
                f"{firing_rate(mean, std, tau=tau).item():.3f} |"
            )


def stepped_synapses(generator: torch.Generator) -> Iterator[str]:
    """The library's own stepped neurons."""
    yield "| mean | std | tau_syn, ms | dt, ms | formula, Hz | simulated, Hz | deviation, % |"
    yield "|---|---|---|---|---|---|---|"
    tau = 0.02
    for (mean, std), (tau_syn, dt) in product(
        ((0.0, 0.8), (0.8, 0.4), (1.3, 0.3)),
        ((0.5e-3, 1e-3), (2e-3, 1e-3), (5e-3, 1e-3), (5e-3, 0.25e-3), (10e-3, 0.5e-3)),
    ):
        leak, syn = math.exp(-dt / tau), math.exp(-dt / tau_syn)
        current_std = std * math.sqrt((1 - leak**2) * (1 - leak * syn) / (1 + leak * syn))
        state, spikes, warm, blocks = None, torch.zeros(NEURONS), math.ceil(0.5 / dt / 100), math.ceil(3 / dt / 100)
        for block in range(warm + blocks):
            inputs = torch.randn(100, NEURONS, generator=generator) * current_std * math.sqrt(1 - syn**2)
            inputs += mean * (1 - leak) * (1 - syn)
            fired, state = lif(inputs, tau=tau, dt=dt, tau_syn=tau_syn, state=state)
            spikes += fired.sum(0) if block >= warm else 0
        rates = spikes / (100 * blocks * dt)
        simulated, error = rates.mean().item(), 2 * rates.std().item() / math.sqrt(NEURONS)
        rate = firing_rate_coloured(mean, std, tau=tau, tau_syn=tau_syn, dt=dt).item()
        yield (
            f"| {mean} | {std} | {tau_syn * 1e3:g} | {dt * 1e3:g} | {rate:.3f} | {simulated:.3f} | "
            f"{100 * (rate / simulated - 1):+.2f} ± {100 * error / simulated:.2f} |"
        )


TABLES = {
    "jumps": shot_noise,
    "densities": densities,
    "synapses": synapses,
    "steps": stepped_synapses,
    "white": white_noise,
}


def main() -> None:
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    parser = argparse.ArgumentParser(prog="python -m benchmarks.spiking_rates", description=__doc__)
    parser.add_argument("tables", nargs="*", choices=[[], *TABLES], help="all of them where none is named")
    for name in parser.parse_args().tables or TABLES:
        print(f"\n### {name}\n", flush=True)
        for line in TABLES[name](generator):
            print(line, flush=True)


if __name__ == "__main__":
    main()
