"""Derivatives and vmap of finite walks through a sparse matrix.

Native kernels make values and first derivatives. What may be differentiated again is made of single hops, which are
closed under differentiation (rrnn_ext.ops.sparse_hop).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function

from rrnn_ext._modes import is_batched, transforming
from rrnn_ext.ops import native
from rrnn_ext.ops._matrices import of_weight, phi, walk_size_derivative
from rrnn_ext.ops._registration import Differentiable, derivatives_of
from rrnn_ext.ops.sparse_hop import one_by_one, sparse_hop, sparse_hop_gradient, transposed

_walk_sums = native.sparse_walks.default
_walk_sums_backward = native.sparse_walks_backward.default
_walk_penalty = native.sparse_walks_penalty.default
_walk_penalty_backward = native.sparse_walks_penalty_backward.default


class SparseWalks(NamedTuple):
    """What the ops of sums take, in the order of their schemas. A side must be given: dense, or int64 units."""

    values: Tensor
    crow: Tensor
    columns: Tensor
    t_crow: Tensor
    t_columns: Tensor
    t_from: Tensor
    weight_in: Tensor | None
    weight_out: Tensor | None
    hop_weights: Tensor | None
    alpha: float
    hops: int
    rectify: bool
    per_hop: bool

    @property
    def units(self) -> int:
        return self.crow.shape[0] - 1

    @property
    def pairs(self) -> tuple[int, int]:
        """Outputs and inputs."""
        inputs = self.units if self.weight_in is None else self.weight_in.shape[-1]
        return self.units if self.weight_out is None else self.weight_out.shape[0], inputs


class SparsePenalty(NamedTuple):
    """What the ops of penalties take, likewise. hop_weights weigh the norms of the hops where per_hop."""

    values: Tensor
    crow: Tensor
    columns: Tensor
    t_crow: Tensor
    t_columns: Tensor
    t_from: Tensor
    weight_in: Tensor | None
    weight_out: Tensor | None
    hop_weights: Tensor | None
    pair_weights: Tensor | None
    alpha: float
    hops: int
    rectify: bool
    per_hop: bool
    norm: int  # a Norm

    @property
    def walks(self) -> SparseWalks:
        """The walks whose sizes make the penalty."""
        return SparseWalks(*self[:8], None if self.per_hop else self.hop_weights, *self[10:14])


def _gradient_shapes(walks: SparseWalks) -> tuple[Tensor, Tensor, Tensor]:
    def side(weight: Tensor | None) -> Tensor:
        return walks.values.new_empty(weight.shape if _is_dense(weight) and weight is not None else (0, 0))

    return walks.values.new_empty(walks.values.shape), side(walks.weight_in), side(walks.weight_out)


@torch.library.register_fake("rrnn_ext::sparse_walks")
def _walk_sums_fake(*arguments: Any) -> Tensor:
    walks = SparseWalks(*arguments)
    return walks.values.new_empty(walks.hops if walks.per_hop else 1, *walks.pairs)


@torch.library.register_fake("rrnn_ext::sparse_walks_backward")
def _walk_sums_backward_fake(grad_walks: Tensor, *arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
    return _gradient_shapes(SparseWalks(*arguments))


@torch.library.register_fake("rrnn_ext::sparse_walks_penalty")
def _walk_penalty_fake(values: Tensor, *rest: Any) -> Tensor:
    return values.new_empty(())


@torch.library.register_fake("rrnn_ext::sparse_walks_penalty_backward")
def _walk_penalty_backward_fake(grad_value: Tensor, *arguments: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    penalty = SparsePenalty(*arguments)
    return penalty.values.new_empty(()), *_gradient_shapes(penalty.walks)


def _is_dense(weight: Tensor | None) -> bool:
    return weight is not None and weight.is_floating_point()


def _present(gradients: Sequence[Tensor | None], walks: SparseWalks) -> tuple[Tensor | None, ...]:
    """Of the values and of the sides that are dense."""
    of_values, of_in, of_out = gradients
    return of_values, of_in if _is_dense(walks.weight_in) else None, of_out if _is_dense(walks.weight_out) else None


class _ByHops:
    """The walks and their derivatives as a composition of hops, each of which is differentiable any number of times.

    Vectors are columns (n, c): X_m those of the narrower side, carried by ``indices`` from there.
    """

    def __init__(self, walks: SparseWalks) -> None:
        self.walks, alpha = walks, walks.alpha
        outputs, inputs = walks.pairs
        self.from_inputs = walks.weight_out is None or (walks.weight_in is not None and inputs <= outputs)
        graph: tuple[Tensor, ...] = walks[:6]
        mirrored = transposed(walks.values, walks[1:6])
        self.forth, self.back = (graph, mirrored) if self.from_inputs else (mirrored, graph)
        columns = self._columns(walks.weight_in, None), self._columns(walks.weight_out, None)
        self.start, self.other = columns if self.from_inputs else columns[::-1]
        both = walks.weight_in is not None and walks.weight_out is not None
        self.scale = alpha**2 if both else alpha

    def _columns(self, weight: Tensor | None, tangent: Tensor | None) -> Tensor:
        """phi of a side as columns (n, count), or its derivative in the direction of a tangent."""
        walks, side = self.walks, walks_side(self.walks, weight)
        if not _is_dense(weight) or weight is None:
            return side if tangent is None else torch.zeros_like(side)
        if tangent is None:
            return phi(side, walks.rectify)
        moved = walks_side(walks, tangent, transpose=weight is walks.weight_out)
        return side.sign() * moved if walks.rectify else moved

    def _hop(self, graph: Sequence[Tensor], vectors: Tensor) -> Tensor:
        return sparse_hop(*graph, vectors, self.walks.alpha, self.walks.rectify)

    def chain(self) -> list[Tensor]:
        links = [self.start]
        for _ in range(self.walks.hops - 1):
            links.append(self._hop(self.forth, links[-1]))
        return links

    def ends(self, links: Sequence[Tensor], other: Tensor) -> Tensor:
        """(terms, outputs, inputs) of what is carried hop by hop."""
        walks = self.walks
        if not walks.per_hop:
            links = [self._weighted(links)]
        found = torch.stack([self.scale * (other.mT @ link) for link in links])
        return found if self.from_inputs else found.mT

    def _weighted(self, links: Sequence[Tensor]) -> Tensor:
        weights = self.walks.hop_weights
        stacked = torch.stack(list(links))
        if weights is None:
            return stacked.sum(0)
        factors = weights.unsqueeze(-1).unsqueeze(-1)
        return (factors * of_weight(stacked, factors)).sum(0)

    def sums(self) -> Tensor:
        return self.ends(self.chain(), self.other)

    def moved(self, d_values: Tensor | None, d_in: Tensor | None, d_out: Tensor | None) -> Tensor:
        """The derivative of the sums in the direction of tangents."""
        walks = self.walks
        links = self.chain()
        sides = (walks.weight_in, d_in), (walks.weight_out, d_out)
        d_start, d_other = (
            None if tangent is None else self._columns(weight, tangent)
            for weight, tangent in (sides if self.from_inputs else sides[::-1])
        )
        edge = None
        if d_values is not None:
            slope = walks.alpha * (walks.values.sign() * d_values if walks.rectify else d_values)
            edge = (slope, *walks[1:6]) if self.from_inputs else transposed(slope, walks[1:6])
        moving = [torch.zeros_like(self.start) if d_start is None else d_start]
        for link in links[:-1]:
            after = self._hop(self.forth, moving[-1])
            moving.append(after if edge is None else after + sparse_hop(*edge, link, 1.0, False))
        found = self.ends(moving, self.other)
        return found if d_other is None else found + self.ends(links, d_other)

    def gradients(self, grad_walks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of the values and of both sides, from that of the sums."""
        walks, links = self.walks, self.chain()
        by_term = grad_walks if self.from_inputs else grad_walks.mT  # (terms, others, starts)
        lifted = [self.scale * (self.other @ each) for each in by_term.unbind(0)]
        weights = None if walks.per_hop else walks.hop_weights

        def inflow(hop: int) -> Tensor:
            if weights is None:
                return lifted[hop if walks.per_hop else 0]
            return of_weight(weights[hop] * lifted[0], weights[hop])

        reverse = [inflow(walks.hops - 1)]
        for hop in range(walks.hops - 2, -1, -1):
            reverse.append(inflow(hop) + self._hop(self.back, reverse[-1]))
        reverse.reverse()
        if walks.hops > 1:
            left, right = torch.cat(reverse[1:], -1), torch.cat(links[:-1], -1)
            if not self.from_inputs:
                left, right = right, left
            of_values = sparse_hop_gradient(*walks[:6], left, right, walks.alpha, walks.rectify)
        else:
            of_values = torch.zeros_like(walks.values)
        carried = links if walks.per_hop else [self._weighted(links)]
        of_other = self.scale * sum(link @ each.mT for link, each in zip(carried, by_term.unbind(0), strict=True))
        assert isinstance(of_other, Tensor)
        of_in, of_out = (reverse[0], of_other) if self.from_inputs else (of_other, reverse[0])
        return of_values, self._of_side(walks.weight_in, of_in), self._of_side(walks.weight_out, of_out.mT)

    def _of_side(self, weight: Tensor | None, gradient: Tensor) -> Tensor:
        if not _is_dense(weight) or weight is None:
            return gradient.new_zeros((0, 0))
        return weight.sign() * gradient if self.walks.rectify else gradient


