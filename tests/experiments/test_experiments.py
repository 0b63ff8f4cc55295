"""The commands end to end on tiny settings: what they write, what they print, what they refuse."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from torch import nn
from typer.testing import CliRunner, Result

from experiments.cli import app
from experiments.pages import demo, reproduce
from experiments.tasks import problems
from experiments.tasks.modular import TASKS
from experiments.training import folders, results, sweep
from experiments.training.regularisers import REGULARISERS
from rrnn_ext.reading import exhibit

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(__file__).parents[2]


def invoke(*arguments: str) -> Result:
    # Wide enough that no cell of a table is cut.
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module", autouse=True)
def coarse_pictures() -> Iterator[None]:
    """Most of the time of the commands on tiny settings goes into fine pictures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exhibit, "DPI", 40)
        yield


@pytest.fixture(scope="module")
def tiny_demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Path]:
    out = tmp_path_factory.mktemp("runs") / "made" / "demo"
    return invoke("demo", "--updates", "2", "--seeds", "2", "--out", str(out)), out


@pytest.fixture(scope="module")
def tiny_sweep(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Path]:
    out = tmp_path_factory.mktemp("runs") / "sweep"
    names = [part for name in ("none", "L1", "R-RNN") for part in ("--regulariser", name)]
    sizes = ("--seeds", "2", "--hidden", "6", "--updates", "3")
    options = ("--task", "lagged", "--task", "sunspots", *names, "--beta", "0.01", "--beta", "0.1", *sizes)
    return invoke("sweep", *options, "--out", str(out)), out


class TestDemo:
    NETWORKS = 2 * 2 * (1 + len(demo.REGULARISERS) * len(demo.BETAS))

    def test_prints_a_table_of_each_task(self, tiny_demo: tuple[Result, Path]) -> None:
        result, out = tiny_demo
        assert result.exit_code == 0, result.output
        assert f"{self.NETWORKS}/{self.NETWORKS} networks" in result.output
        for name in demo.REGULARISERS:
            for beta in demo.BETAS:
                assert len(re.findall(rf"^ *{re.escape(name)} +{beta:.1g} ", result.output, re.MULTILINE)) >= 2
        assert "wrong answers" in result.output
        assert "test MSE" in result.output
        assert str(out) in result.output

    def test_writes_every_network(self, tiny_demo: tuple[Result, Path]) -> None:
        rows = rows_of(tiny_demo[1] / "networks.csv")
        assert len(rows) == self.NETWORKS
        for row in rows:
            shares = [float(value) for name, value in row.items() if name.startswith("hop_profile_") and value]
            assert len(shares) == {"digits": 8, "lagged": 10}[row["task"]]
            assert sum(shares) == pytest.approx(1, abs=1e-4)
            assert 0 < float(row["resolvent_l1"]) <= float(row["walks_l1"]) * (1 + 1e-5)
            if row["task"] == "digits":
                wrong = 450 * float(row["test_error"])
                assert wrong == pytest.approx(round(wrong), abs=1e-2)

    def test_the_table_is_the_mean_of_the_networks(self, tiny_demo: tuple[Result, Path]) -> None:
        out = tiny_demo[1]
        networks = rows_of(out / "networks.csv")
        for task, column in (("digits", "wrong answers"), ("lagged", "test MSE")):
            for row in rows_of(out / f"{task}.csv"):
                errors = [
                    float(network["test_error"])
                    for network in networks
                    if (network["task"], network["regulariser"], f"{float(network['beta']):.2g}")
                    == (task, row["penalty"], row["β"])
                ]
                assert len(errors) == int(row["seeds"]) == 2
                expected = np.mean(errors) if task == "digits" else np.exp(np.mean(np.log(errors)))
                assert float(row[column].split()[0]) == pytest.approx(expected, abs=6e-4)

    def test_writes_figures_with_their_data(self, tiny_demo: tuple[Result, Path]) -> None:
        for name in ("error_by_strength", "hop_profiles"):
            assert imread(tiny_demo[1] / f"{name}.png").shape[1] > 250
            assert len(rows_of(tiny_demo[1] / f"{name}.csv")) > 20

    def test_a_second_run_trains_nothing_and_says_the_same(self, tiny_demo: tuple[Result, Path]) -> None:
        first, out = tiny_demo
        table = (out / "lagged.csv").read_text()
        second = invoke("demo", "--updates", "2", "--seeds", "2", "--out", str(out))
        assert "0/0 networks" in second.output
        assert (out / "lagged.csv").read_text() == table
        assert second.output.splitlines()[-1] == first.output.splitlines()[-1]

    def test_leaves_threads_and_generator_alone(self, tmp_path: Path, set_threads: Callable[[int], None]) -> None:
        set_threads(2)
        state = torch.get_rng_state()
        assert invoke("demo", "--updates", "1", "--seeds", "1", "--out", str(tmp_path)).exit_code == 0
        assert torch.get_num_threads() == 2
        assert torch.equal(torch.get_rng_state(), state)


