"""Contenders compared with ours and timed one after the other; each time is recorded as soon as it is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from benchmarks.contenders import Step, added_to_grad, check_agreement, gradients_added, value_and_gradient
from benchmarks.gpu.record import Race, Recorder
from benchmarks.gpu.timing import measure
from benchmarks.gpu.where import profiled, release_memory
from benchmarks.names import DIRECT, OURS
from benchmarks.peers import Penalty

GRADIENT_RTOL = 2e-2
WARM_UP = 3


def race(
    recorder: Recorder,
    the: Race,
    weights: tuple[Tensor, ...],
    ours: Penalty,
    peers: Mapping[str, Penalty],
    *,
    direct: Penalty | None = None,
    not_captured: tuple[str, ...] = (),
    time_ours: bool = True,
) -> None:
    """Ours through the loss, ours added to .grad (``direct``), then the peers; who fails is recorded and left behind.

    Args:
        not_captured: peers that wait for the device or use libraries that do; they are timed by queued calls.
        time_ours: whether ours are measured, not only compared with: another process may have done so.
    """
    release_memory()
    of_ours = value_and_gradient(ours, weights)
    if time_ours:
        _timed(recorder, the, OURS, of_ours)
        if direct is not None:
            added = added_to_grad(direct, weights)
            _timed(recorder, the, DIRECT, added, of_ours, lambda: gradients_added(added, weights))
            for weight in weights:
                weight.grad = None
    if recorder.profiling:
        return
    for name, peer in peers.items():
        step = value_and_gradient(peer, weights)
        _timed(recorder, the, name, step, of_ours, step, capture=name not in not_captured)


def _timed(
    recorder: Recorder,
    the: Race,
    name: str,
    step: Callable[[], object],
    of_ours: Step | None = None,
    results: Step | None = None,
    *,
    capture: bool = True,
) -> None:
    try:
        if of_ours is not None and results is not None:
            check_agreement({OURS: of_ours, name: results}, GRADIENT_RTOL)
        run(recorder, the, name, step, capture=capture)
    except (AssertionError, RuntimeError) as error:  # who disagrees, or what CUDA says: the others are still measured
        recorder.failed(name, error)


def run(recorder: Recorder, the: Race, name: str, step: Callable[[], object], *, capture: bool = True) -> None:
    """Times ``step``, or shows one warm call of it to the profiler."""
    for _ in range(WARM_UP):
        step()
    if recorder.profiling:
        with profiled():
            step()
    else:
        recorder.times(the, name, measure(step, capture=capture))