def walks_side(walks: SparseWalks, weight: Tensor | None, *, transpose: bool | None = None) -> Tensor:
    """A side as columns (n, count): one that is not dense has those of the identity."""
    if weight is not None and weight.is_floating_point():
        return weight.mT if (weight is walks.weight_out if transpose is None else transpose) else weight
    units = torch.arange(walks.units, device=walks.values.device)
    return (units.unsqueeze(-1) == (units if weight is None else weight)).to(walks.values.dtype)


@derivatives_of(_walk_sums)
class _SparseWalks(Differentiable):
    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.options = inputs[9:]
        ctx.save_for_backward(*inputs[:9])
        ctx.save_for_forward(*inputs[:9])

    @staticmethod
    def backward(ctx: Any, grad_walks: Tensor) -> Any:
        walks = SparseWalks(*ctx.saved_tensors, *ctx.options)
        if torch.is_grad_enabled() or is_batched(grad_walks):
            gradients = _ByHops(walks).gradients(grad_walks)
        else:
            gradients = _walk_sums_backward(grad_walks, *walks)
        return _in_place(_present(gradients, walks), walks)

    @staticmethod
    def tangent(ctx: Any, saved: Any, *tangents: Any) -> Any:
        return _ByHops(SparseWalks(*saved, *ctx.options)).moved(tangents[0], *tangents[6:8])

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> Any:
        return one_by_one(_walk_sums, info, in_dims, args)


