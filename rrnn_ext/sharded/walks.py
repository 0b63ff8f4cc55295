"""Finite walks through a matrix whose rows lie on several ranks.

Vectors are carried n x w, w of the narrower side. A product with A takes them whole and gives each rank its rows, so it
begins with an all-gather; one with A' takes each rank's rows and gives parts of a sum of all, so it ends with a
reduce-scatter: n w numbers a hop either way. The chain from the inputs takes the first kind forwards and the second
in reverse, the chain from the outputs the other way round. The gradient of a rank's rows of W is made of its rows of
one chain and of the whole vectors of the other, which are those that it has gathered: it takes no message.

What is the same on every rank, sums and alpha, has a gradient that is the same on every rank; what is a rank's
own, the rows of W and of the sides, has its own.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function

from rrnn_ext.ops._matrices import of_weight, phi
from rrnn_ext.sharded.blocks import dot, outer_product, times, times_transposed
from rrnn_ext.sharded.rows import Rows


class RowWalks(NamedTuple):
    """Sides have units as rows, and are in the dtype that is computed in; one of them is given."""

    rows: Rows
    own: Tensor  # W, (r, n), r of them on this rank
    inputs: Tensor | None  # (r, i)
    outputs: Tensor | None  # (r, o)
    alpha: float | Tensor
    hop_weights: Tensor | None
    hops: int
    rectify: bool
    per_hop: bool

    def may_overflow(self) -> bool:
        """Whether they are to be made again, in float64, where what they make is not finite. On a GPU nobody looks."""
        side = self.outputs if self.inputs is None else self.inputs
        assert side is not None
        return side.dtype == torch.float32 and not side.is_cuda

    def in_float64(self) -> RowWalks:
        """W is taken in float64 block by block."""
        inputs, outputs, hop_weights = (
            None if each is None else each.double() for each in (self.inputs, self.outputs, self.hop_weights)
        )
        return self._replace(inputs=inputs, outputs=outputs, hop_weights=hop_weights)


def row_walks(walks: RowWalks) -> Tensor:
    """(terms, o, i), the same on every rank: each hop where ``per_hop``, else their weighted sum as the one."""
    alpha = walks.alpha if isinstance(walks.alpha, Tensor) else None
    given = walks.own, walks.inputs, walks.outputs, alpha
    keeps = torch.is_grad_enabled() and any(each is not None and each.requires_grad for each in given)
    sums: Tensor = _RowWalks.apply(walks, keeps, *given)
    return sums


class _Chain:
    """The hops of one call. ``links`` are the vectors that a rank keeps of each, its rows of X_m."""

    def __init__(self, walks: RowWalks) -> None:
        self.walks, self.alpha = walks, float(walks.alpha)
        inputs, outputs = walks.inputs, walks.outputs
        self.from_inputs = outputs is None or (inputs is not None and inputs.shape[1] <= outputs.shape[1])
        start, self.other = (inputs, outputs) if self.from_inputs else (outputs, inputs)
        assert start is not None
        self.start = start
        self.scale = self.alpha ** (1 + (self.other is not None))
        self.whole: Tensor | None = None  # (n, w (L - 1)), the vectors that products with A took, hop by hop

    def forth(self, link: Tensor, hop: int, keep: bool) -> Tensor:
        """X_{hop + 1} of X_hop."""
        return self._times(link, hop, keep) if self.from_inputs else self._times_transposed(link)

    def back(self, link: Tensor, hop: int) -> Tensor:
        """What Lambda_{hop + 1} gives to Lambda_hop."""
        return self._times_transposed(link) if self.from_inputs else self._times(link, hop, True)

    def _times(self, link: Tensor, hop: int, keep: bool) -> Tensor:
        vectors = self.walks.rows.gather(link)
        width = vectors.shape[1]
        if keep:
            if self.whole is None:
                self.whole = vectors.new_empty(len(vectors), width * (self.walks.hops - 1))
            self.whole[:, hop * width : (hop + 1) * width] = vectors
        return self.alpha * times(self.walks.own, vectors, self.walks.rectify)

    def _times_transposed(self, link: Tensor) -> Tensor:
        parts = times_transposed(self.walks.own, link, self.walks.rectify)
        return self.walks.rows.scatter(parts.mul_(self.alpha))

    def weight(self, hop: int) -> Tensor | None:
        """That of a hop in the sum of all."""
        weights = self.walks.hop_weights
        return None if weights is None or self.walks.per_hop else weights[hop]

    def weighted(self, vectors: Tensor, hop: int) -> Tensor:
        weight = self.weight(hop)
        return vectors if weight is None else weight * of_weight(vectors, weight)

    def ends(self, carried: list[Tensor]) -> Tensor:
        """(terms, others, w) of what is carried to the other side."""
        rows = self.walks.rows
        if self.other is None:
            return torch.stack([self.scale * rows.gather(each) for each in carried])
        other = phi(self.other, self.walks.rectify).mT
        return rows.total(torch.stack([self.scale * (other @ each) for each in carried]))

    def lifted(self, grad_ends: Tensor) -> Tensor:
        """This rank's rows (r, w) of what the gradient (others, w) of such an end is at the vectors carried there."""
        if self.other is None:
            return self.scale * self.walks.rows.own(grad_ends)
        return self.scale * (phi(self.other, self.walks.rectify) @ grad_ends)


