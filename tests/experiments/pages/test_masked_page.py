"""``python -m experiments masked`` on a graph of twenty cells: the page, its figures, and going on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from experiments.cli import app
from experiments.pages import masked as page
from experiments.tasks.spike_trains import SPIKE_TRAINS, SpikeTrains
from experiments.training import step_cost
from rrnn_ext.reading import exhibit

pytestmark = pytest.mark.usefixtures("one_thread")
FOLDER = page.PAGE.parent


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exhibit, "DPI", 40)
    monkeypatch.setattr(step_cost, "SECONDS", 0.0)
    monkeypatch.setattr(page, "celegans", lambda: step_cost.made_up(20, 4))
    generator = torch.Generator().manual_seed(0)
    data = torch.rand(60, 6, 2, generator=generator), torch.arange(60) % 3
    trains = SpikeTrains("made up", 3, data, data, hold=1)
    monkeypatch.setitem(SPIKE_TRAINS, "made up", lambda: trains)
    few = {"DATA": "made up", "BETAS": {"L1": (1e-6,), "R-RNN": (1e-6, 1e-5)}, "PASSES": 1, "MADE_UP": (30, 2)}
    for name, value in few.items():
        monkeypatch.setattr(page, name, value)


def invoke(runs: Path, written: Path) -> Result:
    arguments = ["masked", "--runs", str(runs), "--page", str(written), "--seeds", "2"]
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})


def test_writes_the_page_and_goes_on_where_it_was(tmp_path: Path) -> None:
    runs, written = tmp_path / "runs", tmp_path / "page" / "CONNECTOME.md"
    written.parent.mkdir()
    threads = torch.get_num_threads()
    result = invoke(runs, written)
    assert result.exit_code == 0, result.output
    assert torch.get_num_threads() == threads
    assert "8/8 networks" in result.output
    text = written.read_text(encoding="utf-8")
    for link in re.findall(r"\]\((?!#)(.*?)\)", text):
        assert (written.parent / link).is_file() or (FOLDER / link).is_file(), link
    for name in ("by_synapses", "strongest", "relays", "penalties"):
        assert (written.parent / page.FIGURES / f"{name}.png").is_file()
    assert [row for row in text.splitlines() if row.startswith("| R-RNN | 1e-5 | 2 |")]
    assert [row for row in text.splitlines() if row.startswith("| 20 cells, dense | 400 |")]
    assert "Interval(" not in text

    kept = {path.name: path.read_bytes() for path in runs.iterdir()}
    (runs / "made up.jsonl").write_bytes(b"".join(kept["made up.jsonl"].splitlines(keepends=True)[:5]))
    assert invoke(runs, written).exit_code == 0
    assert {path.name: path.read_bytes() for path in runs.iterdir()} == kept
    assert written.read_text(encoding="utf-8") == text
