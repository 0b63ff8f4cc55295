"""accumulate_penalty_grad against the loss and backward: any call, any .grad, any weight."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from support.device import DEVICE
from support.random_weights import weights
from support.strategies import Call, calls
from torch import Tensor, nn

import rrnn_ext

STRENGTH = 0.25  # a power of two, which rounds nothing

pytestmark = pytest.mark.native


def through_the_loss(leaves: dict[str, Any], **options: Any) -> Tensor:
    value = rrnn_ext.resolvent_penalty(**leaves, **options)
    if value.requires_grad:
        (STRENGTH * value).sum().backward()
    return value.detach()


def copied(leaves: dict[str, Any]) -> dict[str, Any]:
    return {name: leaf.detach().clone().requires_grad_() for name, leaf in leaves.items()}


def both_ways(leaves: dict[str, Any], **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The leaves after the loss, and after the direct way, which give the same value."""
    by_loss, by_hand = copied(leaves), copied(leaves)
    expected = through_the_loss(by_loss, **options)
    value = rrnn_ext.accumulate_penalty_grad(**by_hand, strength=STRENGTH, **options)
    assert not value.requires_grad
    torch.testing.assert_close(value, expected, rtol=0, atol=0, equal_nan=True)
    return by_loss, by_hand


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_any_call(dtype: torch.dtype) -> None:
    """To the bit where there was no .grad."""

    @given(calls("resolvent_penalty", dtype, sizes=(0, 1, 2, 3, 17)))
    @settings(max_examples=60)
    def run(call: Call) -> None:
        leaves = {
            name: call.views[name](leaf).clone() if name in call.views else leaf for name, leaf in call.leaves.items()
        }
        by_loss, by_hand = both_ways(leaves, **call.options)
        for name, leaf in by_loss.items():
            assert (leaf.grad is None) == (by_hand[name].grad is None)
            if leaf.grad is not None:
                assert torch.equal(by_hand[name].grad, leaf.grad), name

    run()


GRADS: dict[str, Callable[[Tensor], Tensor | None]] = {
    "none": lambda leaf: None,
    "dense": torch.cos,
    "transposed": lambda leaf: leaf.detach().cos().mT.contiguous().mT,
    "strided": lambda leaf: leaf.detach().cos().repeat_interleave(2, -1)[..., ::2],
    "expanded": lambda leaf: leaf.detach()[:1].cos().expand_as(leaf),
    "sparse": lambda leaf: leaf.detach().cos().to_sparse(),
    "with a graph": lambda leaf: leaf.cos(),
}


@pytest.mark.parametrize("kind", GRADS)
@pytest.mark.parametrize("options", [{"hops": 5}, {"hops": 5, "rectify": True}, {"hops": None}], ids=str)
def test_any_grad(kind: str, options: dict[str, Any]) -> None:
    """Whatever .grad is, the gradient is added to it, of some weights or of all."""
    leaves = copied(weights(6, 4, 3))
    for name, leaf in leaves.items():
        if name != "weight_in":
            grad = GRADS[kind](leaf)
            leaf.grad = grad if kind == "with a graph" or grad is None else grad.detach()
    before = {name: 0 if leaf.grad is None else leaf.grad.to_dense().clone() for name, leaf in leaves.items()}
    alone = copied(leaves)
    through_the_loss(alone, **options)
    rrnn_ext.accumulate_penalty_grad(**leaves, strength=STRENGTH, **options)
    for name, leaf in leaves.items():
        assert leaf.grad is not None
        torch.testing.assert_close(leaf.grad.to_dense(), before[name] + alone[name].grad)


def test_a_grad_in_place_stays_where_it_is() -> None:
    """An optimiser, or a flat buffer that it looks at, has the tensor already."""
    leaves = copied(weights(6, 4, 3))
    flat = torch.zeros(sum(leaf.numel() for leaf in leaves.values()), dtype=torch.float64, device=DEVICE)
    for leaf, part in zip(leaves.values(), flat.split([leaf.numel() for leaf in leaves.values()]), strict=True):
        leaf.grad = part.view(leaf.shape)
    rrnn_ext.accumulate_penalty_grad(**leaves, hops=5)
    assert torch.equal(flat, torch.cat([leaf.grad.flatten() for leaf in leaves.values() if leaf.grad is not None]))
    assert flat.any()


