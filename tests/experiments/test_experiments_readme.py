"""experiments/README.md: what it shows can be done as it says, and what it points to is there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import torch
import typer

import rrnn_ext
from experiments.cli import app
from experiments.tasks import modular, problems
from experiments.tasks.modular import Task
from experiments.training import regularisers, results, sweep

FOLDER = Path(__file__).parents[2] / "experiments"
README = (FOLDER / "README.md").read_text(encoding="utf-8")
MAKEFILE = (FOLDER.parent / "Makefile").read_text(encoding="utf-8")
CODE = {language: re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL) for language in ("python", "sh")}


def test_links() -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    missing = [target for target in targets if not (FOLDER / target).exists()]
    assert set(missing) <= {"RESULTS.md", "reproduced"}, "only what `make reproduce` writes may be absent"


def test_every_module_is_in_the_table() -> None:
    files = {str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*.py") if not path.name.startswith("__")}
    told_by_their_name = {"claims/tables.py", "training/progress.py"}
    links = set(re.findall(r"\]\(([\w./]+)\)", README))
    folders = tuple(name for name in re.findall(r"`([\w/]+)`", README) if (FOLDER / name).is_dir())
    assert {file for file in files if not file.startswith(folders)} - told_by_their_name <= links


@pytest.mark.parametrize("line", [line for block in CODE["sh"] for line in block.splitlines()])
def test_commands(line: str) -> None:
    words = shlex.split(line)
    if words[0] == "make":
        assert re.search(rf"^{words[1]}:", MAKEFILE, re.MULTILINE)
    else:
        assert words[:3] == ["python", "-m", "experiments"]
        # Parses the options and their values; runs nothing.
        typer.main.get_command(app).commands[words[3]].make_context(words[3], words[4:])  # type: ignore[attr-defined]


class TestAddedInTenLines:
    def test_a_task(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        code = CODE["python"][0]
        assert len(code.splitlines()) <= 9  # and the line that names it
        assert '`"recall": recall,`' in README
        names = dict(vars(modular))
        exec(code, names)
        task: Task = names["recall"]()
        (walked,) = task.optimal_walks.abs().sum((-2, -1)).nonzero().flatten().tolist()
        assert walked == task.steps - 1
        sequences, targets = task.sample(20_000, seed=0)
        assert (task.linear_readout(sequences) - targets).square().mean().item() == pytest.approx(
            task.bayes_mse, rel=0.05
        )
        monkeypatch.setitem(problems.PROBLEMS, "recall", names["recall"])
        settings = sweep.grid(["recall"], ["none"], [], [0], hidden=4, updates=1)
        (record,) = sweep.run(tmp_path, settings)
        assert record == results.load(tmp_path)[0]
        assert "correlation" in record.measures

    def test_a_penalty(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        code = CODE["python"][1]
        assert len(code.splitlines()) <= 9
        assert '`"far lags": far_lags,`' in README
        names = dict(vars(regularisers))
        exec(code, names)
        monkeypatch.setitem(regularisers.REGULARISERS, "far lags", names["far_lags"])
        settings = sweep.grid(["averaging"], ["none", "far lags"], [1.0], [0], hidden=16, updates=60)
        networks = results.networks(tmp_path, [record.setting for record in sweep.run(tmp_path, settings)])
        walks = rrnn_ext.hop_decomposition(networks.weight_hh, networks.weight_in, networks.weight_out, hops=10)
        sizes = walks.abs().sum((-2, -1))
        lags = torch.arange(10.0)
        torch.testing.assert_close(names["far_lags"](networks, 10), (lags * sizes).sum(-1))
        mean_lag = (lags * sizes).sum(-1) / sizes.sum(-1)
        assert mean_lag[1] < 0.5 * mean_lag[0]
