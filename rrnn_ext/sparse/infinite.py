"""Sums over all walks of a call of a sparse recurrent weight, vectors of the narrower side in blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from rrnn_ext._modes import transforming
from rrnn_ext.ops._matrices import pair_norm, phi
from rrnn_ext.ops._registration import differentiable_gradients
from rrnn_ext.ops.sparse_hop import transposed
from rrnn_ext.ops.sparse_infinite_walks import columns_together, sparse_infinite_walks
from rrnn_ext.sparse.call import SparseCall


def total(call: SparseCall) -> Tensor:
    """R, (o, i)."""
    walks = _Walks(call)
    return walks.in_place(torch.cat([walks.of(begin, end) for begin, end in walks.blocks()], -1))


def penalty(call: SparseCall) -> Tensor:
    """The size of R, ()."""
    given = call.given_values, _alpha(call), call.weight_in, call.weight_out
    wanted = torch.is_grad_enabled() and any(each is not None and each.requires_grad for each in given)
    if not wanted or transforming(call.values) or len(list(_Walks(call).blocks())) == 1:
        return _penalty(call)
    value: Tensor = _ByBlocks.apply(call, *given)
    return value


def _penalty(call: SparseCall) -> Tensor:
    walks = _Walks(call)
    return torch.stack([walks.size_of(begin, end) for begin, end in walks.blocks()]).sum()


def _alpha(call: SparseCall) -> Tensor:
    """The factor of each edge, a () in float64."""
    if isinstance(call.given_alpha, Tensor):
        return call.given_alpha.to(call.values.device, torch.float64)
    return torch.full((), call.given_alpha, dtype=torch.float64, device=call.values.device)


def _with(call: SparseCall, given: Sequence[Any]) -> SparseCall:
    values, alpha, weight_in, weight_out = given
    return call._replace(given_values=values, given_alpha=alpha, weight_in=weight_in, weight_out=weight_out)


class _Walks:
    """The walks that begin, or end, at some of the vectors of the narrower side."""

    def __init__(self, call: SparseCall) -> None:
        self.call, self.units = call, call.pattern.units
        inputs = self.units if call.weight_in is None else call.weight_in.shape[-1]
        outputs = self.units if call.weight_out is None else call.weight_out.shape[0]
        self.from_inputs = call.weight_out is None or (call.weight_in is not None and inputs <= outputs)
        graph = call.given_values, *call.pattern.indices
        self.graph = graph if self.from_inputs else transposed(graph[0], graph[1:])
        sides = _as_columns(call.weight_in, False), _as_columns(call.weight_out, True)
        self.start, self.other = sides if self.from_inputs else sides[::-1]
        self.count = inputs if self.from_inputs else outputs
        self.alpha = _alpha(call)

    def blocks(self) -> Iterator[tuple[int, int]]:
        """Of vectors that are carried together; one, though it may be empty, at the least."""
        together = columns_together(self.units)
        for begin in range(0, max(1, self.count), together):
            yield begin, min(begin + together, self.count)

    def of(self, begin: int, end: int) -> Tensor:
        """(others, end - begin)."""
        found = sparse_infinite_walks(
            *self.graph, self._starts(begin, end), self.alpha, self.call.rectify, proved=begin > 0
        )
        if self.other is None:
            return found
        if not self.other.is_floating_point():
            return self.call.alpha * found.index_select(0, self.other)
        return self.call.alpha * (phi(self.other, self.call.rectify).mT @ found)

    def size_of(self, begin: int, end: int) -> Tensor:
        factors = self.call.pair_weights
        if factors is not None:
            factors = (factors if self.from_inputs else factors.mT)[:, begin:end]
        return pair_norm(self.of(begin, end), factors, self.call.norm)

    def in_place(self, walks: Tensor) -> Tensor:
        """(outputs, inputs)."""
        return walks if self.from_inputs else walks.mT

    def _starts(self, begin: int, end: int) -> Tensor:
        assert self.start is not None
        if self.start.is_floating_point():
            return self.call.alpha * phi(self.start[:, begin:end], self.call.rectify)
        columns = self.call.values.new_zeros(self.units, end - begin)
        own = self.start[begin:end].unsqueeze(0)
        return columns.scatter(0, own, self.call.alpha)


def _as_columns(side: Tensor | None, transpose: bool) -> Tensor | None:
    """(n, count) where it is dense."""
    return side.mT if transpose and side is not None and side.is_floating_point() else side


class _ByBlocks(Function):
    """Value and gradient at once, block by block: the vectors of one block are kept at a time."""

    @staticmethod
    def forward(ctx: Any, call: SparseCall, *given: Tensor | None) -> Tensor:
        own = [None if each is None else each.detach().requires_grad_(each.requires_grad) for each in given]
        wanted = [each for each in own if each is not None and each.requires_grad]
        value, gradients = call.values.new_zeros(()), [torch.zeros_like(each) for each in wanted]
        for begin, end in _Walks(call).blocks():
            with torch.enable_grad():
                part = _Walks(_with(call, own)).size_of(begin, end)
                found = torch.autograd.grad(part, wanted, materialize_grads=True, allow_unused=True)
            value += part.detach()
            for gradient, more in zip(gradients, found, strict=True):
                gradient += more
        ctx.call, ctx.is_given = call, [each is not None for each in given]
        ctx.save_for_backward(*given, *gradients)
        return value

    @staticmethod
    def backward(ctx: Any, grad_value: Tensor) -> Any:
        given: Sequence[Tensor | None] = ctx.saved_tensors[:4]
        if torch.is_grad_enabled():  # a derivative of this gradient may be wanted
            return None, *differentiable_gradients(lambda *own: _penalty(_with(ctx.call, own)), given, grad_value)
        found = iter(ctx.saved_tensors[4:])
        return None, *(
            grad_value.to(each.dtype) * next(found) if each is not None and each.requires_grad else None
            for each in given
        )
