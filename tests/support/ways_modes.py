"""Ways to run: PyTorch's modes and defaults, autocast, threads and processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from support.device import DEVICE
from support.ways import (
    CALLS,
    LARGE_BATCHES,
    SMALL,
    Call,
    check,
    close,
    contracted,
    expected,
    second_derivative,
    value_and_gradients,
    way,
)
from support.ways_processes import tried

# ----------------------------------------------------------------------------------------------- without gradients


@way("`torch.no_grad`", CALLS)
def _(call: Call) -> None:
    leaves = [leaf.requires_grad_() for leaf in call.leaves()]
    with torch.no_grad():
        value = call.value(*leaves)
    assert not value.requires_grad
    check(call, value)


@way("`torch.inference_mode`", CALLS)
def _(call: Call) -> None:
    """Of ordinary tensors and of inference tensors, inside; and of inference tensors outside."""
    leaves = [leaf.requires_grad_() for leaf in call.leaves()]
    with torch.inference_mode():
        check(call, call.value(*leaves))
        inference = call.leaves()
        check(call, call.value(*inference))
    check(call, call.value(*inference))


# ------------------------------------------------------------------------------------------------ modes and defaults


def check_under(call: Call, setting: Callable[[], Any], dtype: torch.dtype = torch.float64) -> None:
    """Value, gradients, and, where the call has them, second derivatives, all of them made under the setting."""
    leaves = call.leaves(dtype)
    right = expected(call, dtype)  # before the setting
    if call.differentiable:
        second = second_derivative(call.true_value, [leaf.double() for leaf in leaves]) if call in SMALL else None
        with setting():
            value, gradients = value_and_gradients(call.value, leaves)
            again = second_derivative(call.value, leaves) if call in SMALL else None
        check(call, value, gradients, dtype)
        if second is not None and again is not None:
            close("second derivative", again, second, 1e-9 if dtype == torch.float64 else 1e-3)
    else:
        with setting():
            value = call.value(*leaves)
        close("value", value, right[0], 1e-12)
    wanted = dtype if call.differentiable else torch.float64
    assert (value.dtype, value.device) == (wanted, leaves[0].device)


@contextmanager
def default_device(device: str) -> Iterator[None]:
    torch.set_default_device(device)
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@way("`torch.set_default_device`", CALLS)
def _(call: Call) -> None:
    check_under(call, lambda: default_device("meta"))


@way("`with torch.device(...)`", CALLS)
def _(call: Call) -> None:
    check_under(call, lambda: torch.device("meta"))


@way("`torch.set_default_dtype`", CALLS)
def _(call: Call) -> None:
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        check_under(call, partial(default_dtype, dtype))
        if call in SMALL:
            check_under(call, partial(default_dtype, dtype), torch.float32)


@way("deterministic algorithms", CALLS)
def _(call: Call) -> None:
    """PyTorch then fills memory that nobody wrote yet with NaN."""

    @contextmanager
    def deterministic() -> Iterator[None]:
        before = torch.are_deterministic_algorithms_enabled()
        torch.use_deterministic_algorithms(True)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before)

    check_under(call, deterministic)


@way("anomaly mode", CALLS)
def _(call: Call) -> None:
    check_under(call, lambda: torch.autograd.detect_anomaly(check_nan=True))


@way("`torch.autograd.set_multithreading_enabled(False)`", CALLS)
def _(call: Call) -> None:
    check_under(call, lambda: torch.autograd.set_multithreading_enabled(False))


class PassingFunctions(TorchFunctionMode):
    """Sees each call of PyTorch, and lets it pass."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


