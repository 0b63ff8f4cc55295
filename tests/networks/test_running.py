"""The penalty of a network as it ran: its walks are the Jacobians that autograd finds."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rrnn_ext
from rrnn_ext import reference

INPUTS, UNITS, OUTPUTS, STEPS, COUNT = 3, 5, 2, 6, 7
CLOSE: dict[str, Any] = {"rtol": 1e-12, "atol": 1e-13}

KINDS: dict[str, tuple[type[nn.Module], dict[str, Any]]] = {
    "tanh": (nn.RNN, {"nonlinearity": "tanh"}),
    "relu": (nn.RNN, {"nonlinearity": "relu"}),
    "gru": (nn.GRU, {}),
    "lstm": (nn.LSTM, {}),
    "projected": (nn.LSTM, {"proj_size": 4}),
    "without bias": (nn.GRU, {"bias": False}),
}
KINDS |= {f"stacked {name}": (kind, {**options, "num_layers": 2}) for name, (kind, options) in list(KINDS.items())[:5]}


def network(name: str, **more: Any) -> tuple[Any, nn.Linear]:
    torch.manual_seed(0)
    kind, options = KINDS[name]
    rnn: Any = kind(INPUTS, UNITS, batch_first=True, dtype=torch.float64, **options, **more)
    with torch.no_grad():
        for weight in rnn.parameters():
            weight.mul_(2.0)  # far from where the gates are straight
    directions = 2 if rnn.bidirectional else 1
    return rnn, nn.Linear((rnn.proj_size or UNITS) * directions, OUTPUTS, dtype=torch.float64)


def sequences(count: int = COUNT, steps: int = STEPS) -> Tensor:
    return torch.randn(count, steps, INPUTS, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def state(rnn: Any) -> Any:
    """An initial one, as the module takes it."""
    directions = 2 if rnn.bidirectional else 1
    h, c = (torch.randn(rnn.num_layers * directions, COUNT, n).double() for n in (rnn.proj_size or UNITS, UNITS))
    return (h, c) if isinstance(rnn, nn.LSTM) else h


def jacobians(rnn: Any, readout: nn.Linear, x: Tensor, hx: Any = None, step: int = -1) -> Tensor:
    """(count, o, steps, i) of the outputs at a step, one sequence at a time."""

    def jacobian(at: int) -> Any:
        own = None if hx is None else tuple(h[:, at] for h in hx) if isinstance(hx, tuple) else hx[:, at]
        return torch.autograd.functional.jacobian(lambda z: readout(rnn(z, own)[0])[step], x[at])

    return torch.stack([jacobian(at) for at in range(len(x))])


@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize("name", KINDS)
def test_per_sequence_walks_are_the_jacobians(name: str, with_state: bool) -> None:
    rnn, readout = network(name)
    x = sequences()
    hx = state(rnn) if with_state else None
    by_lag = jacobians(rnn, readout, x, hx).movedim(2, 1).flip(1)  # (count, lags, o, i)
    for per_hop, hops in ((False, STEPS), (True, STEPS), (True, 3), (False, None)):
        if per_hop or hops is not None:
            penalty = rrnn_ext.ResolventPenalty(rnn, readout, hops=hops, per_hop=per_hop, gains=COUNT)
            counted = by_lag[:, :hops]
            expected = (counted if per_hop else counted.sum(1)).abs().flatten(1).sum(1).mean()
            torch.testing.assert_close(penalty(x, rnn(x, hx)[0], hx=hx), expected, **CLOSE)


def step_matrices(rnn: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    """The Jacobians (count, steps, d, d) and (count, steps, d, i) of a one-layer module's step, of the state with all
    its parts, h first."""
    parts = 2 if isinstance(rnn, nn.LSTM) else 1
    weights = dict(rnn.named_parameters())
    cell = {nn.RNN: nn.RNNCell, nn.GRU: nn.GRUCell, nn.LSTM: nn.LSTMCell}[type(rnn)](INPUTS, UNITS, dtype=x.dtype)
    if isinstance(rnn, nn.RNN):
        cell.nonlinearity = rnn.nonlinearity
    own = {name: weights[f"{name}_l0"] for name, _ in cell.named_parameters()}

    def step(state: Tensor, x: Tensor) -> Tensor:
        given = state if parts == 1 else tuple(state.split(UNITS))
        found = torch.func.functional_call(cell, own, (x, given))
        return found if parts == 1 else torch.cat(found)

    found = []
    for sequence in x:
        now = torch.zeros(parts * UNITS, dtype=x.dtype)
        for inputs in sequence:
            found.append(torch.autograd.functional.jacobian(step, (now, inputs)))
            now = step(now, inputs).detach()
    of_state, of_inputs = (torch.stack(each).unflatten(0, x.shape[:2]) for each in zip(*found, strict=True))
    return of_state, of_inputs


@pytest.mark.parametrize("name", ["tanh", "relu", "gru", "lstm"])
def test_mean_walks_are_products_of_mean_step_jacobians(name: str) -> None:
    rnn, readout = network(name)
    x = sequences()
    recurrent, incoming = (each.mean(0).detach() for each in step_matrices(rnn, x))
    whole = torch.zeros(OUTPUTS, recurrent.shape[-1], dtype=x.dtype)
    whole[:, :UNITS] = readout.weight.detach()
    expected = reference.driven_hop_decomposition(recurrent, incoming, whole)
    penalty = rrnn_ext.ResolventPenalty(rnn, readout, hops=STEPS, gains="mean")
    out, _ = rnn(x)
    torch.testing.assert_close(penalty.hop_decomposition(x, out).detach(), expected, **CLOSE)
    torch.testing.assert_close(penalty.resolvent(x, out).detach(), expected.sum(0), **CLOSE)
    torch.testing.assert_close(penalty(x, out).detach(), expected.sum(0).abs().sum(), **CLOSE)


@pytest.mark.parametrize("name", ["tanh", "gru", "lstm", "projected"])
@pytest.mark.parametrize("layers", [1, 2])
def test_directions_do_not_cancel(name: str, layers: int) -> None:
    """Of both directions the graphs together have the Jacobian's walks, at every distance of the read-out."""
    kind, options = KINDS[name]
    torch.manual_seed(2)
    rnn: Any = kind(
        INPUTS, UNITS, num_layers=layers, bidirectional=True, batch_first=True, dtype=torch.float64, **options
    )
    readout = nn.Linear(2 * (rnn.proj_size or UNITS), OUTPUTS, dtype=torch.float64)
    x = sequences(1)
    out, _ = rnn(x)
    penalty = rrnn_ext.ResolventPenalty(rnn, readout, hops=STEPS, gains="mean")
    for step in (-1, 2):
        walks = penalty.hop_decomposition(x, out, readout_step=step).detach()
        assert len(walks) == (2 if layers == 1 else 6)
        expected = torch.zeros(STEPS, OUTPUTS, INPUTS, dtype=x.dtype)
        for at, own in enumerate(jacobians(rnn, readout, x, step=step)[0].movedim(1, 0)):
            expected[abs(at - step % STEPS)] += own
        torch.testing.assert_close(walks.sum(0), expected, **CLOSE)
        torch.testing.assert_close(penalty(x, out, readout_step=step).detach(), walks.sum(1).abs().sum(), **CLOSE)


