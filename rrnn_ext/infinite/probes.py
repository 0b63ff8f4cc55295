"""Gaussian vectors that are the same at every call, and that nothing outside decides: no generator, no default device,
no rule of torch.func against random numbers."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

# Multipliers of 64-bit hashes (Steele, Lea & Flood 2014, splitmix64), as signed numbers.
_MULTIPLIERS = (0xBF58476D1CE4E5B9 - 2**64, 0x94D049BB133111EB - 2**64)
_INCREMENT = 0x9E3779B97F4A7C15 - 2**64


def gaussian(rows: int, columns: int, like: Tensor) -> Tensor:
    """(rows, columns) independent standard normal numbers, in the dtype and on the device of ``like``.

    Not to be written to: on the CPU they are kept.
    """
    on_cpu = like.device.type == "cpu"
    return (_kept if on_cpu else _gaussian)(rows, columns, like.dtype, like.device)


def _gaussian(rows: int, columns: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # they are used in and out of inference mode
        state = torch.arange(1, 2 * rows * columns + 1, device=device) * _INCREMENT
        for shift, multiplier in zip((30, 27), _MULTIPLIERS, strict=True):
            state = (state ^ ((state >> shift) & (2 ** (64 - shift) - 1))) * multiplier
        state = state ^ ((state >> 31) & (2**33 - 1))
        uniform = (((state >> 11) & (2**53 - 1)).double() + 0.5) / 2**53
        radius, angle = uniform.reshape(2, rows, columns)
        return ((-2 * radius.log()).sqrt() * (2 * math.pi * angle).cos()).to(dtype)


_kept = functools.lru_cache(maxsize=16)(_gaussian)
