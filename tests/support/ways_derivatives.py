"""Ways to differentiate: torch.autograd, torch.autograd.functional, torch.autograd.forward_ad and torch.func."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from support.ways import (
    SMALL,
    Call,
    check,
    close,
    directions,
    expected,
    flat,
    inner_product,
    true_hessian,
    value_and_gradients,
    way,
)

# --------------------------------------------------------------------------------------------------------- autograd


@way("eager")
def _(call: Call) -> None:
    check(call, *value_and_gradients(call.value, call.leaves()))


@way("eager, some weights without gradient")
def _(call: Call) -> None:
    _, right = expected(call)
    for place, gradient in enumerate(right):
        leaves = call.leaves()
        leaves[place].requires_grad_()
        value = call.value(*leaves)
        value.backward()
        assert [leaf.grad is not None for leaf in leaves] == [at == place for at in range(len(leaves))]
        check(call, value.detach())
        alone = leaves[place].grad
        assert alone is not None
        close(f"gradient of leaf {place}", alone, gradient)


@way("backward twice (`retain_graph`)")
def _(call: Call) -> None:
    leaves = [leaf.requires_grad_() for leaf in call.leaves()]
    value = call.value(*leaves)
    for again in (True, False):
        check(call, value.detach(), torch.autograd.grad(value, leaves, retain_graph=again))


@way("double backward", SMALL)
def _(call: Call) -> None:
    """The Hessian, times a direction."""
    function, vector = flat(call, call.value)
    vector.requires_grad_()
    (gradient,) = torch.autograd.grad(function(vector), vector, create_graph=True)
    check_flat_gradient(call, gradient.detach())
    (direction,) = directions([vector.detach()])
    (product,) = torch.autograd.grad(gradient, vector, direction)
    close("Hessian times direction", product, true_hessian(call) @ direction)


@way("`is_grads_batched`")
def _(call: Call) -> None:
    leaves = [leaf.requires_grad_() for leaf in call.leaves()]
    value = call.value(*leaves)
    upstream = torch.tensor([1.0, -2.0], dtype=value.dtype, device=value.device)
    gradients = torch.autograd.grad(value, leaves, upstream, is_grads_batched=True)
    check(call, value.detach(), [gradient[0] for gradient in gradients])
    check(call, value.detach(), [gradient[1] / -2 for gradient in gradients])


@way("weights changed in place before backward", error=RuntimeError)
def _(call: Call) -> None:
    """Right where the weights themselves are not needed any more, else an error."""
    leaves = [leaf.requires_grad_() for leaf in call.leaves()]
    value = call.value(*leaves)
    with torch.no_grad():
        for leaf in leaves:
            leaf.mul_(2)
    try:
        gradients = torch.autograd.grad(value, leaves)
    except RuntimeError as error:
        assert "modified by an inplace operation" in str(error)  # noqa: PT017
    else:
        check(call, value.detach(), gradients)


@way("`saved_tensors_hooks`")
def _(call: Call) -> None:
    leaves = [leaf.requires_grad_() for leaf in call.leaves()]
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: tensor.clone(), lambda tensor: tensor.clone()):
        value = call.value(*leaves)
    check(call, value.detach(), torch.autograd.grad(value, leaves))


@way("activation checkpointing")
def _(call: Call) -> None:
    for reentrant in (False, True):
        leaves = [leaf.requires_grad_() for leaf in call.leaves()]
        value = torch.utils.checkpoint.checkpoint(call.value, *leaves, use_reentrant=reentrant)
        assert isinstance(value, Tensor)
        for leaf in leaves:
            leaf.grad = None
        value.backward()
        check(call, value.detach(), [leaf.grad for leaf in leaves])


@way("`torch.autograd.functional.jacobian`")
def _(call: Call) -> None:
    """Of the whole result, by loops and vectorised, in reverse and in forward mode."""
    leaves = tuple(call.leaves())
    _, right = expected(call)
    for options in ({}, {"vectorize": True}, {"vectorize": True, "strategy": "forward-mode"}):
        if call.n > 6 and options.get("strategy") == "forward-mode":
            continue  # a tangent for each of 170 x 170 weights
        gradients = torch.autograd.functional.jacobian(call.value, leaves, **options)
        for place, (gradient, truth) in enumerate(zip(gradients, right, strict=True)):
            close(f"{options}: Jacobian by leaf {place}", gradient, truth)
        if call.n <= 6:
            jacobian = torch.autograd.functional.jacobian(call.result, leaves, **options)
            truths = torch.autograd.functional.jacobian(call.true_result, leaves)
            for place, (mine, truth) in enumerate(zip(jacobian, truths, strict=True)):
                close(f"{options}: Jacobian of the result by leaf {place}", mine, truth)


@way("`torch.autograd.functional.hessian`", SMALL)
def _(call: Call) -> None:
    function, vector = flat(call, call.value)
    for options in ({}, {"vectorize": True}, {"vectorize": True, "outer_jacobian_strategy": "forward-mode"}):
        close(f"{options}: Hessian", torch.autograd.functional.hessian(function, vector, **options), true_hessian(call))


@way("`torch.autograd.functional.jvp`, `vjp`, `hvp`, `vhp`", SMALL)
def _(call: Call) -> None:
    function, vector = flat(call, call.value)
    (direction,) = directions([vector])
    gradient = flat_gradient(call)
    close("jvp", torch.autograd.functional.jvp(function, vector, direction)[1], gradient @ direction)
    close("vjp", torch.autograd.functional.vjp(function, vector)[1], gradient)
    close("hvp", torch.autograd.functional.hvp(function, vector, direction)[1], true_hessian(call) @ direction)
    close("vhp", torch.autograd.functional.vhp(function, vector, direction)[1], true_hessian(call) @ direction)


# ------------------------------------------------------------------------------------------------- forward-mode AD


@way("dual numbers (`torch.autograd.forward_ad`)")
def _(call: Call) -> None:
    check_dual_numbers(call)


@way("dual numbers under `torch.no_grad`")
def _(call: Call) -> None:
    with torch.no_grad():  # which is no matter of forward mode
        check_dual_numbers(call)


def check_dual_numbers(call: Call) -> None:
    """Of all weights at once and of each alone, whether or not they require a gradient."""
    with torch.enable_grad():
        right_value, right = expected(call)
    leaves = call.leaves()
    tangents = directions(leaves)
    slopes = [(gradient * tangent).sum() for gradient, tangent in zip(right, tangents, strict=True)]
    for requires_grad in (False, True):
        for chosen in ([*range(len(leaves))], *([place] for place in range(len(leaves)))):
            given = [leaf.clone().requires_grad_(requires_grad) for leaf in leaves]
            with forward_ad.dual_level():
                dual = [
                    forward_ad.make_dual(leaf, tangents[place]) if place in chosen else leaf
                    for place, leaf in enumerate(given)
                ]
                value, slope = forward_ad.unpack_dual(call.value(*dual))
            close("value", value, right_value)
            assert slope is not None, f"no tangent with dual numbers at {chosen}, {requires_grad=}"
            close(f"slope along {chosen}", slope, torch.stack([slopes[place] for place in chosen]).sum())


@way("dual numbers in a gradient (forward over reverse)", SMALL)
def _(call: Call) -> None:
    function, vector = flat(call, call.value)
    (direction,) = directions([vector])
    vector.requires_grad_()
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(vector, direction)
        (gradient,) = torch.autograd.grad(function(dual), dual, create_graph=True)
        primal, product = forward_ad.unpack_dual(gradient)
    check_flat_gradient(call, primal.detach())
    assert product is not None
    close("Hessian times direction", product, true_hessian(call) @ direction)


# ------------------------------------------------------------------------------------------------------- torch.func


def places(call: Call) -> tuple[int, ...]:
    return tuple(range(len(call.leaves())))


@way("`torch.func.grad`")
def _(call: Call) -> None:
    gradients, value = torch.func.grad_and_value(call.value, argnums=places(call))(*call.leaves())
    check(call, value, gradients)


@way("`torch.func.grad` under `torch.no_grad`")
def _(call: Call) -> None:
    expected(call)  # known from here on
    with torch.no_grad():
        gradients, value = torch.func.grad_and_value(call.value, argnums=places(call))(*call.leaves())
    check(call, value, gradients)


@way("`torch.func.vjp`")
def _(call: Call) -> None:
    value, pull_back = torch.func.vjp(call.value, *call.leaves())[:2]
    check(call, value, pull_back(torch.ones_like(value)))


@way("`torch.func.jvp`")
def _(call: Call) -> None:
    leaves, (_, right) = call.leaves(), expected(call)
    tangents = directions(leaves)
    value, slope = torch.func.jvp(call.value, tuple(leaves), tuple(tangents))[:2]
    check(call, value)
    close("slope", slope, inner_product(right, tangents))


@way("`torch.func.linearize`", SMALL[::3])
def _(call: Call) -> None:
    function, vector = flat(call, call.value)
    value, slope = torch.func.linearize(function, vector)
    check(call, value)
    (direction,) = directions([vector])
    close("slope", slope(direction), flat_gradient(call) @ direction)


@way("`torch.func.jacrev`", SMALL)
def _(call: Call) -> None:
    check_jacobian(call, torch.func.jacrev)


@way("`torch.func.jacfwd`", SMALL)
def _(call: Call) -> None:
    check_jacobian(call, torch.func.jacfwd)


@way("`torch.func.hessian`", SMALL)
def _(call: Call) -> None:
    """And the other orders that have a reverse mode in them."""
    function, vector = flat(call, call.value)
    close("hessian", torch.func.hessian(function)(vector), true_hessian(call))
    for outer, inner in ((torch.func.jacrev, torch.func.jacrev), (torch.func.jacrev, torch.func.jacfwd)):
        close(f"{outer.__name__} of {inner.__name__}", outer(inner(function))(vector), true_hessian(call))


@way("`torch.func.jacfwd` of `jacfwd`", SMALL)
def _(call: Call) -> None:
    """Where a custom function's own rule would give zeros: https://github.com/pytorch/pytorch/issues/197867."""
    function, vector = flat(call, call.value)
    close("Hessian", torch.func.jacfwd(torch.func.jacfwd(function))(vector), true_hessian(call))


