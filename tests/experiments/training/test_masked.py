"""Networks with the connections of a connectome: what they compute, what they are penalised for, what is kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from experiments.tasks.spike_trains import HIGHEST, SPIKE_TRAINS, SpikeTrains
from experiments.training import masked, step_cost
from experiments.training.kept import kept
from experiments.training.masked import MaskedRNN, Record
from experiments.wiring.connectome import Connectome, wiring_of
from rrnn_ext import reference
from rrnn_ext.sparse import SparseWeight

pytestmark = pytest.mark.usefixtures("one_thread")

CELLS, INPUTS, CLASSES, STEPS = 12, 2, 3, 5


@pytest.fixture(scope="module")
def connectome() -> Connectome:
    generator = torch.Generator().manual_seed(0)
    places = torch.randperm(CELLS**2, generator=generator)[:50]
    wiring = wiring_of([*"abcdefghijkl"], places // CELLS, places % CELLS, torch.ones(50), "made up")
    return Connectome(wiring, torch.tensor([0, 3, 4]), torch.tensor([1, 9, 10, 11]))


@pytest.fixture
def sequences(monkeypatch: pytest.MonkeyPatch) -> SpikeTrains:
    """Whose class is the input that is larger, or that neither is."""
    generator = torch.Generator().manual_seed(1)
    classes = torch.arange(90) % CLASSES
    rates = torch.rand(90, STEPS, INPUTS, generator=generator) * HIGHEST / 4
    for one in range(INPUTS):
        rates[classes == one, :, one] += HIGHEST / 2
    trains = SpikeTrains("made up", CLASSES, (rates[:60], classes[:60]), (rates[60:], classes[60:]), hold=1)
    monkeypatch.setitem(SPIKE_TRAINS, "made up", lambda: trains)
    return trains


def network_of(connectome: Connectome, kind: type[MaskedRNN] = MaskedRNN) -> MaskedRNN:
    return kind(connectome, INPUTS, CLASSES, torch.Generator().manual_seed(2))


def dense(network: MaskedRNN) -> tuple[Tensor, Tensor, Tensor]:
    weight_hh = network.weight_hh()
    if isinstance(weight_hh, SparseWeight):
        pattern = weight_hh.pattern
        rows = torch.arange(CELLS).repeat_interleave(pattern.crow.diff())
        weight_hh = network.values.new_zeros(CELLS, CELLS).index_put((rows, pattern.columns.long()), weight_hh.values)
    return weight_hh, network.weight_in(), network.weight_out()


@pytest.mark.parametrize("kind", step_cost.KINDS.values())
def test_is_the_network_with_these_weights(connectome: Connectome, kind: type[MaskedRNN]) -> None:
    network = network_of(connectome, kind)
    torch.nn.init.normal_(network.bias)
    W, U, V = dense(network)
    x = torch.randn(4, STEPS, INPUTS)
    h = torch.zeros(4, CELLS)
    for step in range(STEPS):
        h = torch.tanh(h @ W.T + x[:, step] @ U.T + network.bias)
    torch.testing.assert_close(network(x), h @ V.T + network.bias_out)


def test_weights_are_where_the_connectome_has_them(connectome: Connectome) -> None:
    W, U, V = dense(network_of(connectome))
    assert torch.equal(W != 0, connectome.wiring.weights.to_dense() != 0)
    assert U.any(1).nonzero().flatten().tolist() == connectome.sources.tolist()
    assert V.any(0).nonzero().flatten().tolist() == connectome.targets.tolist()
    assert network_of(connectome).values.abs().max() <= 1


@pytest.mark.parametrize("name", masked.PENALTIES)
def test_penalties_and_their_gradients(connectome: Connectome, name: str) -> None:
    network = network_of(connectome).double()
    value = masked.PENALTIES[name](network, STEPS)()
    weights = dense(network)
    if name == "L1":
        expected = torch.stack([weight.abs().sum() for weight in weights]).sum()
    else:
        expected = reference.resolvent_penalty(*weights, hops=STEPS, per_hop="per hop" in name)
    torch.testing.assert_close(value, expected)
    parameters = network.values, network.entering, network.leaving
    torch.testing.assert_close(torch.autograd.grad(value, parameters), torch.autograd.grad(expected, parameters))


@pytest.mark.usefixtures("sequences")
def test_learns_and_a_penalty_makes_pathways_weak(connectome: Connectome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masked, "LEARNING_RATE", 0.03)
    plain, penalised = (
        masked.train(connectome, "made up", penalty=name, beta=0.05, seed=0, passes=8)
        for name in (masked.NONE, "R-RNN per hop")
    )
    assert plain.wrong < 0.2
    assert penalised.walks < plain.walks / 2
    for record in (plain, penalised):
        assert record.total <= record.walks * (1 + 1e-6)
        assert 0 <= record.mean_lag <= STEPS - 1
    again = masked.train(connectome, "made up", penalty=masked.NONE, beta=0.05, seed=0, passes=8)
    assert again == plain


def test_what_is_read(connectome: Connectome, sequences: SpikeTrains) -> None:
    network = network_of(connectome)
    with torch.no_grad():
        network.values[:5] = 1e-4
    _, test = masked.examples("made up")
    assert test.sequences.max() <= 1
    found = masked.read(network, test)
    W, U, V = (each.double() for each in dense(network))
    walks = [V @ torch.linalg.matrix_power(W, m) @ U for m in range(STEPS)]
    sizes = [walk.abs().sum().item() for walk in walks]
    assert found["walks"] == pytest.approx(sum(sizes), rel=1e-5)
    assert found["total"] == pytest.approx(torch.stack(walks).sum(0).abs().sum().item(), rel=1e-5)
    assert found["mean_lag"] == pytest.approx(sum(m * size for m, size in enumerate(sizes)) / sum(sizes), rel=1e-5)
    assert found["silent"] == pytest.approx(5 / 50)
    assert found["wrong"] == (network(test.sequences).argmax(1) != sequences.test[1]).double().mean().item()


def test_what_is_there_is_not_worked_out_again(tmp_path: Path) -> None:
    calls = []

    def work(seed: int) -> Record:
        calls.append(seed)
        return Record("none", 0.0, seed, 0.1 + seed, 1 / 3, 1.0, 1.0, 1.0, 1.0, 0.0)

    path = tmp_path / "made" / "records.jsonl"
    first = [Record(**found) for found in kept(path, [{"seed": 0}], work)]
    again = [Record(**found) for found in kept(path, [{"seed": 0}, {"seed": 1}], work)]
    assert calls == [0, 1]
    assert again == [*first, replace(first[0], seed=1, wrong=1.1)]


def test_the_cost_of_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_cost, "SECONDS", 0.0)
    for kind, weights in (("sparse", 50), ("dense", 40**2)):
        cost = step_cost.measure(step_cost.made_up(40, 3), kind)
        assert (cost.kind, cost.cells) == (kind, 40)
        assert cost.weights >= weights
        assert cost.alone > 0
        assert cost.share == pytest.approx(1 - cost.alone / cost.penalised)


def test_a_made_up_connectome() -> None:
    found = step_cost.made_up(500, 20)
    assert 0.8 * 10_000 < found.wiring.connections <= 10_000  # some pairs are drawn twice
    incoming = torch.bincount(found.wiring.weights.indices()[0], minlength=500)
    assert incoming.max() > 5 * incoming.median()
    assert (len(found.sources), len(found.targets)) == (50, 50)
