"""A network that is read on sequences: what is said of it is what its Jacobians say."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner, Result

from rrnn_ext.reading import Network, exhibit
from rrnn_ext.reading.commands import app

STEPS = 5
KINDS: dict[str, tuple[type[nn.RNNBase], dict[str, Any]]] = {
    "rnn": (nn.RNN, {}),
    "gru": (nn.GRU, {"num_layers": 2}),
    "without bias": (nn.GRU, {"bias": False}),
    "lstm": (nn.LSTM, {"proj_size": 4}),
    "both directions": (nn.LSTM, {"bidirectional": True, "num_layers": 2}),
}


def made(name: str) -> nn.ModuleDict:
    torch.manual_seed(0)
    kind, options = KINDS[name]
    rnn: Any = kind(3, 5, batch_first=True, dtype=torch.float64, **options)  # type: ignore[arg-type]
    width = (rnn.proj_size or 5) * (2 if rnn.bidirectional else 1)
    return nn.ModuleDict({"cells": rnn, "head": nn.Linear(width, 2, dtype=torch.float64)})


def mean_jacobian(model: nn.ModuleDict, x: Tensor) -> Tensor:
    found = torch.autograd.functional.jacobian(lambda z: model["head"](model["cells"](z)[0][:, -1]).sum(0), x)
    return found.mean(1).movedim(1, 0).flip(0)


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "80"})


@pytest.mark.parametrize("name", KINDS)
def test_walks_of_a_checkpoint_on_a_sequence(tmp_path: Path, name: str) -> None:
    model, x = made(name), torch.randn(1, STEPS, 3, dtype=torch.float64)
    torch.save(model.state_dict(), tmp_path / "model.pt")
    network = Network.from_checkpoint(tmp_path / "model.pt")
    expected = mean_jacobian(model, x)
    torch.testing.assert_close(network.walks_on(x), expected, rtol=1e-10, atol=1e-12)
    own = Network.from_module(model["cells"], model["head"])  # type: ignore[arg-type]
    torch.testing.assert_close(own.walks_on(x), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("missing", ["bias_ih_l0", "bias_hh_l0"])
def test_a_bias_that_is_not_there_is_zero(tmp_path: Path, missing: str) -> None:
    model, x = made("gru"), torch.randn(1, STEPS, 3, dtype=torch.float64)
    with torch.no_grad():
        model["cells"].get_parameter(missing).zero_()
    torch.save({name: each for name, each in model.state_dict().items() if missing not in name}, tmp_path / "model.pt")
    found = Network.from_checkpoint(tmp_path / "model.pt").walks_on(x)
    torch.testing.assert_close(found, mean_jacobian(model, x), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("suffix", [".npy", ".pt"])
def test_the_command_reads_the_network_that_ran(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exhibit, "DPI", 40)
    model, x = made("gru"), torch.randn(1, STEPS, 3, dtype=torch.float64)
    torch.save(model.state_dict(), tmp_path / "model.pt")
    data = tmp_path / f"x{suffix}"
    np.save(data, x.numpy()) if suffix == ".npy" else torch.save(x, data)
    result = invoke("read", str(tmp_path / "model.pt"), "--data", str(data), "--out", str(tmp_path / "out"))
    assert result.exit_code == 0, result.output
    with (tmp_path / "out" / "hop_profile.csv").open(newline="", encoding="utf-8") as file:
        ran, *gates = csv.DictReader(file)
    assert [row[""] for row in gates] == ["reset gate", "update gate", "new gate"]
    assert ran[""] == "as it ran"
    strengths = mean_jacobian(model, x).abs().sum((1, 2))
    shares = [float(ran[str(lag)]) for lag in range(STEPS)]
    assert shares == pytest.approx((100 * strengths / strengths.sum()).tolist(), abs=0.051)
    output = " ".join(result.output.split())
    assert "are not what a gated network does; those of the network as it ran are." in output
    assert f"ran on 1 sequence of {STEPS} steps" in output


def test_units_that_are_the_outputs(tmp_path: Path) -> None:
    lstm = nn.LSTM(3, 4, batch_first=True, dtype=torch.float64)
    torch.save(lstm.state_dict(), tmp_path / "model.pt")
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(6, STEPS, 3)))
    result = invoke("read", str(tmp_path / "model.pt"), "--units-are-outputs", "--data", str(tmp_path / "x.npy"))
    assert result.exit_code == 0, result.output
    output = " ".join(result.output.split())
    assert f"L = {STEPS}, 4 hidden units, 3 inputs, 4 outputs; ran on 6 sequences of {STEPS} steps" in output
    x = torch.randn(1, STEPS, 3, dtype=torch.float64)
    network = Network.from_checkpoint(tmp_path / "model.pt", units_are_outputs=True)
    found = torch.autograd.functional.jacobian(lambda z: lstm(z)[0][0, -1], x)[:, 0]
    torch.testing.assert_close(network.walks_on(x), found.movedim(1, 0).flip(0), rtol=1e-10, atol=1e-12)


def test_gates_are_not_passed_off_as_the_network(tmp_path: Path) -> None:
    torch.save(made("gru").state_dict(), tmp_path / "model.pt")
    output = " ".join(invoke("read", str(tmp_path / "model.pt"), "--steps", "4").output.split())
    assert "are not what a gated network does" in output
    torch.save(made("rnn").state_dict(), tmp_path / "model.pt")
    output = " ".join(invoke("read", str(tmp_path / "model.pt"), "--steps", "4").output.split())
    assert "gated" not in output


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.zeros((2, 4, 7)), "sequences must be (count, steps, 3), got (2, 4, 7)"),
        (np.zeros(4), "must hold real numbers (count, steps, inputs), got (4,)"),
        (np.full((2, 4, 3), np.nan), "has numbers that are not finite"),
        (None, "is not a file"),
    ],
)
def test_data_that_do_not_fit(tmp_path: Path, content: Any, message: str) -> None:
    torch.save(made("rnn").state_dict(), tmp_path / "model.pt")
    if content is not None:
        np.save(tmp_path / "x.npy", content)
    result = invoke("read", str(tmp_path / "model.pt"), "--data", str(tmp_path / "x.npy"))
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())
