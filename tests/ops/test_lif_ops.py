"""The ops torch.ops.rrnn_ext.lif and lif_backward against the loop in plain PyTorch, through every option."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from support.device import DEVICE
from torch import Tensor

from rrnn_ext.ops import lif as ops
from rrnn_ext.spiking import lif, reference
from rrnn_ext.spiking.surrogate import SURROGATES

pytestmark = [pytest.mark.native, pytest.mark.emulated]

DT = 1e-3


def problem(
    steps: int = 30,
    samples: int = 3,
    n: int = 5,
    *,
    recurrent: bool = False,
    synaptic: bool = False,
    reset: float | str = 0.0,
    dtype: torch.dtype = torch.float64,
    **options: Any,
) -> tuple[Tensor, Tensor | None, dict[str, Any]]:
    """The arguments of lif: neurons that each have parameters of their own, all of which require a gradient."""
    torch.manual_seed(steps + samples + n)

    def draw(*shape: int, around: float, by: float) -> Tensor:
        return (around + by * torch.randn(shape, dtype=torch.float64)).to(DEVICE, dtype).requires_grad_()

    current = draw(steps, samples, n, around=0.1, by=0.4)
    weight_rec = draw(n, n, around=0.0, by=max(n, 1) ** -0.5) if recurrent else None
    options |= {
        "tau": draw(n, around=15e-3, by=1e-3),
        "dt": DT,
        "tau_syn": draw(n, around=5e-3, by=1e-4) if synaptic else None,
        "threshold": draw(n, around=1.0, by=0.05),
        "reset": reset if isinstance(reset, str) else draw(n, around=reset, by=0.05),
        "slope": 3.0,
    }
    return current, weight_rec, options


def in_two_parts(function: Any, current: Tensor, weight_rec: Tensor | None, options: dict[str, Any]) -> list[Tensor]:
    """Spikes, last state and all gradients of a random function of both, with the state handed over in the middle."""
    half = current.shape[0] // 2
    generator = torch.Generator(DEVICE).manual_seed(1)
    first, state = function(current[:half], weight_rec, generator=generator, **options)
    second, state = function(current[half:], weight_rec, generator=generator, state=state, **options)
    spikes = torch.cat([first, second])
    torch.manual_seed(2)
    results = [each for each in (spikes, *state) if each is not None]
    loss = sum(
        (each * torch.randn(each.shape, dtype=each.dtype).to(DEVICE)).sum() for each in results if each.requires_grad
    )
    inputs = [each for each in (current, weight_rec, *options.values()) if isinstance(each, Tensor)]
    return [*results, *torch.autograd.grad(loss, inputs, allow_unused=True, materialize_grads=True)]


@pytest.mark.parametrize("surrogate", SURROGATES)
@pytest.mark.parametrize("refractory", [0.0, 3 * DT])
@pytest.mark.parametrize("reset", [0.0, -0.3, "subtract"])
@pytest.mark.parametrize("synaptic", [False, True])
@pytest.mark.parametrize("recurrent", [False, True])
def test_like_the_loop(recurrent: bool, synaptic: bool, reset: Any, refractory: float, surrogate: str) -> None:
    """Spikes, state and every gradient, for numbers of neurons that fill vectors and warps and that do not."""
    for n in (1, 5, 37):
        given = problem(n=n, recurrent=recurrent, synaptic=synaptic, reset=reset)
        given[2].update(refractory=refractory, surrogate=surrogate)
        ours, loops = in_two_parts(lif, *given), in_two_parts(reference.lif, *given)
        assert 0.02 < ours[0].mean() < 0.5  # something is tested
        assert torch.equal(ours[0], loops[0])
        for our, loop in zip(ours, loops, strict=True):
            torch.testing.assert_close(our, loop, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("reset", [0.0, "subtract"])
def test_spikes_between_looks_like_the_loop(recurrent: bool, reset: Any) -> None:
    given = problem(recurrent=recurrent, reset=reset, refractory=2 * DT, bridge=0.7)
    ours, loops = in_two_parts(lif, *given), in_two_parts(reference.lif, *given)
    plain = in_two_parts(lif, *given[:2], {**given[2], "bridge": False})
    assert ours[0].sum() > plain[0].sum()
    for our, loop in zip(ours, loops, strict=True):
        torch.testing.assert_close(our, loop, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize(("steps", "samples", "n"), [(2, 3, 5), (30, 1, 5), (3, 0, 5), (3, 2, 0)])
def test_edges_of_size(recurrent: bool, steps: int, samples: int, n: int) -> None:
    given = problem(steps, samples, n, recurrent=recurrent, synaptic=True, refractory=2 * DT)
    for our, loop in zip(in_two_parts(lif, *given), in_two_parts(reference.lif, *given), strict=True):
        torch.testing.assert_close(our, loop, rtol=1e-9, atol=1e-9)


def test_no_steps_leave_the_state_as_it_is() -> None:
    current, weight_rec, options = problem(recurrent=True, synaptic=True, refractory=3 * DT)
    _, state = lif(current, weight_rec, **options)
    spikes, same = lif(current[:0], weight_rec, state=state, **options)
    assert spikes.shape == (0, *current.shape[1:])
    for before, after in zip(state, same, strict=True):
        assert before is not None
        assert after is not None
        assert torch.equal(before, after)


def test_many_neurons() -> None:
    """More than a thread takes at once, on the CPU, and than a block has threads, on a GPU."""
    for n, recurrent in ((2500, False), (1100, True)):
        given = problem(6, 2, n, recurrent=recurrent, refractory=2 * DT)
        for our, loop in zip(in_two_parts(lif, *given), in_two_parts(reference.lif, *given), strict=True):
            torch.testing.assert_close(our, loop, rtol=1e-9, atol=1e-9)


def test_float32() -> None:
    """Within rounding, where no potential comes so near to the threshold that rounding decides."""
    given = problem(recurrent=True, synaptic=True, dtype=torch.float32)
    for our, loop in zip(in_two_parts(lif, *given), in_two_parts(reference.lif, *given), strict=True):
        torch.testing.assert_close(our, loop, rtol=1e-3, atol=1e-4)


def test_what_is_no_number_stays_none() -> None:
    """Neither a spike nor its gradient is made up where the potential is NaN; other samples are not touched."""
    current, _, options = problem(recurrent=False)
    with torch.no_grad():
        current[10, 0, 2] = torch.nan
    spikes, _ = lif(current, **options)
    assert spikes[10:, 0, 2].isnan().all()
    assert spikes.isnan().sum() == 20
    gradient = torch.autograd.grad(spikes.sum(), current)[0]
    assert gradient[:, 0, 2].isnan().all()
    assert gradient.isnan().sum() == 30


def test_upstream_gradient_that_is_the_same_at_each_step() -> None:
    """That of a sum over time is one step long in memory."""
    current, weight_rec, options = problem(recurrent=True)
    spikes, _ = lif(current, weight_rec, **options)
    weights = torch.randn(current.shape[1:], dtype=current.dtype, device=DEVICE)
    short = torch.autograd.grad(spikes, current, weights.expand_as(spikes), retain_graph=True)[0]
    long = torch.autograd.grad(spikes, current, weights.expand_as(spikes).contiguous())[0]
    assert torch.equal(short, long)


@pytest.mark.parametrize("recurrent", [False, True])
def test_threads_do_not_matter(recurrent: bool, set_threads: Any) -> None:
    given = problem(20, 7, 300, recurrent=recurrent, synaptic=True)
    set_threads(1)
    one = in_two_parts(lif, *given)
    set_threads(3)
    first, second = in_two_parts(lif, *given), in_two_parts(lif, *given)
    for alone, one_run, another in zip(one, first, second, strict=True):
        assert torch.equal(one_run, another)
        torch.testing.assert_close(alone, one_run, rtol=1e-12, atol=1e-12)


def arguments(dtype: torch.dtype) -> Iterator[tuple[Any, ...]]:
    """Of the op lif: two layers side by side, with and without each thing that can be left out."""
    groups, steps, samples, n = 2, 6, 3, 5

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, dtype=dtype).to(DEVICE)

    torch.manual_seed(4)
    for recurrent, synaptic, subtract, refractory in itertools.product((False, True), repeat=4):
        moment = (groups, samples, n)
        yield (
            draw(groups, steps, samples, n).requires_grad_(),
            draw(groups, n, n).requires_grad_() if recurrent else None,
            draw(groups, steps, samples, n).abs() if refractory else None,
            draw(groups, n).sigmoid().requires_grad_(),
            draw(groups, n).sigmoid() if synaptic else None,
            draw(groups, n).exp(),
            None if subtract else draw(groups, n) - 3,
            draw(*moment),
            draw(*moment).requires_grad_() if synaptic else None,
            (draw(*moment) > 0).to(dtype) if recurrent else None,
            (draw(*moment) > 0).to(dtype) if refractory else None,
            2 if refractory else 0,
            1,
            3.0,
            ops.KEEP_SYNAPTIC_CURRENTS if synaptic else ops.KEEP_POTENTIALS,
        )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_opcheck(dtype: torch.dtype) -> None:
    checks = ("test_schema", "test_autograd_registration", "test_faketensor", "test_aot_dispatch_dynamic")
    for index, given in enumerate(arguments(dtype)):
        torch.library.opcheck(ops.lif, given, test_utils=checks if index % 5 == 0 else checks[:3])


def test_opcheck_of_the_gradient() -> None:
    for given in arguments(torch.float64):
        with torch.no_grad():
            spikes, potentials, synaptics, _, _, last_waiting = ops.lif(*given)
        _, weight_rec, _, leak, leak_syn, threshold, reset, potential, synaptic, _, waiting, *options, keep = given
        kept = synaptics if keep == ops.KEEP_SYNAPTIC_CURRENTS else None, None if waiting is None else last_waiting
        call = (
            *(torch.randn_like(spikes), None, None, spikes, potentials, *kept, weight_rec, leak, leak_syn, threshold),
            *(reset, potential, synaptic, waiting, *options, True),
        )
        detached = tuple(each.detach() if isinstance(each, Tensor) else each for each in call)
        torch.library.opcheck(ops._lif_backward, detached, test_utils=("test_schema", "test_faketensor"))


@pytest.mark.parametrize(
    ("index", "shape", "message"),
    [
        (0, (2, 6, 3), r"current must be \(groups, steps, samples, n\), got \(2, 6, 3\)"),
        (3, (2, 4), r"leak must be \(2, 5\), got \(2, 4\)"),
        (7, (2, 5), r"potential must be \(2, 3, 5\), got \(2, 5\)"),
        (9, None, r"initial_spikes must be given"),
    ],
)
def test_what_does_not_fit_is_not_read(index: int, shape: tuple[int, ...] | None, message: str) -> None:
    *_, given = arguments(torch.float64)
    wrong = list(given)
    wrong[index] = None if shape is None else torch.zeros(shape, dtype=torch.float64, device=DEVICE)
    with torch.no_grad(), pytest.raises(RuntimeError, match=message):
        ops.lif(*wrong)
