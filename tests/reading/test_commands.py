"""``python -m rrnn_ext``: what it prints, writes and refuses, and what it says of a package that is missing."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from matplotlib.image import imread
from torch import nn
from typer.testing import CliRunner, Result

from rrnn_ext import reading
from rrnn_ext.__main__ import PACKAGES
from rrnn_ext.reading import exhibit
from rrnn_ext.reading.commands import app

ROOT = Path(__file__).parents[2]
# Packages without which some commands run, and one that does not.
WHERE_NEEDED = {"plotly": ("model.pt", ["--html", "explorer.html"]), "safetensors": ("model.safetensors", [])}


def invoke(*arguments: str, columns: int = 80) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": str(columns)})


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module", autouse=True)
def coarse_pictures() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exhibit, "DPI", 40)
        yield


def saved(folder: Path, rnn: nn.Module, width: int) -> tuple[Path, nn.ModuleDict]:
    model = nn.ModuleDict({"cells": rnn, "head": nn.Linear(width, 2)})
    torch.save(model.state_dict(), folder / "model.pt")
    return folder / "model.pt", model


class TestRead:
    def test_the_numbers_are_those_of_the_weights(self, tmp_path: Path) -> None:
        path, model = saved(tmp_path, nn.RNN(3, 5), 5)
        result = invoke("read", str(path), "--steps", "4", "--out", str(tmp_path / "made" / "out"))
        assert result.exit_code == 0, result.output
        assert "L = 4, 5 hidden units, 3 inputs, 2 outputs" in result.output
        w, u = (model["cells"].get_parameter(f"weight_{kind}_l0").detach().double() for kind in ("hh", "ih"))
        v = model["head"].get_parameter("weight").detach().double()
        walks = torch.stack([v @ torch.linalg.matrix_power(w, lag) @ u for lag in range(4)])
        strengths = walks.abs().sum((1, 2))
        (profile,) = rows_of(tmp_path / "made" / "out" / "hop_profile.csv")
        shares = [float(profile[str(lag)]) for lag in range(4)]
        assert shares == pytest.approx((100 * strengths / strengths.sum()).tolist(), abs=0.051)
        (measures,) = rows_of(tmp_path / "made" / "out" / "network.csv")
        expected = {
            "spectral radius": torch.linalg.eigvals(w).abs().max(),
            "mean lag": (strengths * torch.arange(4)).sum() / strengths.sum(),
            "‖R‖₁": walks.sum(0).abs().sum(),
            "Σ‖P‖₁": strengths.sum(),
            "not cancelled": walks.sum(0).abs().sum() / strengths.sum(),
        }
        for name, value in expected.items():
            assert float(measures[name]) == pytest.approx(value.item(), rel=6e-3)
        by_lag = rows_of(tmp_path / "made" / "out" / "walks_by_lag.csv")
        assert [float(row["value"]) for row in by_lag] == pytest.approx(walks.flatten().tolist(), rel=1e-4, abs=1e-9)

    def test_writes_what_it_says(self, tmp_path: Path) -> None:
        path, _ = saved(tmp_path, nn.GRU(3, 5), 5)
        result = invoke("read", str(path), "--steps", "4", "--out", str(tmp_path / "out"))
        names = re.findall(r"\w+\.(?:html|csv|png)", result.output.replace("\n", " "))
        assert sorted(names) == sorted(file.name for file in (tmp_path / "out").iterdir())
        for name in names:
            if name.endswith(".png"):
                assert imread(tmp_path / "out" / name).shape[1] > 250

    def test_the_page_is_whole_in_one_file(self, tmp_path: Path) -> None:
        path, _ = saved(tmp_path, nn.GRU(3, 5), 5)
        assert invoke("read", str(path), "--steps", "4", "--out", str(tmp_path)).exit_code == 0
        text = (tmp_path / "report.html").read_text(encoding="utf-8")
        links: list[str] = []

        class Links(HTMLParser):
            def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
                links.extend(value or "" for name, value in attrs if name in ("src", "href"))

        Links().feed(text)
        assert len(links) == 6  # three pictures, each with its data
        assert all(link.startswith("data:") for link in links)
        assert "reset gate" in text
        assert "<script" not in text

    def test_a_gated_network_of_two_layers(self, tmp_path: Path) -> None:
        path, _ = saved(tmp_path, nn.LSTM(3, 5, num_layers=2), 5)
        result = invoke("read", str(path), "--steps", "4", "--out", str(tmp_path), columns=200)
        assert result.exit_code == 0, result.output
        assert [row[""] for row in rows_of(tmp_path / "network.csv")] == [
            "input gate", "forget gate", "cell gate", "output gate",
        ]  # fmt: skip
        assert "cells.weight_hh_l0 cells.weight_hh_l1" in result.output

    def test_a_projected_network_of_two_directions(self, tmp_path: Path) -> None:
        """A cell's walks are P_m = V_d W_rec^m U with W_rec = W_hh W_hr: units are those after the projection."""
        path, model = saved(tmp_path, nn.LSTM(3, 5, proj_size=2, bidirectional=True).double(), 4)
        torch.save(torch.randn(6, 4, 3), tmp_path / "x.pt")
        result = invoke(
            "read", str(path), "--steps", "4", "--data", str(tmp_path / "x.pt"), "--out", str(tmp_path / "out"),
            columns=200,
        )  # fmt: skip
        assert result.exit_code == 0, result.output
        assert "L = 4, 2 hidden units projected from 5, 3 inputs, 2 outputs" in result.output
        rows = {row[""]: row for row in rows_of(tmp_path / "out" / "network.csv")}
        gates = ("input gate", "forget gate", "cell gate", "output gate")
        assert list(rows) == ["as it ran"] + [f"{way}: {gate}" for way in ("forward", "backward") for gate in gates]
        for side, (way, suffix) in enumerate((("forward", ""), ("backward", "_reverse"))):
            hh, ih, hr = (
                model["cells"].get_parameter(f"weight_{kind}_l0{suffix}").detach() for kind in ("hh", "ih", "hr")
            )
            v = model["head"].get_parameter("weight").detach().double()[:, 2 * side : 2 * side + 2]
            for gate, w, u in zip(gates, hh.chunk(4), ih.chunk(4), strict=True):
                walks = torch.stack([v @ torch.linalg.matrix_power(hr @ w, lag) @ hr @ u for lag in range(4)])
                found = float(rows[f"{way}: {gate}"]["Σ‖P‖₁"])
                assert found == pytest.approx(walks.abs().sum().item(), rel=6e-3)

    @pytest.mark.parametrize("steps", [1, 10, 11, 137])
    @pytest.mark.parametrize("bidirectional", [False, True])
    def test_tables_fit_80_columns(self, tmp_path: Path, steps: int, bidirectional: bool) -> None:
        rnn = nn.LSTM(3, 5, num_layers=2, bidirectional=bidirectional)
        path, model = saved(tmp_path, rnn, 10 if bidirectional else 5)
        result = invoke("read", str(path), "--steps", str(steps))
        assert result.exit_code == 0, result.output
        _, _, tables = result.output.partition("\n")  # the first line, of what was read, is as long as the names are
        assert max(map(len, tables.splitlines())) <= 80
        assert "…" not in tables
        network = reading.Network.from_module(rnn, model["head"])  # type: ignore[arg-type]
        shares = 100 * reading.hop_profile(network.walks(steps))
        for share in shares[0, -1:].tolist():
            assert f"{share:.1f}" in tables
        numbers = [int(word) for word in re.findall(r"(?<=\s)\d+(?=\s)", tables)]
        assert set(range(steps)) <= set(numbers), "a lag without its column"

    def test_asks_for_the_length_of_the_sequences(self, tmp_path: Path) -> None:
        path, _ = saved(tmp_path, nn.RNN(3, 5), 5)
        result = invoke("read", str(path))
        assert result.exit_code == 2
        assert "give it by --steps" in result.stderr
        assert invoke("read", str(path), "--steps", "3").exit_code == 0

    def test_refuses_in_one_sentence(self, tmp_path: Path) -> None:
        torch.save(nn.RNN(3, 5).state_dict(), tmp_path / "model.pt")
        result = invoke("read", str(tmp_path / "model.pt"), "--steps", "3")
        assert result.exit_code == 2
        assert result.stderr.startswith("Error: the read-out is missing")
        assert invoke("read", str(tmp_path / "nothing.pt")).exit_code == 2
        assert invoke("read", str(tmp_path / "model.pt"), "--steps", "0").exit_code == 2

    def test_refuses_walks_that_overflow(self, tmp_path: Path) -> None:
        path, model = saved(tmp_path, nn.RNN(3, 5).double(), 5)
        weights = model.state_dict()
        weights["cells.weight_hh_l0"] = 1e100 * torch.eye(5, dtype=torch.float64)
        torch.save(weights, path)
        result = invoke("read", str(path), "--steps", "9")
        assert result.exit_code == 2
        assert "the walks of 4 steps and more are not finite: weights are NaN or too large" in result.stderr

    def test_help_names_the_options(self) -> None:
        assert "read" in invoke("--help").output
        text = invoke("read", "--help").output
        assert all(option in text for option in ("--steps", "--weight-hh", "--weight-in", "--weight-out", "--out"))


