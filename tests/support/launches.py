"""What the emulated device was asked to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from rrnn_ext import _C


class Launch(NamedTuple):
    """Of a kernel. The clearing of memory is one of no blocks."""

    stream: int
    blocks: int
    barriers: int  # at which blocks waited for others


@contextmanager
def recorded(stream: int = 0) -> Iterator[list[Launch]]:
    """The launches of the block, once it has ended; ``stream`` is the current one meanwhile."""
    launches: list[Launch] = []
    _C.record_launches(stream)
    try:
        yield launches
    finally:
        launches.extend(Launch(*each) for each in _C.recorded_launches())
