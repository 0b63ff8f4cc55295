"""The options of the penalty: what they are called, what they are where nothing is said, and what goes with what."""

from __future__ import annotations

import enum
import operator
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

NormName: TypeAlias = Literal["l1", "l2"]
Method: TypeAlias = Literal["auto", "series", "inverse"]
Reduction: TypeAlias = Literal["sum", "mean", "none"]


class Norm(enum.IntEnum):
    """How large a matrix of walks is: the sum of absolute values, or of squares. Native ops know it by its number, as
    in csrc/common/edge.h."""

    l1 = 0
    l2 = 1


@dataclass(frozen=True)
class PenaltyOptions:
    """The options of :func:`rrnn_ext.resolvent_penalty`, which says what they are, checked as far as no weight is
    needed for it: ValueError and TypeError name the option, what was needed and what came.

    ::

        options = PenaltyOptions(hops=20, norm="l2")
        rrnn_ext.resolvent_penalty(weight_hh, **vars(options))
    """

    alpha: float | Tensor = 1.0
    hops: int | None = None
    rectify: bool = False
    per_hop: bool = False
    norm: NormName = "l1"
    hop_weights: Tensor | None = None
    pair_weights: Tensor | None = None
    method: Method = "auto"
    reduction: Reduction = "sum"

    def __post_init__(self) -> None:
        check_choice("norm", self.norm, get_args(NormName))
        check_choice("reduction", self.reduction, get_args(Reduction))
        check_choice("method", self.method, get_args(Method))
        hops = check_hops(self.hops)
        if hops is not self.hops:
            object.__setattr__(self, "hops", hops)
        if not self.per_hop and self.hop_weights is None:
            return
        option = "per_hop=True" if self.per_hop else "hop_weights"
        if hops is None:
            raise ValueError(f"{option} needs a finite number of hops, got hops=None")
        if self.method == "inverse":
            raise ValueError(
                f"method='inverse' has only the plain sum of all hops, got {option}; use method='series' or 'auto'"
            )


def check_choice(name: str, value: str, known: Collection[str]) -> None:
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, known))}, got {value!r}")


def check_hops(hops: int | None) -> int | None:
    return None if hops is None else _checked_hops(hops, "an int >= 1 or None")


def check_finite_hops(hops: int) -> int:
    return _checked_hops(hops, "an int >= 1")


def _checked_hops(hops: int, wanted: str) -> int:
    """Whatever counts as an int, such as NumPy's."""
    if isinstance(hops, bool) or not isinstance(hops, (int, torch.SymInt)):
        if isinstance(hops, (bool, Tensor)) or not hasattr(hops, "__index__"):
            raise TypeError(f"hops must be {wanted}, got {hops!r} ({type(hops).__name__})")
        hops = operator.index(hops)
    if hops < 1:
        raise ValueError(f"hops must be at least 1, got {hops}")
    return hops