class PassingOps(TorchDispatchMode):
    """Sees each op, and lets it pass."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


@way("`TorchFunctionMode`", CALLS)
def _(call: Call) -> None:
    check_under(call, PassingFunctions)


@way("`TorchDispatchMode`", CALLS)
def _(call: Call) -> None:
    check_under(call, PassingOps)


# ---------------------------------------------------------------------------------------------------------- autocast


@way("autocast, backward outside")
def _(call: Call) -> None:
    for dtype in (torch.float64, torch.float32):
        leaves = [leaf.requires_grad_() for leaf in call.leaves(dtype)]
        with torch.autocast(DEVICE.type, dtype=torch.bfloat16):
            value = call.result(*leaves)
        assert value.dtype == dtype
        check_contracted(call, value, leaves, dtype)


@way("autocast, backward inside")
def _(call: Call) -> None:
    for dtype in (torch.float64, torch.float32):
        leaves = [leaf.requires_grad_() for leaf in call.leaves(dtype)]
        with torch.autocast(DEVICE.type, dtype=torch.bfloat16):
            value = call.result(*leaves)
            check_contracted(call, value, leaves, dtype)


@way("autocast, backward alone inside")
def _(call: Call) -> None:
    leaves = [leaf.requires_grad_() for leaf in call.leaves(torch.float32)]
    value = call.value(*leaves)
    with torch.autocast(DEVICE.type, dtype=torch.bfloat16):
        gradients = torch.autograd.grad(value, leaves)
    check(call, value.detach(), gradients, torch.float32)


@way("autocast, second derivatives", SMALL)
def _(call: Call) -> None:
    second = second_derivative(call.true_value, [leaf.double() for leaf in call.leaves(torch.float32)])
    leaves = call.leaves(torch.float32)
    with torch.autocast(DEVICE.type, dtype=torch.bfloat16):
        again = second_derivative(call.value, leaves)
    close("second derivative", again, second, 1e-3)


@way("autocast of halves", SMALL)
def _(call: Call) -> None:
    """They are computed in float32; a gradient is rounded to its weight's own dtype."""
    for dtype in (torch.bfloat16, torch.float16):
        leaves = [leaf.requires_grad_() for leaf in call.leaves(dtype)]
        with torch.autocast(DEVICE.type, dtype=torch.bfloat16):
            value = call.value(*leaves)
            gradients = torch.autograd.grad(value, leaves)
        assert [gradient.dtype for gradient in gradients] == [dtype] * len(leaves)
        check(call, value.detach(), gradients, dtype)


def check_contracted(call: Call, result: Tensor, leaves: list[Tensor], dtype: torch.dtype) -> None:
    value = contracted(result)
    check(call, value.detach(), torch.autograd.grad(value, leaves), dtype)


# ----------------------------------------------------------------------------------------------- threads, processes


@way("two Python threads at once")
def _(call: Call) -> None:
    """Each runs both passes; then one runs backward of what the other one ran forward."""

    def both(_: int) -> list[tuple[Tensor, tuple[Tensor, ...]]]:
        return [value_and_gradients(call.value, call.leaves()) for _ in range(5)]

    leaves = [leaf.requires_grad_() for leaf in call.leaves()]
    with ThreadPoolExecutor(2) as pool:
        for results in pool.map(both, range(2)):
            for value, gradients in results:
                check(call, value, gradients)
        value = pool.submit(call.value, *leaves).result()
    check(call, value.detach(), torch.autograd.grad(value, leaves))


@way("`fork` before the first use", CALLS if DEVICE.type == "cpu" else ())
def _(call: Call) -> None:
    check_in_a_process("forks", f"before use: {call.name}")


@way("`fork` after the parent's use", CALLS if DEVICE.type == "cpu" else ())
def _(call: Call) -> None:
    check_in_a_process("forks", f"after use: {call.name}")


@way("large batches after `torch.set_num_threads`", LARGE_BATCHES if DEVICE.type == "cpu" else ())
def _(call: Call) -> None:
    check_in_a_process("large batches", call.name)


def check_in_a_process(what: str, line: str) -> None:
    right, output = tried(what)
    assert line in right, output
    assert "MKL ERROR" not in output  # it goes on after those, with whatever numbers there are