class TestSweep:
    def test_trains_the_grid(self, tiny_sweep: tuple[Result, Path]) -> None:
        result, out = tiny_sweep
        assert result.exit_code == 0, result.output
        found = {
            (r.task, r.regulariser, r.beta, r.seed, r.setting.hidden, r.setting.updates) for r in results.load(out)
        }
        assert found == {
            (task, name, beta, seed, 6, 3)
            for task in ("lagged", "sunspots")
            for name, betas in {"none": (0.0,), "L1": (0.01, 0.1), "R-RNN": (0.01, 0.1)}.items()
            for beta in betas
            for seed in (0, 1)
        }
        assert "20/20 networks" in result.output
        assert "lagged" in result.output
        assert f"report --runs {out}" in result.output

    def test_takes_every_task_and_penalty_if_none_is_named(self, tmp_path: Path) -> None:
        result = invoke(
            "sweep", "--beta", "0.1", "--seeds", "1", "--hidden", "3", "--updates", "1", "--out", str(tmp_path)
        )
        assert result.exit_code == 0, result.output
        records = results.load(tmp_path)
        assert {record.task for record in records} == {name for name in TASKS if not name.endswith("-sparse")}
        assert {record.regulariser for record in records} == set(REGULARISERS)


class TestReport:
    @pytest.mark.parametrize("elsewhere", [False, True])
    def test_of_a_sweep(self, tiny_sweep: tuple[Result, Path], tmp_path: Path, elsewhere: bool) -> None:
        page = tmp_path / "made" / "page.html" if elsewhere else tiny_sweep[1] / "report.html"
        result = invoke("report", "--runs", str(tiny_sweep[1]), *(["--out", str(page)] if elsewhere else []))
        assert result.exit_code == 0, result.output
        text = page.read_text(encoding="utf-8")
        assert text.startswith("<!DOCTYPE html>")
        assert text.count("data:image/png;base64,") >= 5
        assert "sunspots" in text

    def test_refuses_a_folder_without_networks(self, tmp_path: Path) -> None:
        result = invoke("report", "--runs", str(tmp_path))
        assert result.exit_code == 2
        assert "holds no trained network" in result.stderr


class TestAnalyse:
    def checkpoint(self, out: Path, task: str = "lagged") -> Path:
        (setting,) = [r.setting for r in results.load(out) if (r.task, r.regulariser, r.seed) == (task, "none", 0)]
        return results.weights_path(out, setting)

    def test_a_network_of_a_sweep(self, tiny_sweep: tuple[Result, Path], tmp_path: Path) -> None:
        """Its numbers are those that the sweep has recorded of it."""
        out = tiny_sweep[1]
        result = invoke("analyse", str(self.checkpoint(out)), "--task", "lagged", "--out", str(tmp_path))
        assert result.exit_code == 0, result.output
        assert "L = 10, 6 hidden units, 16 inputs, 4 outputs" in result.output
        (record,) = [r for r in results.load(out) if (r.task, r.regulariser, r.seed) == ("lagged", "none", 0)]
        (against,) = rows_of(tmp_path / "lagged_optimum.csv")
        for column, measure in {
            "R_io": "correlation",
            "R_io, W / radius": "correlation_normalised",
            "all P_m": "correlation_per_hop",
            "V U": "correlation_in_out",
            "off support": "communication_sparsity",
            "aligned": "alignment",
            "signal lags": "signal_share",
        }.items():
            assert float(against[column]) == pytest.approx(record.measures[measure], abs=1e-3)
        (profile,) = rows_of(tmp_path / "hop_profile.csv")
        shares = [float(profile[str(lag)]) / 100 for lag in range(10)]
        assert shares == pytest.approx(record.measures["hop_profile"], abs=1e-3)
        influence = rows_of(tmp_path / "influence_maps.csv")
        optimum = [float(row["value"]) for row in influence if row["graph"] == "optimum"]
        assert optimum == pytest.approx(TASKS["lagged"]().optimum.flatten().tolist(), rel=1e-4)
        assert {row["graph"] for row in influence} == {"optimum", "walks"}

    @pytest.mark.parametrize(
        ("rnn", "graphs"),
        [
            (nn.LSTM(16, 6, proj_size=3), 4),
            (nn.RNN(16, 3, bidirectional=True), 2),
            (nn.LSTM(16, 6, num_layers=2, proj_size=3, bidirectional=True), 16),
        ],
    )
    def test_projected_and_bidirectional_networks(self, tmp_path: Path, rnn: nn.RNNBase, graphs: int) -> None:
        torch.manual_seed(0)
        head = nn.Linear(6 if rnn.bidirectional else 3, 4)
        torch.save(nn.ModuleDict({"cells": rnn, "head": head}).state_dict(), tmp_path / "model.pt")
        options = ("--steps", "10", "--task", "lagged", "--out", str(tmp_path))
        result = invoke("analyse", str(tmp_path / "model.pt"), *options)
        assert result.exit_code == 0, result.output
        rows = rows_of(tmp_path / "lagged_optimum.csv")
        assert len(rows) == graphs
        if not isinstance(rnn, nn.LSTM):
            optimum = TASKS["lagged"]().optimum.flatten()
            for side, (row, suffix) in enumerate(zip(rows, ("", "_reverse"), strict=True)):
                w, u = (rnn.get_parameter(f"weight_{kind}_l0{suffix}").detach() for kind in ("hh", "ih"))
                v = head.weight.detach()[:, 3 * side : 3 * side + 3]
                walks = [v @ torch.linalg.matrix_power(w, lag) @ u for lag in range(10)]
                expected = np.corrcoef(torch.stack(walks).sum(0).flatten(), optimum)[0, 1]
                assert float(row["R_io"]) == pytest.approx(expected, abs=6e-4)

    def test_refuses_what_does_not_fit_the_task(self, tiny_sweep: tuple[Result, Path]) -> None:
        result = invoke("analyse", str(self.checkpoint(tiny_sweep[1], "sunspots")), "--task", "lagged")
        assert result.exit_code == 2
        assert "lagged has 10 steps, 4 outputs and 16 inputs; the network has 12, 3 and 1" in result.stderr

    def test_refuses_a_file_without_a_network(self, tmp_path: Path) -> None:
        torch.save(nn.RNN(3, 5).state_dict(), tmp_path / "model.pt")
        result = invoke("analyse", str(tmp_path / "model.pt"), "--steps", "3", "--task", "lagged")
        assert result.exit_code == 2
        assert "the read-out is missing" in result.stderr


