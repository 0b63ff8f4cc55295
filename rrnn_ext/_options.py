"""The options of the penalty: what they are called, what they are where nothing is said, and what goes with what."""

from __future__ import annotations

import enum
import operator
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, get_args

import torch
from torch import Tensor

NormName: TypeAlias = Literal["l1", "l2"]
Method: TypeAlias = Literal["auto", "series", "inverse"]
Reduction: TypeAlias = Literal["sum", "mean", "none"]

_NORMS, _METHODS, _REDUCTIONS = get_args(NormName), get_args(Method), get_args(Reduction)


class Sized(Protocol):
    """What a penalty is asked of, as far as it tells whether walks can cancel."""

    @property
    def rectify(self) -> bool: ...

    @property
    def per_hop(self) -> bool: ...

    @property
    def norm(self) -> int: ...  # a Norm

    @property
    def hop_weights(self) -> Tensor | None: ...

    @property
    def pair_weights(self) -> Tensor | None: ...


def cannot_cancel(call: Sized) -> bool:
    """Whether the penalty is one sum of strengths of walks: that from all inputs, as one, to all outputs, as one."""
    plain = call.norm == Norm.l1 and call.pair_weights is None
    return call.rectify and plain and (call.per_hop or call.hop_weights is None)


class Norm(enum.IntEnum):
    """How large a matrix of walks is: the sum of absolute values, or of squares. Native ops know it by its number, as
    in csrc/common/edge.h."""

    l1 = 0
    l2 = 1


@dataclass(frozen=True, repr=False, eq=False)
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
        hops = check_options(self.hops, self.per_hop, self.norm, self.hop_weights, self.method, self.reduction)
        if hops is not self.hops:
            object.__setattr__(self, "hops", hops)

    def __repr__(self) -> str:
        """What differs from the defaults."""
        given = {name: value for name, value in vars(self).items() if value is not getattr(type(self), name)}
        shown = {name: f"tensor{tuple(x.shape)}" if isinstance(x, Tensor) else repr(x) for name, x in given.items()}
        return f"PenaltyOptions({', '.join(f'{name}={value}' for name, value in shown.items())})"


def check_options(
    hops: int | None,
    per_hop: bool,
    norm: NormName,
    hop_weights: Tensor | None,
    method: Method,
    reduction: Reduction,
) -> int | None:
    """Refuses what is not there and what does not go together; the hops, as an int."""
    check_choice("norm", norm, _NORMS)
    check_choice("reduction", reduction, _REDUCTIONS)
    hops = check_hops(hops)
    check_choice("method", method, _METHODS)
    if not per_hop and hop_weights is None:
        return hops
    option = "per_hop=True" if per_hop else "hop_weights"
    if hops is None:
        raise ValueError(f"{option} needs a finite number of hops, got hops=None")
    if method == "inverse":
        raise ValueError(
            f"method='inverse' has only the plain sum of all hops, got {option}; use method='series' or 'auto'"
        )
    return hops


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
