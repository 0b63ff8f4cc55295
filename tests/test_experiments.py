"""The experiments end to end on tiny settings, and what their comparison rests on."""

from __future__ import annotations

import csv
import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from torch import Tensor
from typer.testing import CliRunner, Result

from experiments import digits, training
from experiments.cli import app
from experiments.demo import STRENGTHS
from experiments.regularisers import REGULARISERS
from experiments.results import Record, strongest_sparing, summarise, write_csv

ROOT = Path(__file__).parents[1]
LAG_SHARES = [f"lag_share_{lag}" for lag in range(8)]


def invoke(*arguments: str) -> Result:
    # Wide enough that no cell of the table is cut.
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "120"})


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """The networks are small: more threads only wait for one another."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def tiny_demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Path]:
    out = tmp_path_factory.mktemp("runs") / "made" / "demo"
    return invoke("demo", "--epochs", "2", "--seeds", "2", "--out", str(out)), out


class TestDemo:
    def test_prints_the_table(self, tiny_demo: tuple[Result, Path]) -> None:
        result, out = tiny_demo
        assert result.exit_code == 0, result.output
        first_cells = [line.split()[:2] for line in result.output.splitlines() if line.strip()]
        for setting in [["none", "0"], *([name, f"{s:g}"] for name in ("L1", "resolvent") for s in STRENGTHS)]:
            assert setting in first_cells
        assert f"{2 * (1 + 2 * len(STRENGTHS))}/{2 * (1 + 2 * len(STRENGTHS))} networks" in result.output
        assert str(out) in result.output

    def test_writes_every_network(self, tiny_demo: tuple[Result, Path]) -> None:
        rows = rows_of(tiny_demo[1] / "networks.csv")
        assert list(rows[0]) == [
            "regulariser", "strength", "seed", "accuracy", "resolvent_l1", "walks_l1", *LAG_SHARES,
        ]  # fmt: skip
        settings = [(row["regulariser"], float(row["strength"]), int(row["seed"])) for row in rows]
        assert settings == [("none", 0.0, seed) for seed in (0, 1)] + [
            (name, strength, seed) for name in ("L1", "resolvent") for strength in STRENGTHS for seed in (0, 1)
        ]
        for row in rows:
            correct = 450 * float(row["accuracy"])
            assert correct == pytest.approx(round(correct), abs=1e-3)
            assert sum(float(row[share]) for share in LAG_SHARES) == pytest.approx(1, abs=1e-5)
            assert 0 < float(row["resolvent_l1"]) <= float(row["walks_l1"]) * (1 + 1e-6)

    def test_table_is_the_mean_of_the_networks(self, tiny_demo: tuple[Result, Path]) -> None:
        out = tiny_demo[1]
        table, networks = rows_of(out / "table.csv"), rows_of(out / "networks.csv")
        assert list(table[0]) == [
            "regulariser", "strength", "accuracy", "accuracy_sd", "resolvent_l1", "walks_l1", *LAG_SHARES,
            *(f"lag_share_sd_{lag}" for lag in range(8)),
        ]  # fmt: skip
        assert len(table) == 1 + 2 * len(STRENGTHS)
        for row, pair in zip(table, zip(networks[::2], networks[1::2], strict=True), strict=True):
            assert (row["regulariser"], row["strength"]) == (pair[0]["regulariser"], pair[0]["strength"])
            for name in ("accuracy", "resolvent_l1", "walks_l1", *LAG_SHARES):
                assert float(row[name]) == pytest.approx(np.mean([float(network[name]) for network in pair]))
            assert float(row["accuracy_sd"]) == pytest.approx(
                np.std([float(network["accuracy"]) for network in pair], ddof=1)
            )

    def test_writes_a_figure(self, tiny_demo: tuple[Result, Path]) -> None:
        pixels = imread(tiny_demo[1] / "digits.png")[..., :3]
        assert pixels.shape[0] > 600
        assert pixels.shape[1] > 2000
        for colour in ("#000000", "#D55E00", "#0072B2"):
            rgb = np.array([int(colour[start : start + 2], 16) for start in (1, 3, 5)]) / 255
            assert (np.abs(pixels - rgb).max(-1) < 0.01).sum() > 500, f"hardly a pixel in {colour}"

    def test_same_seed_same_table(self, tiny_demo: tuple[Result, Path], tmp_path: Path) -> None:
        assert invoke("demo", "--epochs", "2", "--seeds", "1", "--out", str(tmp_path)).exit_code == 0
        first, second = rows_of(tiny_demo[1] / "networks.csv"), rows_of(tmp_path / "networks.csv")
        assert second == [row for row in first if row["seed"] == "0"]
        other_seed = [row for row in first if row["seed"] == "1"]
        assert all(one["walks_l1"] != other["walks_l1"] for one, other in zip(second, other_seed, strict=True))
        # A single network has no spread, and the table does not claim one.
        assert all(math.isnan(float(row["accuracy_sd"])) for row in rows_of(tmp_path / "table.csv"))

    def test_leaves_threads_and_generator_alone(self, tmp_path: Path, set_threads: Callable[[int], None]) -> None:
        set_threads(2)
        state = torch.get_rng_state()
        assert invoke("demo", "--epochs", "1", "--seeds", "1", "--out", str(tmp_path)).exit_code == 0
        assert torch.get_num_threads() == 2
        assert torch.equal(torch.get_rng_state(), state)


class TestCommandLine:
    def test_help_names_commands_and_options(self) -> None:
        assert "demo" in invoke("--help").output
        text = invoke("demo", "--help").output
        assert all(option in text for option in ("--out", "--epochs", "--seeds", "runs/demo"))

    @pytest.mark.parametrize("arguments", [("demo", "--epochs", "0"), ("demo", "--seeds", "0"), ("dem",)])
    def test_refuses(self, arguments: tuple[str, ...]) -> None:
        assert invoke(*arguments).exit_code == 2

    def test_refuses_a_file_as_out(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        assert invoke("demo", "--out", str(tmp_path / "file")).exit_code == 2

    def test_a_missing_package_names_the_extra(self) -> None:
        packages = {"sklearn": "scikit-learn", "matplotlib": "matplotlib", "rich": "rich", "typer": "typer"}
        # sys.exit with a text prints it and ends with status 1; here one process meets every package's absence in turn.
        code = (
            "import runpy, sys\n"
            f"for package in {list(packages)}:\n"
            "    for name in [name for name in sys.modules if name.partition('.')[0] in ('experiments', package)]:\n"
            "        del sys.modules[name]\n"
            "    sys.modules[package] = None\n"
            "    try:\n"
            "        runpy.run_module('experiments', run_name='__main__')\n"
            "    except SystemExit as exit:\n"
            "        print(exit.code)\n"
            "    del sys.modules[package]\n"
        )
        lines = self.python(code).stdout.splitlines()
        assert len(lines) == len(packages)
        for line, package in zip(lines, packages.values(), strict=True):
            assert f"needs {package}," in line
            assert "rrnn_ext[experiments]" in line

    def test_other_missing_modules_are_not_blamed_on_the_extra(self) -> None:
        finished = self.python(
            "import runpy, sys; sys.modules['torch'] = None; runpy.run_module('experiments', run_name='__main__')"
        )
        assert "ModuleNotFoundError" in finished.stderr
        assert "rrnn_ext[experiments]" not in finished.stderr

    @staticmethod
    def python(code: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)


class TestDigits:
    def test_every_image_once_and_rows_in_order(self) -> None:
        train, test = digits.load()
        assert train.images.shape == (1347, 8, 8)
        assert test.images.shape == (450, 8, 8)
        assert train.images.dtype == torch.float32
        assert train.digits.dtype == torch.int64
        # Grey levels run from 0 to 16 in both parts, which undoes the standardisation.
        images = torch.cat([train.images, test.images])
        levels = (16 * (images - images.min()) / (images.max() - images.min())).round().long().flatten(1)
        ours = torch.cat([levels, torch.cat([train.digits, test.digits])[:, None]], dim=1).tolist()
        bunch = load_digits()
        theirs = np.concatenate([bunch.data, bunch.target[:, None]], axis=1).astype(int).tolist()
        assert sorted(ours) == sorted(theirs)

    def test_standardised_by_the_training_images(self) -> None:
        train, test = digits.load()
        assert train.images.mean().item() == pytest.approx(0, abs=1e-5)
        assert train.images.std().item() == pytest.approx(1, abs=1e-5)
        assert test.images.min() == train.images.min()
        assert test.images.max() == train.images.max()

    def test_stratified(self) -> None:
        train, test = digits.load()
        per_digit, in_test = (train.digits.bincount() + test.digits.bincount()), test.digits.bincount()
        assert ((in_test - 0.25 * per_digit).abs() <= 1).all()

    def test_always_the_same(self) -> None:
        for one, other in zip(digits.load(), digits.load(), strict=True):
            assert torch.equal(one.images, other.images)
            assert torch.equal(one.digits, other.digits)


class TestTraining:
    def test_learns_the_digits(self) -> None:
        train, test = digits.load()
        network = training.new_network(8, 64, 10, seed=0)
        training.train(network, train.images, train.digits, penalty=None, strength=0, epochs=25, seed=0)
        assert training.accuracy(network, test.images, test.digits) > 0.9

    @pytest.mark.parametrize("name", list(REGULARISERS))
    def test_strength_shrinks_the_penalty(self, name: str) -> None:
        train, _ = digits.load()
        reached = []
        for strength in (0.0, 1e-2):
            network = training.new_network(8, 16, 10, seed=0)
            penalty = REGULARISERS[name](network, 8)
            training.train(network, train.images, train.digits, penalty=penalty, strength=strength, epochs=4, seed=0)
            reached.append(penalty().item())
        assert reached[1] < 0.7 * reached[0]

    def test_penalties_by_hand(self) -> None:
        network = training.new_network(3, 5, 2, seed=1).double()
        named = {name: array(parameter) for name, parameter in network.named_parameters()}
        w, u, v = named["rnn.weight_hh_l0"], named["rnn.weight_ih_l0"], named["readout.weight"]
        walks = sum(v @ np.linalg.matrix_power(w, m) @ u for m in range(4))
        assert REGULARISERS["resolvent"](network, 4)().item() == pytest.approx(np.abs(walks).sum())
        assert REGULARISERS["L1"](network, 4)().item() == pytest.approx(sum(np.abs(x).sum() for x in (w, u, v)))

    def test_reads_the_last_state(self) -> None:
        network = training.new_network(3, 5, 2, seed=1).double()
        sequences = torch.randn(4, 6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        named = {name: array(parameter) for name, parameter in network.named_parameters()}
        state: NDArray[np.float64] = np.zeros((4, 5))
        for step in range(6):
            drive = array(sequences)[:, step] @ named["rnn.weight_ih_l0"].T + named["rnn.bias_ih_l0"]
            state = np.tanh(drive + state @ named["rnn.weight_hh_l0"].T + named["rnn.bias_hh_l0"])
        np.testing.assert_allclose(
            array(network(sequences)), state @ named["readout.weight"].T + named["readout.bias"], rtol=1e-12
        )


class TestResults:
    def test_summary_and_choice(self, tmp_path: Path) -> None:
        records = [
            Record("L1", strength, seed, accuracy, 1.0 + seed, 4.0, (0.25 + seed / 2, 0.75 - seed / 2))
            for strength, accuracies in {0.1: (0.90, 0.94), 1.0: (0.90, 0.92), 10.0: (0.5, 0.7)}.items()
            for seed, accuracy in enumerate(accuracies)
        ]
        weak, middle, strong = summarise(records)
        assert [row.strength for row in (weak, middle, strong)] == [0.1, 1.0, 10.0]
        assert weak.accuracy == pytest.approx(0.92)
        assert weak.accuracy_sd == pytest.approx(0.04 / math.sqrt(2))
        assert weak.resolvent_l1 == 1.5
        assert weak.lag_share == (0.5, 0.5)
        assert strongest_sparing([weak, middle, strong], cost=0.02) is middle
        assert strongest_sparing([weak, middle, strong], cost=0.005) is weak
        write_csv(tmp_path / "rows.csv", records[:1])
        assert (tmp_path / "rows.csv").read_text().splitlines() == [
            "regulariser,strength,seed,accuracy,resolvent_l1,walks_l1,lag_share_0,lag_share_1",
            "L1,0.1,0,0.9,1.0,4.0,0.25,0.75",
        ]


def array(tensor: Tensor) -> NDArray[np.float64]:
    return tensor.detach().numpy()
