"""Infinite sums on a GPU: nobody waits to hear whether they converge.

A sum that was not proved to converge is NaN. How many there were is counted on the device, the count is copied to the
host behind the work that is queued, and the next infinite sum on that device raises what it finds there.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rrnn_ext._errors import ResolventDivergenceError


class _Count:
    """Of a device: the sums without a value, by the device, and by what the host knows and has raised of it."""

    def __init__(self, device: torch.device) -> None:
        with torch.inference_mode(False):  # they are written in and out of inference mode
            self.on_device = torch.zeros((), dtype=torch.int64, device=device)
            self.on_host = torch.zeros((), dtype=torch.int64, pin_memory=True)
        torch.cuda.current_stream(device).synchronize()  # once, for the streams that will count here
        self.raised = 0


_counts: dict[torch.device, _Count] = {}


def note(proved: Tensor) -> None:
    """Counts the sums whose ``proved``, on a CUDA device, is zero. Raises ResolventDivergenceError if there were such
    among the earlier ones, as far as the device has come.

    In a CUDA graph the count is part of the graph, if an infinite sum ran on the device before the capture, as it does
    to warm up.
    """
    if torch.cuda.is_current_stream_capturing():
        if proved.device in _counts:
            _add(proved)
        return
    if proved.device not in _counts:
        _counts[proved.device] = _Count(proved.device)
    try:
        raise_noted(proved.device)
    finally:
        _add(proved)


def raise_noted(device: torch.device) -> None:
    """Raises ResolventDivergenceError, once, if there were sums without a value, as far as the device has come."""
    if device in _counts:
        count = _counts[device]
        known = int(count.on_host)  # of the host's memory: nothing is waited for
        if known > count.raised:
            count.raised = known
            raise ResolventDivergenceError(torch.nan, torch.nan, device=device)


def _add(proved: Tensor) -> None:
    count = _counts[proved.device]
    count.on_device.add_((proved == 0).sum())
    count.on_host.copy_(count.on_device, non_blocking=True)
