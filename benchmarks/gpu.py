"""``python -m benchmarks.gpu [--quick]``: measures on a CUDA device, prints and, unless quick, writes results."""

from __future__ import annotations

import argparse
import functools
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor

import rrnn_ext
from benchmarks import gpu_floors, gpu_report, ledger, peers, problems, training_step
from benchmarks.gpu_report import Memory, Race, Share
from benchmarks.gpu_timing import Times, measure, peak_bytes
from benchmarks.peers import Penalty
from benchmarks.race import COMPILED, OURS, check_agreement, value_and_gradient

HOPS = 20


def race(
    case: str,
    shape: Mapping[str, int],
    ours: Penalty,
    others: Mapping[str, Penalty],
    weights: tuple[Tensor, ...],
    work: gpu_floors.Work,
    *,
    compile_among: tuple[str, ...] = (),
    gradient_rtol: float = 2e-2,
) -> Race:
    """Checks the peers against ours, then measures each of them; those named under torch.compile as well."""
    torch.cuda.empty_cache()
    contenders = {OURS: ours, **others}
    times = {}
    for name in contenders:
        times[name] = _measured(name, contenders, weights, gradient_rtol)
    for name in compile_among:
        contenders[COMPILED + name] = peers.compiled(others[name])
        times[COMPILED + name] = _measured(COMPILED + name, contenders, weights, gradient_rtol)
    return Race(case, shape, times, work)


def _measured(name: str, contenders: Mapping[str, Penalty], weights: tuple[Tensor, ...], gradient_rtol: float) -> Times:
    steps = {each: value_and_gradient(contenders[each], weights) for each in dict.fromkeys((OURS, name))}
    check_agreement(steps, gradient_rtol)
    return measure(steps[name])


def to_gpu(weights: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(weight.detach().cuda().requires_grad_() for weight in weights)


def thin_total() -> Race:
    n, i, o = 1024, 16, 8
    named = ("horner_from_inputs", "horner_from_outputs")
    return race(
        ledger.THIN,
        {"n": n, "i": i, "o": o, "hops": HOPS},
        functools.partial(rrnn_ext.resolvent_penalty, hops=HOPS),
        {name: functools.partial(getattr(peers, name), hops=HOPS) for name in named},
        to_gpu(problems.thin(n, i, o)),
        gpu_floors.thin_total(n, i, o, HOPS),
        compile_among=("horner_from_outputs",),
    )


def thin_batch() -> Race:
    n, i, o, batch = 256, 16, 8, 64
    weights = to_gpu(problems.thin(n, i, o))
    batched = tuple((weight.detach() * _jitter(batch)).requires_grad_() for weight in weights)
    return race(
        ledger.THIN_BATCH,
        {"batch": batch, "n": n, "i": i, "o": o, "hops": HOPS},
        functools.partial(rrnn_ext.resolvent_penalty, hops=HOPS),
        {"horner_batched": functools.partial(peers.horner_batched, hops=HOPS)},
        batched,
        gpu_floors.thin_total(n, i, o, HOPS, batch),
        compile_among=("horner_batched",),
    )


def _jitter(batch: int) -> Tensor:
    return torch.linspace(0.9, 1.0, batch, device="cuda")[:, None, None]


def rectified_total() -> Race:
    n, i, o = 1024, 16, 8
    return race(
        ledger.RECTIFIED,
        {"n": n, "i": i, "o": o, "hops": HOPS},
        functools.partial(rrnn_ext.resolvent_penalty, hops=HOPS, rectify=True),
        {"rectified_loop": functools.partial(peers.rectified_loop, hops=HOPS)},
        to_gpu(problems.rectified_thin(n, i, o)),
        gpu_floors.rectified_total(n, HOPS),
        compile_among=("rectified_loop",),
    )


def thin_large() -> Race:
    n, i, o = 16384, 4, 4
    return race(
        gpu_report.THIN_LARGE,
        {"n": n, "i": i, "o": o, "hops": HOPS},
        functools.partial(rrnn_ext.resolvent_penalty, hops=HOPS),
        {"horner_from_outputs": functools.partial(peers.horner_from_outputs, hops=HOPS)},
        _thin_on_gpu(n, i, o),
        gpu_floors.thin_total(n, i, o, HOPS),
    )


def _thin_on_gpu(n: int, i: int, o: int) -> tuple[Tensor, ...]:
    """As problems.thin, drawn on the device: a matrix of gigabytes is not sent there."""
    generator = torch.Generator("cuda").manual_seed(0)
    weight_hh = torch.randn(n, n, device="cuda", generator=generator).mul_(problems.SPECTRAL_RADIUS / n**0.5)
    weight_in = torch.randn(n, i, device="cuda", generator=generator).mul_(i**-0.5)
    weight_out = torch.randn(o, n, device="cuda", generator=generator).mul_(n**-0.5)
    return weight_hh.requires_grad_(), weight_in.requires_grad_(), weight_out.requires_grad_()


def all_pairs(batch: int, n: int) -> Race:
    return race(
        ledger.ALL_PAIRS_INFINITE,
        {"batch": batch, "n": n},
        functools.partial(rrnn_ext.resolvent_penalty, hops=None),
        {
            "inverse_ex": peers.inverse_ex_all_pairs,
            "solve_ex": peers.solve_ex_all_pairs,
            "doubling": peers.doubling_all_pairs,
        },
        to_gpu(problems.all_pairs(n, (batch,))),
        gpu_floors.all_pairs_infinite(n, batch),
    )


def share_of_step(n: int) -> Share:
    """cuDNN's nn.RNN and a linear read-out, forward and backward, with the penalty in the loss and without."""
    contenders = training_step.contenders(n, torch.device("cuda"))
    return Share(training_step.shape(n), {name: measure(step) for name, step in contenders.items()})


def memory() -> Memory:
    n, i, o = 32768, 8, 8
    torch.cuda.empty_cache()
    weights = _thin_on_gpu(n, i, o)
    step = value_and_gradient(functools.partial(rrnn_ext.resolvent_penalty, hops=HOPS), weights)
    value, gradients = step()
    assert all(bool(result.isfinite().all()) for result in (value, *gradients))
    del value, gradients
    return Memory({"n": n, "i": i, "o": o, "hops": HOPS}, peak_bytes(step))


def entries(quick: bool) -> Iterator[Callable[[], Race | Share | Memory]]:
    yield thin_total
    yield thin_batch
    yield rectified_total
    yield functools.partial(all_pairs, 64, 256)
    if quick:
        return
    yield functools.partial(all_pairs, 4096, 32)
    yield functools.partial(all_pairs, 1024, 64)
    yield thin_large
    for n in (128, 512, 2048):
        yield functools.partial(share_of_step, n)
    yield memory


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the first cases; prints, writes no file")
    quick = parser.parse_args().quick
    if not torch.cuda.is_available():
        sys.exit("python -m benchmarks.gpu needs a GPU that PyTorch can use, and it sees none")
    measured, failed = [], 0
    for entry in entries(quick):
        try:
            measured.append(entry())
        except (
            AssertionError,
            RuntimeError,
        ):  # a peer that disagrees, or what CUDA says: the others are still measured
            traceback.print_exc()
            failed += 1
        else:
            print(gpu_report.line(measured[-1]), flush=True)
    print(gpu_report.document(measured))
    if not quick:
        for path in gpu_report.write(measured):
            print(f"wrote {path}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