def test_weights_without_gradient_get_none() -> None:
    leaves = copied(weights(6, 4, 3))
    by_loss = copied(leaves)
    through_the_loss(by_loss, hops=5)
    frozen = {name: leaf.detach() for name, leaf in leaves.items()}
    value = rrnn_ext.accumulate_penalty_grad(**frozen, hops=5)
    assert torch.equal(value, rrnn_ext.resolvent_penalty(**frozen, hops=5))
    assert all(leaf.grad is None for leaf in frozen.values())
    mixed = {**copied(leaves), "weight_hh": leaves["weight_hh"].detach()}
    rrnn_ext.accumulate_penalty_grad(**mixed, strength=STRENGTH, hops=5)
    assert mixed["weight_hh"].grad is None
    assert torch.equal(mixed["weight_in"].grad, by_loss["weight_in"].grad)


def test_tied_weights() -> None:
    """One Parameter in two places gets the sum."""
    given = weights(5, 5, None)
    by_loss, by_hand = (given["weight_hh"].clone().requires_grad_() for _ in range(2))
    (STRENGTH * rrnn_ext.resolvent_penalty(by_loss, by_loss, hops=4)).backward()
    rrnn_ext.accumulate_penalty_grad(by_hand, by_hand, strength=STRENGTH, hops=4)
    assert torch.equal(by_hand.grad, by_loss.grad)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
@pytest.mark.parametrize("options", [{"hops": 5}, {"hops": None}], ids=str)
def test_modes_of_autograd(mode: Any, options: dict[str, Any]) -> None:
    leaves = weights(6, 4, 3)
    by_loss, by_hand = copied(leaves), copied(leaves)
    through_the_loss(by_loss, **options)
    with mode():
        rrnn_ext.accumulate_penalty_grad(**by_hand, strength=STRENGTH, **options)
    for name, leaf in by_loss.items():
        assert torch.equal(by_hand[name].grad, leaf.grad)


def test_hooks_of_tensors_see_the_gradient_first() -> None:
    leaves = weights(6, 4, 3)
    masks = [torch.arange(6.0, device=DEVICE).remainder(2).double()] * 2
    by_loss, by_hand = copied(leaves), copied(leaves)
    for each, mask in zip((by_loss, by_hand), masks, strict=True):
        each["weight_hh"].register_hook(lambda grad, mask=mask: grad * mask)
    through_the_loss(by_loss, hops=5)
    rrnn_ext.accumulate_penalty_grad(**by_hand, strength=STRENGTH, hops=5)
    for name, leaf in by_loss.items():
        assert torch.equal(by_hand[name].grad, leaf.grad)
    assert not by_hand["weight_hh"].grad[:, ::2].any()


def test_autocast_changes_nothing() -> None:
    leaves = weights(6, 4, 3, dtype=torch.float32)
    by_loss, by_hand = copied(leaves), copied(leaves)
    with torch.autocast(DEVICE.type, torch.bfloat16):
        through_the_loss(by_loss, hops=5)
        rrnn_ext.accumulate_penalty_grad(**by_hand, strength=STRENGTH, hops=5)
    for name, leaf in by_loss.items():
        assert torch.equal(by_hand[name].grad, leaf.grad)


def test_another_shape_of_a_leaf() -> None:
    """Gates, one after another in the rows of a Parameter, whose .grad is added to where they are."""
    gru: Any = nn.GRU(4, 6, device=DEVICE)
    readout = torch.randn(2, 6, device=DEVICE, requires_grad=True)
    found = []
    for direct in (False, True):
        gru.zero_grad()
        readout.grad = None
        gru(torch.randn(3, 4, generator=torch.Generator().manual_seed(0)).to(DEVICE))[0].sum().backward()
        w, u = gru.weight_hh_l0.view(3, 6, 6), gru.weight_ih_l0.view(3, 6, 4)
        if direct:
            rrnn_ext.accumulate_penalty_grad(w, u, readout, strength=STRENGTH, hops=5)
        else:
            (STRENGTH * rrnn_ext.resolvent_penalty(w, u, readout, hops=5)).backward()
        found.append([gru.weight_hh_l0.grad.clone(), gru.weight_ih_l0.grad.clone(), readout.grad])
    torch.testing.assert_close(found[1], found[0])


