"""Bugs that somebody could have written: what the tests are worth shows in how many of them they see."""

from __future__ import annotations

from support.planted_bugs.bug import Bug
from support.planted_bugs.cpu import CPU
from support.planted_bugs.cuda import CUDA
from support.planted_bugs.derivatives import DERIVATIVES
from support.planted_bugs.python import PYTHON
from support.planted_bugs.sharded import SHARDED

__all__ = ["BUGS", "Bug"]

BUGS = (*PYTHON, *DERIVATIVES, *SHARDED, *CPU, *CUDA)