def test_one_direction_backwards_sees_what_comes_after() -> None:
    rnn, readout = network("gru", bidirectional=True)
    with torch.no_grad():
        readout.weight[:, :UNITS] = 0  # the forward half is not read
    x = sequences(1)
    penalty = rrnn_ext.ResolventPenalty(rnn, readout, hops=STEPS, gains="mean")
    forward, backward = penalty.hop_decomposition(x, rnn(x)[0], readout_step=1).detach()
    assert forward.abs().max() == 0
    expected = jacobians(rnn, readout, x, step=1)[0].movedim(1, 0)[1:]
    torch.testing.assert_close(backward[: STEPS - 1], expected, **CLOSE)


def test_every_step_read() -> None:
    """P_m is the mean over the read-outs that have a step m steps before."""
    rnn, readout = network("lstm")
    x = sequences()
    expected = torch.zeros(COUNT, STEPS, OUTPUTS, INPUTS, dtype=x.dtype)
    for step in range(STEPS):
        own = jacobians(rnn, readout, x, step=step)
        for at in range(step + 1):
            expected[:, step - at] += own[:, :, at] / (STEPS - (step - at))
    penalty = rrnn_ext.ResolventPenalty(rnn, readout, hops=STEPS, per_hop=True, gains=COUNT)
    value = penalty(x, rnn(x)[0], readout_step="every")
    torch.testing.assert_close(value, expected.abs().sum((1, 2, 3)).mean(), **CLOSE)