def test_computed_weights_are_an_error() -> None:
    leaves = copied(weights(6, 4, 3))
    computed = {**leaves, "weight_in": 2 * leaves["weight_in"]}
    with pytest.raises(ValueError, match=r"weight_in must be a leaf.* \(MulBackward0\): add the penalty to the loss"):
        rrnn_ext.accumulate_penalty_grad(**computed, hops=5)
    assert all(leaf.grad is None for leaf in leaves.values())


def test_errors_leave_grad_alone() -> None:
    given = weights(6, 4, 3)
    leaves = copied({**given, "weight_hh": 4 * given["weight_hh"]})
    for leaf in leaves.values():
        leaf.grad = torch.ones_like(leaf)
    if DEVICE.type == "cpu":
        with pytest.raises(rrnn_ext.ResolventDivergenceError):
            rrnn_ext.accumulate_penalty_grad(**leaves, hops=None)
    with pytest.raises(ValueError, match="hops must be at least 1"):
        rrnn_ext.accumulate_penalty_grad(**leaves, hops=0)
    with pytest.raises(ValueError, match="strength must be finite, got inf"):
        rrnn_ext.accumulate_penalty_grad(**leaves, hops=3, strength=float("inf"))
    with pytest.raises(TypeError, match="strength must be a float"):
        rrnn_ext.accumulate_penalty_grad(**leaves, hops=3, strength=torch.tensor(1.0))  # type: ignore[arg-type]
    assert all(torch.equal(leaf.grad, torch.ones_like(leaf)) for leaf in leaves.values())


def test_compiled_code_breaks_there() -> None:
    leaves = weights(6, 4, 3)
    by_loss, by_hand = copied(leaves), copied(leaves)
    through_the_loss(by_loss, hops=5)

    def step(given: dict[str, Any]) -> Tensor:
        return 2 * rrnn_ext.accumulate_penalty_grad(**given, strength=STRENGTH, hops=5)

    torch.compile(step, backend="eager")(by_hand)
    for name, leaf in by_loss.items():
        assert torch.equal(by_hand[name].grad, leaf.grad)
    torch._dynamo.reset()
    with pytest.raises(torch._dynamo.exc.Unsupported, match="disable"):
        torch.compile(step, backend="eager", fullgraph=True)(by_hand)


def test_two_threads_at_once() -> None:
    """Each on weights of its own, some of them many times."""
    leaves = weights(33, 4, 3, dtype=torch.float32)
    expected, *others = (copied(leaves) for _ in range(3))

    def train(mine: dict[str, Any]) -> None:
        for _ in range(20):
            rrnn_ext.accumulate_penalty_grad(**mine, strength=STRENGTH, hops=9)

    train(expected)
    threads = [threading.Thread(target=train, args=(each,)) for each in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for each in others:
        for name, leaf in each.items():
            assert torch.equal(leaf.grad, expected[name].grad)


def _in_a_child(leaves: dict[str, Any], answers: Any) -> None:
    torch.set_num_threads(1)  # OpenMP's threads do not survive a fork
    mine = copied(leaves)
    rrnn_ext.accumulate_penalty_grad(**mine, strength=STRENGTH, hops=9)
    answers.put([leaf.grad.tolist() for leaf in mine.values()])


@pytest.mark.skipif(DEVICE.type == "cuda", reason="CUDA does not survive a fork")
def test_a_forked_child() -> None:
    leaves = weights(17, 4, 3)
    mine = copied(leaves)
    rrnn_ext.accumulate_penalty_grad(**mine, strength=STRENGTH, hops=9)
    processes = multiprocessing.get_context("fork")
    answers = processes.SimpleQueue()
    child = processes.Process(target=_in_a_child, args=(leaves, answers))
    child.start()
    child.join(60)
    assert child.exitcode == 0
    assert answers.get() == [leaf.grad.tolist() for leaf in mine.values()]