def _in_place(gradients: Sequence[Tensor | None], arguments: Sequence[Any]) -> tuple[Tensor | None, ...]:
    """Among the arguments of an op, none of the others of which has a gradient."""
    of_values, of_in, of_out = gradients
    return of_values, None, None, None, None, None, of_in, of_out, *(None,) * (len(arguments) - 8)


def _factors(penalty: SparsePenalty) -> Tensor | None:
    """Of the size of each of the walks (terms, o, i)."""
    factors = penalty.pair_weights
    if penalty.per_hop and penalty.hop_weights is not None:
        terms = penalty.hop_weights.unsqueeze(-1).unsqueeze(-1)
        factors = terms if factors is None else terms * factors
    return factors


def _slope(penalty: SparsePenalty, walks: Tensor) -> Tensor:
    """The derivative of the penalty by each of the walks, differentiable."""
    factors = _factors(penalty)
    if factors is None:
        return walk_size_derivative(walks, penalty.norm)
    return factors * walk_size_derivative(of_weight(walks, factors), penalty.norm)


def _penalty_gradients(penalty: SparsePenalty, grad_value: Tensor) -> tuple[Tensor | None, ...]:
    walks = penalty.walks
    if torch.is_grad_enabled():  # a derivative of this gradient may be wanted
        by_hops = _ByHops(walks)
        return _present(by_hops.gradients(grad_value * _slope(penalty, by_hops.sums())), walks)
    if is_batched(grad_value):  # many upstream gradients at once: is_grads_batched
        _, *gradients = _walk_penalty_backward(penalty.values.new_ones(()), *penalty)
        return _present(_scaled(gradients, grad_value), walks)
    return _present(_walk_penalty_backward(grad_value, *penalty)[1:], walks)


