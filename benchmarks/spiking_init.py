"""``python -m benchmarks.spiking_init [table ...]``: the rates that initialised spiking layers reach in simulations.

Prints the tables of docs/spiking.md, in half an hour for all of them. A deviation from the rate that was asked
for stands with two standard errors of its simulation, from the differences between samples of input.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
from itertools import product

import torch
from torch import Tensor, nn

from rrnn_ext.spiking import LIF, calibrate_, firing_rate, init, lif

SAMPLES = 32
CHUNK = 250  # steps of input at a time
SPIKES, MOST_STEPS, LEAST_TAUS = 100_000, 40_000, 100
OUT, TAU = 256, 0.01
STEPS = (0.2e-3, 1e-3, 5e-3)


def simulated(
    weight: Tensor,
    rate_in: float,
    *,
    tau: float,
    dt: float,
    recurrent: Tensor | None = None,
    tau_syn: float | None = None,
) -> tuple[float, float]:
    """Rate of the layer in Hz under independent spikes, and twice its standard error."""
    generator = torch.Generator().manual_seed(12345)
    settling = math.ceil(20 * tau / dt / CHUNK)
    state, counts, steps = None, torch.zeros(SAMPLES), 0
    while (counts.sum() < SPIKES and steps < MOST_STEPS) or steps * dt < LEAST_TAUS * tau:
        arriving = torch.rand(CHUNK, SAMPLES, weight.shape[1], generator=generator) < rate_in * dt
        spikes, state = lif(arriving.float() @ weight.T, recurrent, tau=tau, dt=dt, tau_syn=tau_syn, state=state)
        if settling > 0:
            settling -= 1
            continue
        counts += spikes.sum((0, 2))
        steps += CHUNK
    rates = counts / (steps * dt * len(weight))
    return rates.mean().item(), 2 * rates.std().item() / SAMPLES**0.5


def by_white_noise(weight: Tensor, rate_in: float, *, tau: float, dt: float) -> float:
    """What firing_rate says of the same layer."""
    weight, chance, leak = weight.double(), rate_in * dt, math.exp(-dt / tau)
    mean = weight.sum(1) * chance / (1 - leak)
    std = (weight.square().sum(1) * chance * (1 - chance) / (1 - leak**2)).sqrt()
    return firing_rate(mean, std, tau=tau, dt=dt).mean().item()


def deviation(reached: float, error: float, asked: float) -> str:
    return f"{100 * (reached / asked - 1):+.1f} ± {100 * error / asked:.1f}"


def table(*columns: str) -> str:
    return f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}"


def row(*cells: object) -> str:
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def one_layer() -> Iterator[str]:
    """81 layers of 256 neurons; the deviation in %, and in brackets that of the white-noise formula for the layer."""
    rates = (5.0, 20.0, 50.0)
    yield table("N", "rate in, Hz", "asked, Hz", *(f"dt {1e3 * dt:g} ms" for dt in STEPS))
    deviations: list[float] = []
    for count, rate_in, rate_out in product((128, 512, 1024), rates, rates):
        cells = []
        for dt in STEPS:
            generator = torch.Generator().manual_seed(len(deviations))
            weight = torch.empty(OUT, count)
            init.rate_normal_(weight, rate_in=rate_in, rate_out=rate_out, tau=TAU, dt=dt, generator=generator)
            reached, error = simulated(weight, rate_in, tau=TAU, dt=dt)
            deviations.append(abs(reached / rate_out - 1))
            white = by_white_noise(weight, rate_in, tau=TAU, dt=dt) / rate_out - 1
            cells.append(f"{deviation(reached, error, rate_out)} ({100 * white:+.0f})")
        yield row(count, f"{rate_in:g}", f"{rate_out:g}", *cells)
    mean = sum(deviations) / len(deviations)
    yield f"\n{len(deviations)} layers: {100 * mean:.2f} % in the mean, {100 * max(deviations):.2f} % at most."


def kinds() -> Iterator[str]:
    """Excitatory and inhibitory weights, synapses."""
    yield table("weights", "N", "rate in, Hz", "asked, Hz", "reached, Hz", "deviation, %")
    for kind, count, rate_in, rate_out in product(KINDS, (128, 512), (20.0,), (5.0, 20.0)):
        weight, generator = torch.empty(OUT, count), torch.Generator().manual_seed(0)
        tau_syn = KINDS[kind](weight, rate_in, rate_out, generator)
        reached, error = simulated(weight, rate_in, tau=0.02, dt=1e-3, tau_syn=tau_syn)
        yield row(kind, count, rate_in, rate_out, f"{reached:.2f}", deviation(reached, error, rate_out))


def lognormal(weight: Tensor, rate_in: float, rate_out: float, generator: torch.Generator) -> None:
    init.rate_dale_(weight, rate_in=rate_in, rate_out=rate_out, tau=0.02, dt=1e-3, generator=generator)


def exponential(weight: Tensor, rate_in: float, rate_out: float, generator: torch.Generator) -> None:
    init.rate_dale_(
        weight, rate_in=rate_in, rate_out=rate_out, tau=0.02, dt=1e-3, sizes="exponential", generator=generator
    )


def with_synapses(weight: Tensor, rate_in: float, rate_out: float, generator: torch.Generator) -> float:
    tau_syn = 5e-3
    init.rate_normal_(
        weight, rate_in=rate_in, rate_out=rate_out, tau=0.02, dt=1e-3, tau_syn=tau_syn, generator=generator
    )
    return tau_syn


# Each fills a weight and gives the time constant of the synapses that it is for.
KINDS: dict[str, Callable[[Tensor, float, float, torch.Generator], float | None]] = {
    "Dale, log-normal": lognormal,
    "Dale, exponential": exponential,
    "normal, synapses of 5 ms": with_synapses,
}


def recurrent() -> Iterator[str]:
    """Half of the variance in time through recurrent weights."""
    yield table("n", "rate in, Hz", "asked, Hz", *(f"dt {1e3 * dt:g} ms" for dt in STEPS))
    for (count, rate_in), rate_out in product(((128, 10.0), (128, 40.0), (512, 10.0)), (5.0, 20.0, 50.0)):
        cells = []
        for dt in STEPS:
            weights = torch.empty(count, count), torch.empty(count, count)
            generator = torch.Generator().manual_seed(0)
            init.rate_recurrent_(*weights, rate_in=rate_in, rate_out=rate_out, tau=0.02, dt=dt, generator=generator)
            reached, error = simulated(weights[0], rate_in, tau=0.02, dt=dt, recurrent=weights[1])
            cells.append(deviation(reached, error, rate_out))
        yield row(count, f"{rate_in:g}", f"{rate_out:g}", *cells)


def ten_layers() -> Iterator[str]:
    """Deviations in % of the worst of ten layers, on the data that calibrate_ had and on new ones."""
    yield table("n", "tau, ms", "dt, ms", "asked, Hz", "worst layer", "worst layer, new data", "worst prediction")
    for (count, tau), dt, rate in product(((128, 0.01), (128, 0.02), (512, 0.01)), (1e-3, 5e-3), (5.0, 20.0)):
        generator = torch.Generator().manual_seed(0)
        data, new = ((torch.rand(500, SAMPLES, count, generator=generator) < rate * dt).float() for _ in range(2))
        pairs = [(nn.Linear(count, count), LIF(tau=tau, dt=dt)) for _ in range(10)]
        network = nn.Sequential(*(module for pair in pairs for module in pair))
        layers = calibrate_(network, data, rate, generator=generator)
        on_new = []
        with torch.no_grad():
            for module in network:
                new = module(new)
                if isinstance(module, LIF):
                    on_new.append(new.mean().item() / dt)
        worst = [
            f"{100 * max((reached / rate - 1 for reached in rates), key=abs):+.1f}"
            for rates in ([layer.measured for layer in layers], on_new, [layer.predicted for layer in layers])
        ]
        yield row(count, f"{1e3 * tau:g}", f"{1e3 * dt:g}", f"{rate:g}", *worst)


TABLES = {"one_layer": one_layer, "kinds": kinds, "recurrent": recurrent, "ten_layers": ten_layers}


def main() -> None:
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(prog="python -m benchmarks.spiking_init", description=__doc__)
    parser.add_argument("tables", nargs="*", choices=[[], *TABLES], help="all of them where none is named")
    for name in parser.parse_args().tables or TABLES:
        print(f"\n### {name}\n", flush=True)
        for line in TABLES[name]():
            print(line, flush=True)


if __name__ == "__main__":
    main()