class TestReproduce:
    def test_writes_the_page_and_all_that_it_shows(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("BETAS", "DECADES", "RECTIFIED_BETAS"):
            monkeypatch.setattr(reproduce, name, getattr(reproduce, name)[:2])
        page = tmp_path / "page" / "RESULTS.md"
        page.parent.mkdir()
        options = ("--seeds", "2", "--read-seeds", "2", "--updates", "1")
        result = invoke("reproduce", "--runs", str(tmp_path / "runs"), "--page", str(page), *options)
        assert result.exit_code == 0, result.output
        text = page.read_text(encoding="utf-8")
        links = re.findall(r"\]\((?!#)(.*?)\)", text)
        shown = [link for link in links if link.startswith(f"{reproduce.FIGURES}/")]
        assert shown
        assert all((page.parent / link).is_file() for link in shown)
        pictures = sorted(path.name for path in (page.parent / reproduce.FIGURES).glob("*.png"))
        assert sorted(Path(link).name for link in shown if link.endswith(".png")) == pictures
        assert len(pictures) == sum(map(len, reproduce.PLACES.values()))
        sources = [link for link in links if link not in shown]
        assert all((ROOT / "experiments" / link.partition("#")[0]).exists() for link in sources)
        verdict_rows = re.findall(r"^\| \[(.*?)\]\(#(.*?)\).*\*\*(shown|refuted|not shown)\*\*", text, re.MULTILINE)
        assert len(verdict_rows) == 9
        for title, _, verdict in verdict_rows:
            assert f"\n## {title}\n\n**{verdict.capitalize()}**" in text
        assert "Interval(" not in text
        assert len(rows_of(page.parent / reproduce.FIGURES / "networks.csv")) == len(results.load(tmp_path / "runs"))

    def test_the_grid_of_strengths_spans_four_decades(self) -> None:
        assert max(reproduce.BETAS) / min(reproduce.BETAS) == pytest.approx(1e4)
        assert set(reproduce.DECADES) <= set(reproduce.BETAS)
        planned = reproduce.settings(seeds=reproduce.SEEDS, read_seeds=reproduce.READ_SEEDS, updates=reproduce.UPDATES)
        assert len(set(planned)) == len(planned)
        assert {setting.regulariser for setting in planned} == set(REGULARISERS)
        assert min(len({s.seed for s in planned if s.regulariser == name}) for name in REGULARISERS) >= 5

    def test_every_place_is_a_claim_or_a_finding(self) -> None:
        source = "".join(path.read_text() for path in (ROOT / "experiments" / "claims").glob("*.py"))
        assert all(f'"{title}",' in source for title in reproduce.PLACES)


class TestCommandLine:
    def test_help_names_commands_and_options(self) -> None:
        text = invoke("--help").output
        assert all(command in text for command in ("demo", "sweep", "analyse", "report", "reproduce", "redraw"))
        for command, options in {
            "demo": ("digits", "lagged", "R-RNN per hop", "--out", "--updates", "--seeds", "runs/demo"),
            "sweep": (
                "--task",
                "--regulariser",
                "--beta",
                "--seeds",
                "--hidden",
                "--updates",
                "--out",
                "runs/sweep",
                "--workers",
                "--scheduler",
            ),
            "analyse": ("--steps", "--task", "--weight-hh", "--weight-in", "--weight-out", "--out"),
            "report": ("--runs", "--out", "runs/sweep"),
            "reproduce": ("--runs", "--page", "--seeds", "--read-seeds", "--updates", "runs/reproduce"),
        }.items():
            text = invoke(command, "--help").output
            assert all(option in text for option in options), command

    @pytest.mark.parametrize(
        ("command", "known"), [("sweep", [*problems.PROBLEMS, *REGULARISERS]), ("analyse", [*TASKS])]
    )
    def test_help_lists_the_choices(self, command: str, known: list[str]) -> None:
        text = " ".join(invoke(command, "--help").output.replace("│", " ").split())
        assert all(name in text for name in known)

    @pytest.mark.parametrize(
        "arguments",
        [
            ("demo", "--updates", "0"),
            ("demo", "--seeds", "0"),
            ("sweep", "--beta", "-1"),
            ("sweep", "--beta", "inf"),
            ("sweep", "--hidden", "0"),
            ("analyse",),
            ("analyse", "x"),
            ("analyse", "x", "--task", "lagged", "--steps", "0"),
            ("reproduce", "--seeds", "1"),
            ("dem",),
        ],
    )
    def test_refuses(self, arguments: tuple[str, ...]) -> None:
        assert invoke(*arguments).exit_code == 2

    @pytest.mark.parametrize(
        ("arguments", "known"),
        [
            (("sweep", "--task", "averging"), [*TASKS, "digits", "sunspots"]),
            (("sweep", "--regulariser", "L3"), list(REGULARISERS)),
            (("analyse", "x", "--task", "digits"), list(TASKS)),
        ],
    )
    def test_answers_an_unknown_name_with_the_known_ones(self, arguments: tuple[str, ...], known: list[str]) -> None:
        result = invoke(*arguments)
        assert result.exit_code == 2
        said = " ".join(result.stderr.replace("│", " ").split())
        assert (
            f"no {'regulariser' if 'L3' in arguments else 'task'} '{arguments[-1]}'; known: {', '.join(known)}" in said
        )

    def test_refuses_a_file_as_out(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        assert invoke("demo", "--out", str(tmp_path / "file")).exit_code == 2

    def test_says_that_another_sweep_is_at_work(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def busy(*_: object, **__: object) -> None:
            raise folders.BusyError("another sweep is writing")

        monkeypatch.setattr(sweep, "run", busy)
        result = invoke("sweep", "--out", str(tmp_path))
        assert result.exit_code == 2
        assert "another sweep is writing" in result.stderr

    def test_a_missing_package_names_the_extra(self, tmp_path: Path) -> None:
        packages = {
            "jinja2": "jinja2", "matplotlib": "matplotlib", "pandas": "pandas", "rich": "rich", "scipy": "scipy",
            "sklearn": "scikit-learn", "statsmodels": "statsmodels", "typer": "typer",
        }  # fmt: skip
        # sys.exit with a text prints it and ends with status 1; here one process meets every package's absence in turn.
        # The data sets' packages are missed when a data set is made.
        sizes = ["--seeds", "1", "--updates", "1", "--regulariser", "none", "--out", str(tmp_path)]
        command = ["experiments", "sweep", "--task", "digits", "--task", "sunspots", *sizes]
        code = (
            "import runpy, sys\n"
            f"sys.argv = {command}\n"
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
        finished = self.python(code)
        lines = [line for line in finished.stdout.splitlines() if "needs" in line]
        assert len(lines) == len(packages), finished.stdout + finished.stderr
        for line, package in zip(lines, packages.values(), strict=True):
            assert f"needs {package}: pip install " in line
            assert "'.[reading]' && pip install -r experiments/requirements.txt" in line

    def test_other_missing_modules_are_not_blamed_on_the_extra(self) -> None:
        finished = self.python(
            "import runpy, sys; sys.modules['torch'] = None; runpy.run_module('experiments', run_name='__main__')"
        )
        assert "ModuleNotFoundError" in finished.stderr
        assert "requirements.txt" not in finished.stderr

    @staticmethod
    def python(code: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
