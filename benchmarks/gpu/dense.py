"""Penalties of dense weights against what one would write in PyTorch."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

import rrnn_ext
from benchmarks import peers, problems
from benchmarks.contenders import value_and_gradient
from benchmarks.gpu import floors
from benchmarks.gpu.race import race
from benchmarks.gpu.record import Memory, Race, Recorder
from benchmarks.gpu.timing import peak_bytes
from benchmarks.gpu.where import DEVICE, EMULATED, leaves, release_memory, sized
from benchmarks.names import ALL_PAIRS_INFINITE, COMPILED, RECTIFIED, THIN, THIN_BATCH, THIN_LARGE
from benchmarks.peers import Penalty

HOPS = sized(20, 3)
_ours = functools.partial(rrnn_ext.resolvent_penalty, hops=HOPS)
_direct = functools.partial(rrnn_ext.accumulate_penalty_grad, hops=HOPS)


def _peers(*names: str) -> dict[str, Penalty]:
    return {name: functools.partial(getattr(peers, name), hops=HOPS) for name in names}


def _compiled(*names: str) -> dict[str, Penalty]:
    """Emulated, with what torch.compile does before its own compiler."""
    backend = "aot_eager" if EMULATED else "inductor"
    return {COMPILED + name: peers.compiled(peer, backend=backend) for name, peer in _peers(*names).items()}


def thin(n: int, recorder: Recorder) -> None:
    n, i, o = sized(n, 24), 16, 8
    the = Race(THIN, {"n": n, "i": i, "o": o, "hops": HOPS}, floors.thin_total(n, i, o, HOPS))
    weights = leaves(*problems.thin(n, i, o))
    race(recorder, the, weights, _ours, _peers("horner_from_inputs", "horner_from_outputs"), direct=_direct)


def thin_compiled(n: int, recorder: Recorder) -> None:
    n, i, o = sized(n, 24), 16, 8
    the = Race(THIN, {"n": n, "i": i, "o": o, "hops": HOPS}, floors.thin_total(n, i, o, HOPS))
    race(recorder, the, leaves(*problems.thin(n, i, o)), _ours, _compiled("horner_from_outputs"), time_ours=False)


def _thin_batch() -> tuple[Race, tuple[Tensor, ...]]:
    batch, n, i, o = sized(64, 3), sized(256, 20), 16, 8
    jitter = torch.linspace(0.9, 1.0, batch)[:, None, None]
    work = floors.thin_total(n, i, o, HOPS, batch)
    weights = leaves(*(weight * jitter for weight in problems.thin(n, i, o)))
    return Race(THIN_BATCH, {"batch": batch, "n": n, "i": i, "o": o, "hops": HOPS}, work), weights


def thin_batch(recorder: Recorder) -> None:
    race(recorder, *_thin_batch(), _ours, _peers("horner_batched", "horner_batched_from_inputs"), direct=_direct)


def thin_batch_compiled(recorder: Recorder) -> None:
    race(recorder, *_thin_batch(), _ours, _compiled("horner_batched"), time_ours=False)


def _rectified() -> tuple[Race, tuple[Tensor, ...]]:
    n, i, o = sized(1024, 24), 16, 8
    weights = leaves(*problems.rectified_thin(n, i, o))
    return Race(RECTIFIED, {"n": n, "i": i, "o": o, "hops": HOPS}, floors.rectified_total(n, HOPS)), weights


_ours_rectified = functools.partial(_ours, rectify=True)


def rectified(recorder: Recorder) -> None:
    direct = functools.partial(_direct, rectify=True)
    race(recorder, *_rectified(), _ours_rectified, _peers("rectified_loop"), direct=direct)


def rectified_compiled(recorder: Recorder) -> None:
    race(recorder, *_rectified(), _ours_rectified, _compiled("rectified_loop"), time_ours=False)


def thin_large(recorder: Recorder) -> None:
    n, i, o = sized(16384, 40), 4, 4
    the = Race(THIN_LARGE, {"n": n, "i": i, "o": o, "hops": HOPS}, floors.thin_total(n, i, o, HOPS))
    race(recorder, the, _thin_on_device(n, i, o), _ours, _peers("horner_from_outputs"), direct=_direct)


def _thin_on_device(n: int, i: int, o: int) -> tuple[Tensor, ...]:
    """As problems.thin, drawn on the device: a matrix of gigabytes is not sent there."""
    generator = torch.Generator(DEVICE).manual_seed(0)
    weight_hh = torch.randn(n, n, device=DEVICE, generator=generator).mul_(problems.SPECTRAL_RADIUS / n**0.5)
    weight_in = torch.randn(n, i, device=DEVICE, generator=generator).mul_(i**-0.5)
    weight_out = torch.randn(o, n, device=DEVICE, generator=generator).mul_(n**-0.5)
    return weight_hh.requires_grad_(), weight_in.requires_grad_(), weight_out.requires_grad_()


def _all_pairs(batch: int, n: int) -> tuple[Race, tuple[Tensor, ...]]:
    batch, n = sized(batch, 2), sized(n, 16)
    work = floors.all_pairs_infinite(n, batch)
    return Race(ALL_PAIRS_INFINITE, {"batch": batch, "n": n}, work), leaves(*problems.all_pairs(n, (batch,)))


_ours_infinite = functools.partial(rrnn_ext.resolvent_penalty, hops=None)


def all_pairs(batch: int, n: int, recorder: Recorder) -> None:
    """The peers that factorise go to MAGMA: it is not captured, and may wait for the device."""
    contenders = {
        "doubling": peers.doubling_all_pairs,
        "inverse_ex": peers.inverse_ex_all_pairs,
        "solve_ex": peers.solve_ex_all_pairs,
    }
    not_captured = ("inverse_ex", "solve_ex")
    race(recorder, *_all_pairs(batch, n), _ours_infinite, contenders, not_captured=not_captured)


def all_pairs_cusolver(batch: int, n: int, recorder: Recorder) -> None:
    """The same by cuSOLVER, which this process then prefers."""
    if not EMULATED:
        torch.backends.cuda.preferred_linalg_library("cusolver")
    contenders = {
        "inverse_ex, cuSOLVER": peers.inverse_ex_all_pairs,
        "solve_ex, cuSOLVER": peers.solve_ex_all_pairs,
    }
    race(
        recorder,
        *_all_pairs(batch, n),
        _ours_infinite,
        contenders,
        not_captured=tuple(contenders),
        time_ours=False,
    )


def memory(recorder: Recorder) -> None:
    n, i, o = sized(32768, 24), 8, 8
    release_memory()
    weights = _thin_on_device(n, i, o)
    step = value_and_gradient(_ours, weights)
    value, gradients = step()
    if not all(bool(result.isfinite().all()) for result in (value, *gradients)):
        raise AssertionError("the penalty or a gradient is not finite")
    del value, gradients
    found = Memory({"n": n, "i": i, "o": o, "hops": HOPS}, peak_bytes(step))
    recorder.line("memory", shape=found.shape, peak_bytes=found.peak_bytes)