@pytest.mark.parametrize("leak", [0.3, torch.linspace(0.2, 1.0, UNITS, dtype=torch.float64)])
@pytest.mark.parametrize("layers", [1, 2])
def test_leaky_networks(leak: Any, layers: int) -> None:
    rnn, readout = network("tanh" if layers == 1 else "stacked tanh")

    def run(x: Tensor) -> Tensor:
        for layer in range(layers):
            w, u, b, c = (getattr(rnn, f"{name}_l{layer}") for name in ("weight_hh", "weight_ih", "bias_hh", "bias_ih"))
            h, states = torch.zeros(len(x), UNITS, dtype=x.dtype), []
            for at in range(STEPS):
                h = (1 - leak) * h + leak * torch.tanh(h @ w.T + b + x[:, at] @ u.T + c)
                states.append(h)
            x = torch.stack(states, 1)
        return x

    x = sequences()
    own = [
        torch.autograd.functional.jacobian(lambda z: readout(run(z))[0, -1], x[at : at + 1])[:, 0]
        for at in range(COUNT)
    ]
    expected = torch.stack(own).abs().sum((1, 2, 3)).mean()
    penalty = rrnn_ext.ResolventPenalty(rnn, readout, hops=STEPS, per_hop=True, leak=leak, gains=COUNT)
    torch.testing.assert_close(penalty(x, run(x)), expected, **CLOSE)