@way("third derivatives", SMALL)
def _(call: Call) -> None:
    """Three times along one direction."""

    def third(function: Any, vector: Tensor) -> Tensor:
        (direction,) = directions([vector])

        def along(inner: Any) -> Any:
            return lambda x: (torch.func.grad(inner)(x) * direction).sum()

        return along(along(along(function)))(vector)

    close("third derivative", third(*flat(call, call.value)), third(*flat(call, call.true_value)), 1e-9)


@way("`torch.func.vmap`")
def _(call: Call) -> None:
    """Of values, and of gradients."""
    batched = scaled(call)
    each = [value_and_gradients(call.true_value, leaves) for leaves in zip(*batched, strict=True)]
    close("values", torch.vmap(call.value)(*batched), torch.stack([value for value, _ in each]))
    gradients = torch.vmap(torch.func.grad(call.value, argnums=places(call)))(*batched)
    for place, gradient in enumerate(gradients):
        close(f"gradients of leaf {place}", gradient, torch.stack([right[place] for _, right in each]))


@way("`torch.func.vmap` over one weight", SMALL)
def _(call: Call) -> None:
    """The others are shared; the batch need not be the first dimension."""
    leaves, batched = call.leaves(), scaled(call)
    for place in places(call):
        at = [0 if here == place else None for here in places(call)]
        given = [
            batch if here == place else leaf for here, (leaf, batch) in enumerate(zip(leaves, batched, strict=True))
        ]
        if leaves[place].dim():
            at[place], given[place] = -1, batched[place].movedim(0, -1).contiguous()
        right = [
            value_and_gradients(
                call.true_value, [batch[k] if here == place else leaves[here] for here, batch in enumerate(batched)]
            )
            for k in range(3)
        ]
        close(
            f"values over leaf {place}", torch.vmap(call.value, tuple(at))(*given), torch.stack([v for v, _ in right])
        )
        gradients = torch.vmap(torch.func.grad(call.value, argnums=places(call)), tuple(at))(*given)
        for here, gradient in enumerate(gradients):
            close(f"gradients of leaf {here} over leaf {place}", gradient, torch.stack([g[here] for _, g in right]))