def _scaled(gradients: Sequence[Tensor], grad_value: Tensor) -> list[Tensor]:
    return [grad_value.reshape((1,) * each.dim()) * each for each in gradients]


@derivatives_of(_walk_penalty)
class _SparsePenalty(Differentiable):
    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.options = inputs[10:]
        ctx.save_for_backward(*inputs[:10])
        ctx.save_for_forward(*inputs[:10])

    @staticmethod
    def backward(ctx: Any, grad_value: Tensor) -> Any:
        penalty = SparsePenalty(*ctx.saved_tensors, *ctx.options)
        return _in_place(_penalty_gradients(penalty, grad_value), penalty)

    @staticmethod
    def tangent(ctx: Any, saved: Any, *tangents: Any) -> Any:
        penalty = SparsePenalty(*saved, *ctx.options)
        by_hops = _ByHops(penalty.walks)
        moved = by_hops.moved(tangents[0], *tangents[6:8])
        factors = _factors(penalty)
        moved = moved if factors is None else of_weight(moved, factors)
        return (_slope(penalty, by_hops.sums()) * moved).sum()

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> Any:
        return one_by_one(_walk_penalty, info, in_dims, args)


class _EagerPenalty(Function):
    """The value and its gradient at once, where nothing looks at the ops: the gradient takes the walks that the value
    takes, and they are not kept."""

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, weight_in: Tensor | None, weight_out: Tensor | None, constants: tuple[Any, ...]
    ) -> Tensor:
        indices, factors, ctx.options = constants
        arguments = values, *indices, weight_in, weight_out, *factors, *ctx.options
        penalty = SparsePenalty(*arguments)
        value, *gradients = _walk_penalty_backward(values.new_ones(()), *penalty)
        ctx.save_for_backward(*penalty[:10], *gradients)
        found: Tensor = value
        return found

    @staticmethod
    def backward(ctx: Any, grad_value: Tensor) -> Any:
        *arguments, of_values, of_in, of_out = ctx.saved_tensors
        penalty = SparsePenalty(*arguments, *ctx.options)
        if torch.is_grad_enabled():
            return *_penalty_gradients(penalty, grad_value), None
        return *_present(_scaled((of_values, of_in, of_out), grad_value), penalty.walks), None


def sparse_walk_sums(walks: SparseWalks) -> Tensor:
    """The walks (terms, o, i): each P_m where ``per_hop``, else their weighted sum."""
    sums: Tensor = _walk_sums(*walks)
    return sums


def sparse_walk_penalty(penalty: SparsePenalty) -> Tensor:
    """The penalty, ()."""
    values, weight_in, weight_out = penalty.values, penalty.weight_in, penalty.weight_out
    wanted = any(weight is not None and weight.requires_grad for weight in (values, weight_in, weight_out))
    if transforming(values) or not (torch.is_grad_enabled() and wanted):
        value: Tensor = _walk_penalty(*penalty)
        return value
    apply: Callable[..., Tensor] = super(Function, _EagerPenalty).apply
    return apply(values, weight_in, weight_out, (penalty[1:6], penalty[8:10], penalty[10:]))