@pytest.mark.parametrize("formula", ["as it stands", "Euler", "lerp"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_silent_unit_of_a_leaky_network_is_silent_however_its_state_was_rounded(
    formula: str, dtype: torch.dtype
) -> None:
    """What rounding leaves of a state, less what was carried on, is no sign that the unit returned something."""
    leak, units, steps = 0.1, 40, 15
    torch.manual_seed(3)
    rnn: Any = nn.RNN(INPUTS, units, nonlinearity="relu", batch_first=True)
    with torch.no_grad():
        for weight in (rnn.weight_hh_l0, rnn.weight_ih_l0, rnn.bias_hh_l0, rnn.bias_ih_l0):
            weight.mul_(3.0)
        rnn.to(dtype)
    x, h = torch.randn(1, steps, INPUTS).to(dtype), torch.zeros(1, units, dtype=dtype)
    walks, states = torch.zeros(0, units, INPUTS, dtype=torch.float64), []
    w, u = (weight.detach().double() for weight in (rnn.weight_hh_l0, rnn.weight_ih_l0))
    for now in x.unbind(1):
        sums = h @ rnn.weight_hh_l0.T + rnn.bias_hh_l0 + now @ rnn.weight_ih_l0.T + rnn.bias_ih_l0
        f = torch.relu(sums)
        h = {
            "as it stands": (1 - leak) * h + leak * f,
            "Euler": h + leak * (f - h),
            "lerp": torch.lerp(h, f, leak),
        }[formula].detach()
        states.append(h)
        slopes = leak * (f[0] > 0).double().unsqueeze(-1)
        walks = torch.cat([slopes * u.unsqueeze(0), (1 - leak) * walks + slopes * (w @ walks)])  # lag 0 first
    penalty = rrnn_ext.ResolventPenalty(rnn, hops=steps, per_hop=True, leak=leak)
    found = penalty.hop_decomposition(x, torch.stack(states, 1)).double()
    if dtype == torch.bfloat16:  # of a state in halves what is small is not known either
        assert (found - walks).abs().sum() <= 0.1 * walks.abs().sum()
    else:
        torch.testing.assert_close(found, walks, rtol=1e-4, atol=1e-5 * float(walks.abs().max()))


@pytest.mark.parametrize("name", KINDS)
def test_gradients_through_the_gains(name: str) -> None:
    """Those of the Jacobians' size by second derivatives, of every parameter."""
    rnn, readout = network(name)
    x = sequences(2).requires_grad_()
    penalty = rrnn_ext.ResolventPenalty(rnn, readout, hops=STEPS, gains=2, detach_gains=False)
    weights = [*rnn.parameters(), readout.weight]
    out, _ = rnn(x)
    found = torch.autograd.grad(penalty(x, out), weights, allow_unused=True, materialize_grads=True)
    total = []
    for output in readout(rnn(x)[0][:, -1]).sum(0):
        total.append(torch.autograd.grad(output, x, create_graph=True)[0].sum(1))
    expected = torch.autograd.grad(
        torch.stack(total).abs().sum() / 2, weights, allow_unused=True, materialize_grads=True
    )
    for own, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(own, wanted, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("name", ["tanh", "gru", "lstm"])
def test_detached_gains_leave_the_weights_of_the_walks(name: str) -> None:
    rnn, readout = network(name)
    x = sequences()
    out, _ = rnn(x)
    penalty = rrnn_ext.ResolventPenalty(rnn, readout, hops=STEPS, gains="mean")
    own = penalty(x, out)
    penalty.detach_gains = False
    torch.testing.assert_close(own, penalty(x, out), **CLOSE)
    own.backward()
    assert rnn.bias_hh_l0.grad is None
    # Of P_m = V A .. A U, homogeneous in V and in U: <V, grad V> = <U, grad U> = the value.
    for weight in (readout.weight, rnn.weight_ih_l0):
        assert weight.grad is not None
        torch.testing.assert_close((weight * weight.grad).sum(), own, rtol=1e-10, atol=0.0)


def test_options_of_the_penalty() -> None:
    rnn, readout = network("gru")
    x = sequences()
    by_lag = jacobians(rnn, readout, x).movedim(2, 1).flip(1)
    hop_weights = torch.tensor([1.0, 0.5, 0.0, 2.0], dtype=torch.float64)
    pair_weights = torch.rand(OUTPUTS, INPUTS, dtype=torch.float64)
    options = {"hop_weights": hop_weights, "pair_weights": pair_weights, "norm": "l2", "gains": COUNT}
    by_lag = 0.9 ** torch.arange(2, 6).double().view(-1, 1, 1) * by_lag[:, :4]  # an alpha for V, for U and for each hop
    weighted = hop_weights.view(-1, 1, 1)
    out, _ = rnn(x)
    total = rrnn_ext.ResolventPenalty(rnn, readout, hops=4, alpha=0.9, **options)  # type: ignore[arg-type]
    expected = (pair_weights * (weighted * by_lag).sum(1).square()).sum((1, 2)).mean()
    torch.testing.assert_close(total(x, out), expected, **CLOSE)
    per_hop = rrnn_ext.ResolventPenalty(rnn, readout, hops=4, alpha=0.9, per_hop=True, **options)  # type: ignore[arg-type]
    expected = (weighted * pair_weights * by_lag.square()).sum((1, 2, 3)).mean()
    torch.testing.assert_close(per_hop(x, out), expected, **CLOSE)
    assert per_hop.hop_decomposition(x, out).shape == (4, OUTPUTS, INPUTS)


def test_alpha_is_a_factor_of_every_edge() -> None:
    """Also between layers: at zero tanh is straight, and the network that ran is that of the weights."""
    rnn, readout = network("stacked tanh")
    with torch.no_grad():
        for name, weight in rnn.named_parameters():
            weight.mul_("bias" not in name)
    x = torch.zeros(1, STEPS, INPUTS, dtype=torch.float64)
    alpha = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    for given in (0.7, lambda: alpha):
        for rectify in (False, True):
            penalty = rrnn_ext.ResolventPenalty(rnn, readout, hops=STEPS, alpha=given, rectify=rectify)
            out, _ = rnn(x)
            torch.testing.assert_close(penalty(x, out), penalty(), **CLOSE)
            torch.testing.assert_close(penalty.hop_decomposition(x, out), penalty.hop_decomposition(), **CLOSE)
    penalty(x, out).backward()
    (expected,) = torch.autograd.grad(penalty(), alpha)
    torch.testing.assert_close(alpha.grad, expected, **CLOSE)


def test_rectified_walks_are_those_of_absolute_weights_and_gains() -> None:
    rnn, readout = network("tanh")
    x = sequences()
    out, _ = rnn(x)
    slopes = (1 - out.square()).mean(0)
    weights = rnn.weight_hh_l0.abs(), rnn.weight_ih_l0.abs(), readout.weight.abs()
    recurrent, incoming = (slopes.unsqueeze(-1) * weight for weight in weights[:2])
    expected = reference.driven_hop_decomposition(recurrent, incoming, weights[2]).sum()
    penalty = rrnn_ext.ResolventPenalty(rnn, readout, hops=STEPS, rectify=True, gains="mean")
    torch.testing.assert_close(penalty(x, out), expected, **CLOSE)


def test_cells() -> None:
    x = sequences().transpose(0, 1)
    for name, kind in (("tanh", nn.RNNCell), ("gru", nn.GRUCell), ("lstm", nn.LSTMCell)):
        rnn, readout = network(name)
        cell = kind(INPUTS, UNITS, dtype=torch.float64)
        cell.load_state_dict({own.removesuffix("_l0"): weight for own, weight in rnn.state_dict().items()})
        wanted = rrnn_ext.ResolventPenalty(rnn, readout, hops=STEPS)(
            x, rnn(x.transpose(0, 1))[0].transpose(0, 1), batch_first=False
        )
        found = rrnn_ext.ResolventPenalty(cell, readout, hops=STEPS)
        states, now = [], None
        for own in x:
            now = cell(own, now)
            states.append(now[0] if name == "lstm" else now)
        torch.testing.assert_close(found(x, torch.stack(states)), wanted, **CLOSE)


def test_no_read_out() -> None:
    rnn, _ = network("lstm")
    x = sequences(1)
    out, _ = rnn(x)
    penalty = rrnn_ext.ResolventPenalty(rnn, hops=STEPS, gains="mean")
    expected = torch.autograd.functional.jacobian(lambda z: rnn(z)[0][0, -1], x)[:, 0].movedim(1, 0).flip(0)
    torch.testing.assert_close(penalty.hop_decomposition(x, out), expected, **CLOSE)


def test_info() -> None:
    """Of the weights, of every kind of module, and of the network that ran."""
    for name, shape in (("tanh", ()), ("gru", (3,)), ("stacked lstm", (4,))):
        rnn, readout = network(name)
        info = rrnn_ext.ResolventPenalty(rnn, readout, hops=STEPS, alpha=0.5).info()
        assert isinstance(info, rrnn_ext.ResolventInfo)
        gates = [getattr(rnn, f"weight_hh_l{at}").unflatten(0, (-1, UNITS)) for at in range(rnn.num_layers)]
        radius = torch.stack([torch.linalg.eigvals(each).abs().amax(-1) for each in gates]).amax(0)
        torch.testing.assert_close(info.spectral_radius, 0.5 * radius.detach().reshape(shape), rtol=1e-6, atol=0.0)
    x = sequences(1)
    penalty = rrnn_ext.ResolventPenalty(rnn, readout, hops=2)
    ran = penalty.info(x, rnn(x)[0])
    expected = jacobians(rnn, readout, x)[0].abs().sum((0, 2)).flip(0)
    assert not isinstance(ran, rrnn_ext.ResolventInfo)
    torch.testing.assert_close(ran.strength, expected, **CLOSE)
    torch.testing.assert_close(ran.left_out, expected[2:].sum(), **CLOSE)
    penalty.hops = None
    every = penalty.info(x, rnn(x)[0])
    assert not isinstance(every, rrnn_ext.ResolventInfo)
    assert every.left_out == 0
