"""The options of the penalty: what they are called, what they are where nothing is said, and what goes with what."""

from __future__ import annotations

import enum
import operator
from collections.abc import Collection
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias, get_args

import torch
from torch import Tensor

NormName: TypeAlias = Literal["l1", "l2"]
Method: TypeAlias = Literal["auto", "series", "inverse"]
Reduction: TypeAlias = Literal["sum", "mean", "none"]

_NORMS, _METHODS, _REDUCTIONS = get_args(NormName), get_args(Method), get_args(Reduction)


class Sized(Protocol):
    """What is asked of walks, as far as it tells whether they can cancel."""

    @property
    def rectify(self) -> bool: ...

    @property
    def per_hop(self) -> bool: ...

    @property
    def hop_weights(self) -> Tensor | None: ...

    @property
    def pair_weights(self) -> Tensor | None: ...


def cannot_cancel(call: Sized, norm: int) -> bool:
    """Whether the penalty is one sum of strengths of walks: that from all inputs, as one, to all outputs, as one."""
    plain = norm == Norm.l1 and call.pair_weights is None
    return call.rectify and plain and (call.per_hop or call.hop_weights is None)


class Norm(enum.IntEnum):
    """How large a matrix of walks is: the sum of absolute values, or of squares. Native ops know it by its number, as
    in csrc/common/edge.h."""

    l1 = 0
    l2 = 1


class PenaltyOptions(NamedTuple):
    """The options of :func:`rrnn_ext.resolvent_penalty`, which says what they are, in the order of its signature. Those
    that another function does not have keep their defaults."""

    alpha: float | Tensor = 1.0
    hops: int | None = None
    rectify: bool = False
    per_hop: bool = False
    norm: NormName = "l1"
    hop_weights: Tensor | None = None
    pair_weights: Tensor | None = None
    method: Method = "auto"
    reduction: Reduction = "sum"


def check_options(options: PenaltyOptions) -> PenaltyOptions:
    """Refuses what is not there and what does not go together, as far as no weight is needed for it; the hops as an
    int, and switches as a bool."""
    rectify, per_hop = check_switch("rectify", options.rectify), check_switch("per_hop", options.per_hop)
    check_choice("norm", options.norm, _NORMS)
    check_choice("reduction", options.reduction, _REDUCTIONS)
    hops = check_hops(options.hops)
    check_choice("method", options.method, _METHODS)
    if per_hop or options.hop_weights is not None:
        option = "per_hop=True" if per_hop else "hop_weights"
        if hops is None:
            raise ValueError(f"{option} needs a finite number of hops, got hops=None")
        if options.method == "inverse":
            raise ValueError(
                f"method='inverse' has only the plain sum of all hops, got {option}; use method='series' or 'auto'"
            )
    as_given = hops is options.hops and rectify is options.rectify and per_hop is options.per_hop
    return options if as_given else options._replace(hops=hops, rectify=rectify, per_hop=per_hop)


def check_switch(name: str, value: Any) -> bool:
    """Whatever counts as True or False, such as NumPy's."""
    if isinstance(value, bool):
        return value
    if getattr(getattr(value, "dtype", None), "kind", None) != "b":
        raise TypeError(f"{name} must be True or False, got {value!r} ({type(value).__name__})")
    return bool(value)


def check_choice(name: str, value: str, known: Collection[str]) -> None:
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, known))}, got {value!r}")


def check_hops(hops: int | None) -> int | None:
    return None if hops is None else _checked_hops(hops, "an int >= 1 or None")


def check_finite_hops(hops: int | None) -> int:
    return _checked_hops(hops, "an int >= 1")


def _checked_hops(hops: Any, wanted: str) -> int:
    """Whatever counts as an int, such as NumPy's."""
    if isinstance(hops, bool) or not isinstance(hops, (int, torch.SymInt)):
        if isinstance(hops, (bool, Tensor)) or not hasattr(hops, "__index__"):
            raise TypeError(f"hops must be {wanted}, got {hops!r} ({type(hops).__name__})")
        hops = operator.index(hops)
    if hops < 1:
        raise ValueError(f"hops must be at least 1, got {hops}")
    return hops