@way("`torch.func.vmap` of `jvp`")
def _(call: Call) -> None:
    batched = scaled(call)
    tangents = directions(call.leaves())
    slopes = torch.vmap(lambda *leaves: torch.func.jvp(call.value, leaves, tuple(tangents))[1])(*batched)
    right = [
        inner_product(value_and_gradients(call.true_value, leaves)[1], tangents)
        for leaves in zip(*batched, strict=True)
    ]
    close("slopes", slopes, torch.stack(right))


class Network(nn.Module):
    """The leaves of a call as parameters; ``forward`` makes the call."""

    def __init__(self, call: Call, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        self.call = call
        self.leaves = nn.ParameterList(call.leaves(dtype))

    def forward(self) -> Tensor:
        return self.call.value(*self.leaves)


@way("`torch.func.functional_call`")
def _(call: Call) -> None:
    """With the gradients of the weights that were passed, not of those that the module has."""
    passed = {name: leaf.detach() for name, leaf in Network(call).named_parameters()}
    network = Network(call)
    with torch.no_grad():
        for leaf in network.parameters():
            leaf.zero_()
    gradients, value = torch.func.grad_and_value(lambda named: torch.func.functional_call(network, named, ()))(passed)
    check(call, value, list(gradients.values()))


@way("an ensemble (`torch.func.stack_module_state`)", SMALL)
def _(call: Call) -> None:
    networks = [Network(call) for _ in range(3)]
    for factor, network in zip(FACTORS, networks, strict=True):
        with torch.no_grad():
            for leaf in network.parameters():
                leaf.mul_(factor)
    stacked, _ = torch.func.stack_module_state(networks)
    skeleton = networks[0]
    values = torch.vmap(lambda named: torch.func.functional_call(skeleton, named, ()))(stacked)
    right = [value_and_gradients(call.true_value, list(network.leaves)) for network in networks]
    close("values", values, torch.stack([value for value, _ in right]))
    gradients = torch.autograd.grad(values.sum(), list(stacked.values()))
    for place, gradient in enumerate(gradients):
        close(f"gradients of leaf {place}", gradient, torch.stack([each[place] for _, each in right]))


FACTORS = (1.0, 0.875, 0.75)


def scaled(call: Call) -> list[Tensor]:
    """Three of each of the leaves, none like another."""
    return [torch.stack([factor * leaf for factor in FACTORS]) for leaf in call.leaves()]


def flat_gradient(call: Call) -> Tensor:
    return torch.cat([gradient.flatten() for gradient in expected(call)[1]])


def check_flat_gradient(call: Call, gradient: Tensor) -> None:
    close("gradient", gradient, flat_gradient(call))


def check_jacobian(call: Call, transform: Any) -> None:
    leaves = call.leaves()
    actual = transform(call.result, argnums=places(call))(*leaves)
    right = torch.autograd.functional.jacobian(call.true_result, tuple(leaves))
    for place, (mine, truth) in enumerate(zip(actual, right, strict=True)):
        close(f"Jacobian by leaf {place}", mine, truth)
