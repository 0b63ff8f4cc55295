"""Bugs of sharded weights: who has which rows, and whose gradient has parts on other ranks."""

from __future__ import annotations

from support.planted_bugs.bug import Bug

_TESTS = ("over_ranks",)

SHARDED = (
    Bug(
        name="side-cut-not-sharded",
        file="rrnn_ext/sharded/call.py",
        text="    own: Tensor = weight.redistribute(placements=placements).to_local().to(dtype)",
        instead="    own: Tensor = gathered(weight).chunk(rows.ranks, dim)[mesh.get_local_rank(rows.dim)].to(dtype)",
        breaks="each rank keeps the gradient of its own rows alone of a side that is the same on every rank",
        tests=_TESTS,
    ),
    Bug(
        name="own-rows-without-the-others",
        file="rrnn_ext/sharded/infinite.py",
        text="        return None, ctx.rows.gather(grad)",
        instead="        whole = grad.new_zeros(ctx.rows.units, grad.shape[1])\n"
        "        whole[ctx.rows.begin : ctx.rows.end] = grad\n        return None, whole",
        breaks="the gradient of infinite sums loses what other ranks' outputs have of it",
        tests=_TESTS,
    ),
    Bug(
        name="total-counted-on-each-rank",
        file="rrnn_ext/sharded/infinite.py",
        text="        return None, grad\n",
        instead="        return None, ctx.rows.total(grad)\n",
        breaks="the gradient of a sum over ranks counts once for each of them",
        tests=_TESTS,
    ),
    Bug(
        name="alpha-of-one-rank",
        file="rrnn_ext/sharded/walks.py",
        text="    return walks.rows.total(torch.stack(parts).sum()) / float(walks.alpha)",
        instead="    return torch.stack(parts).sum() / float(walks.alpha)",
        breaks="the gradient of alpha is that of one rank's weights",
        tests=_TESTS,
    ),
    Bug(
        name="hop-of-the-gradient",
        file="rrnn_ext/sharded/walks.py",
        text="lefts = reverse[1:] if chain.from_inputs",
        instead="lefts = reverse[:-1] if chain.from_inputs",
        breaks="the gradient of the rows pairs vectors of one hop with those of another",
        tests=_TESTS,
    ),
    Bug(
        name="even-rows",
        file="rrnn_ext/sharded/rows.py",
        text="return -(-self.units // self.ranks)",
        instead="return max(1, self.units // self.ranks)",
        breaks="rows that the ranks do not divide are lost",
        tests=_TESTS,
    ),
    Bug(
        name="parameter-of-the-moment",
        file="rrnn_ext/sharded/fsdp.py",
        text="            return each.sharded_param",
        instead="            return parameter",
        breaks="the penalty of a model of mixed precision is that of rounded weights between forward and backward",
        tests=_TESTS,
    ),
    Bug(
        name="run-of-one-rank",
        file="rrnn_ext/sharded/gathered.py",
        text="    return _Whole.apply(weight, True) if is_sharded(weight) else weight",
        instead="    return _Whole.apply(weight, False) if is_sharded(weight) else weight",
        breaks="a rank keeps of the gradient of a network that runs what its own batch gives",
        tests=_TESTS,
    ),
)