class TestWhatIsMissing:
    @staticmethod
    def python(code: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)

    def test_the_library_needs_torch_alone(self) -> None:
        """Also where it is told of networks and read: only pictures, tables and commands need the extra."""
        missing = [*PACKAGES, "numpy", "scipy", "sklearn", "pandas", "statsmodels", "experiments", "benchmarks"]
        finished = self.python(
            "import torch, sys\n"
            f"for name in {missing}:\n"
            "    for loaded in [n for n in sys.modules if n.partition('.')[0] == name]:\n"
            "        del sys.modules[loaded]\n"
            "    sys.modules[name] = None\n"
            "import rrnn_ext, rrnn_ext.networks, rrnn_ext.reading\n"
            "network = rrnn_ext.reading.Network.from_module(torch.nn.GRU(2, 3))\n"
            "print(rrnn_ext.reading.hop_profile(network.walks(4)).sum(-1).round(decimals=6).tolist())\n"
        )
        assert finished.returncode == 0, finished.stderr
        assert finished.stdout.split() == ["[1.0,", "1.0,", "1.0]"]

    def test_the_command_names_the_extra(self, tmp_path: Path) -> None:
        path, _ = saved(tmp_path, nn.RNN(3, 5), 5)
        argv = ["rrnn_ext", "read", str(path), "--steps", "3", "--out", str(tmp_path)]
        # sys.exit with a text prints it and ends with status 1; here one process meets every package's absence in turn.
        code = (
            "import runpy, sys\n"
            f"sys.argv = {argv}\n"
            f"for package in {[name for name in PACKAGES if name not in WHERE_NEEDED]}:\n"
            "    ours = ('rrnn_ext.reading', 'rrnn_ext.plot')\n"
            "    for name in [n for n in sys.modules if n.partition('.')[0] == package or n.startswith(ours)]:\n"
            "        del sys.modules[name]\n"
            "    sys.modules[package] = None\n"
            "    try:\n"
            "        runpy.run_module('rrnn_ext', run_name='__main__')\n"
            "    except SystemExit as exit:\n"
            "        print(exit.code)\n"
            "    del sys.modules[package]\n"
        )
        finished = self.python(code)
        lines = [line for line in finished.stdout.splitlines() if "needs" in line]
        expected = [
            f"python -m rrnn_ext needs {name}: pip install rrnn_ext[reading]"
            for name in PACKAGES
            if name not in WHERE_NEEDED
        ]
        assert lines == expected, finished.stdout + finished.stderr

    @pytest.mark.parametrize("package", WHERE_NEEDED)
    def test_what_is_missed_where_it_is_needed(self, tmp_path: Path, package: str) -> None:
        saved(tmp_path, nn.RNN(3, 5), 5)
        (tmp_path / "model.safetensors").touch()
        file, more = WHERE_NEEDED[package]
        argv = ["rrnn_ext", "read", str(tmp_path / file), "--steps", "3", *more]
        run = f"import runpy, sys; sys.modules[{package!r}] = None; sys.argv = {argv}\n"
        finished = self.python(f"{run}runpy.run_module('rrnn_ext', run_name='__main__')")
        assert finished.returncode == 1
        assert finished.stderr.splitlines()[-1] == f"python -m rrnn_ext needs {package}: pip install rrnn_ext[reading]"

    def test_plots_name_the_extra(self) -> None:
        finished = self.python("import sys; sys.modules['matplotlib'] = None; import rrnn_ext.plot")
        said = "ModuleNotFoundError: rrnn_ext.plot needs matplotlib: pip install rrnn_ext[reading]"
        assert finished.stderr.splitlines()[-1] == said

    def test_other_missing_modules_are_not_blamed_on_the_extra(self) -> None:
        finished = self.python(
            "import runpy, sys; sys.modules['torch'] = None; runpy.run_module('rrnn_ext', run_name='__main__')"
        )
        assert "ModuleNotFoundError" in finished.stderr
        assert "rrnn_ext[reading]" not in finished.stderr

    def test_the_extra_has_what_is_said(self) -> None:
        metadata = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
        extra = re.search(r"^reading = \[(.*?)^\]", metadata, re.MULTILINE | re.DOTALL)
        assert extra is not None
        assert sorted(re.findall(r'"(\w+)', extra[1])) == sorted(PACKAGES)