class _Walked(NamedTuple):
    """What a forward pass leaves for the backward one."""

    walks: RowWalks
    chain: _Chain
    links: list[Tensor]
    carried: list[Tensor]


def _forwards(walks: RowWalks, keeps: bool) -> tuple[Tensor, _Walked]:
    """The sums (terms, others, w) at the other side."""
    chain = _Chain(walks)
    link, links = phi(chain.start, walks.rectify), []
    total: Tensor | None = None
    for hop in range(walks.hops):
        if hop:
            link = chain.forth(link, hop - 1, keeps)
        if walks.per_hop or (keeps and not chain.from_inputs):
            links.append(link)
        if not walks.per_hop:
            more = chain.weighted(link, hop)
            total = more if total is None else total + more
    carried = links if total is None else [total]
    return chain.ends(carried), _Walked(walks, chain, links, carried)


class _Gradients(NamedTuple):
    own: Tensor | None
    inputs: Tensor | None
    outputs: Tensor | None

    def are_finite(self, rows: Rows) -> bool:
        """On all ranks, which takes a message."""
        lost = sum(float(not each.isfinite().all()) for each in self if each is not None)
        return float(rows.total(torch.tensor(lost))) == 0.0


def _backwards(walked: _Walked, grad_ends: Tensor, needs_own: bool) -> _Gradients:
    walks, chain = walked.walks, walked.chain

    def inflow(hop: int) -> Tensor:
        return chain.weighted(chain.lifted(grad_ends[hop if walks.per_hop else 0]), hop)

    link = inflow(walks.hops - 1)
    reverse = [link]
    for hop in range(walks.hops - 2, -1, -1):
        link = inflow(hop) + chain.back(link, hop)
        reverse.insert(0, link)
    # Of A: what comes to a unit in reverse, or is there forwards, times what leaves the units before it.
    lefts = reverse[1:] if chain.from_inputs else walked.links[:-1]
    of_own = None
    if needs_own:
        left = torch.cat(lefts, -1) if lefts else None
        of_own = outer_product(walks.own, left, chain.whole, chain.alpha, walks.rectify)
    of_start = _of_side(chain.start, link, walks.rectify)
    of_other = None
    if chain.other is not None:
        pairs = zip(walked.carried, grad_ends, strict=True)
        sums = sum(each @ grad_end.mT for each, grad_end in pairs)
        of_other = _of_side(chain.other, chain.scale * sums, walks.rectify)
    return _Gradients(of_own, *((of_start, of_other) if chain.from_inputs else (of_other, of_start)))


class _RowWalks(Function):
    @staticmethod
    def forward(
        ctx: Any,
        walks: RowWalks,
        keeps: bool,
        own: Tensor,
        inputs: Tensor | None,
        outputs: Tensor | None,
        alpha: Tensor | None,
    ) -> Tensor:
        ends, walked = _forwards(walks, keeps)
        if walks.may_overflow() and not bool(ends.isfinite().all()):  # the same on every rank
            wide, walked = _forwards(walks.in_float64(), keeps)
            ends = wide.to(ends.dtype)
        if keeps:
            ctx.save_for_backward(own, inputs, outputs, alpha, walks.hop_weights)
            ctx.walked = walked
        return ends if walked.chain.from_inputs else ends.mT

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        refuse_second_derivatives()
        own, inputs, outputs, alpha, _ = ctx.saved_tensors
        walked: _Walked = ctx.walked
        walks = walked.walks
        needs_alpha = ctx.needs_input_grad[5]
        needs_own = ctx.needs_input_grad[2] or needs_alpha
        grad_ends = grad if walked.chain.from_inputs else grad.mT
        found = _backwards(walked, grad_ends.to(walked.chain.start.dtype), needs_own)
        if walks.may_overflow() and not found.are_finite(walks.rows):
            _, walked = _forwards(walks.in_float64(), True)
            found = _backwards(walked, grad_ends.double(), needs_own)
        of_alpha = None
        if needs_alpha:
            of_alpha = _of_alpha(walks, (own, inputs, outputs), found).to(alpha)
        of_inputs, of_outputs = (None if each is None else each.to(grad.dtype) for each in found[1:])
        return None, None, found.own, of_inputs, of_outputs, of_alpha


def _of_side(side: Tensor, gradient: Tensor, rectify: bool) -> Tensor:
    return gradient * side.sign() if rectify else gradient


def _of_alpha(walks: RowWalks, weights: Any, gradients: Any) -> Tensor:
    """alpha scales every weight: alpha d/dalpha = sum_w w d/dw over all weights w (Euler)."""
    parts = [dot(*pair) for pair in zip(weights, gradients, strict=True) if pair[0] is not None]
    return walks.rows.total(torch.stack(parts).sum()) / float(walks.alpha)


def refuse_second_derivatives() -> None:
    if torch.is_grad_enabled():
        raise NotImplementedError(
            "a weight_hh that is sharded by rows has first derivatives alone: for second ones gather it, "
            "weight_hh.full_tensor()"
        )
