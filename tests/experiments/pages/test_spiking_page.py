"""``python -m experiments spiking`` on tiny settings: the page, its figures with their data, and going on."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from experiments.claims.spiking import judge
from experiments.cli import app
from experiments.pages import spiking as page
from experiments.tasks.spike_trains import SPIKE_TRAINS
from experiments.training import spiking
from experiments.training.initialisations import INITIALISATIONS

pytestmark = pytest.mark.usefixtures("one_thread")
FOLDER = page.PAGE.parent


def invoke(runs: Path, written: Path) -> Result:
    arguments = ["spiking", "--runs", str(runs), "--page", str(written), "--seeds", "2"]
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"WIDTH": 40, "HIDDEN": 10, "SECONDS": 0.2, "SAMPLES": {5e-3: 2}, "RECKONED_ON": 16}.items():
        monkeypatch.setattr(spiking, name, value)
    for name, value in {"ASKED": (20.0,), "DEPTH": 3, "HIDDEN": (1,), "PASSES": {"digits": 1}}.items():
        monkeypatch.setattr(page, name, value)


@pytest.mark.usefixtures("tiny")
def test_writes_the_page_and_goes_on_where_it_was(tmp_path: Path) -> None:
    runs, written = tmp_path / "runs", tmp_path / "page" / "SPIKING.md"
    written.parent.mkdir()
    result = invoke(runs, written)
    assert result.exit_code == 0, result.output
    networks = 2 * (2 * len(INITIALISATIONS) + len(page.TRAINED_FROM))
    assert f"{networks}/{networks} networks" in result.output
    text = written.read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!#)(.*?)\)", text)
    for link in links:
        assert (written.parent / link).is_file() or (FOLDER / link).is_file(), link
    titles = re.findall(r"^\| \[(.*?)\]\(#(.*?)\).*\*\*(shown|refuted|not shown)\*\*", text, re.MULTILINE)
    assert len(titles) == 6
    assert all(f"\n## {title}\n\n**{verdict.capitalize()}**" in text for title, _, verdict in titles)
    for placed in page.PLACES.values():
        for name in placed:
            assert f"{page.FIGURES}/{name}.png" in links
            with (written.parent / page.FIGURES / f"{name}.csv").open(encoding="utf-8") as file:
                assert len(list(csv.DictReader(file))) >= 6

    kept = {path.name: path.read_bytes() for path in runs.iterdir()}
    (runs / "training.jsonl").write_bytes(kept["training.jsonl"].splitlines(keepends=True)[0])
    again = invoke(runs, written)
    assert again.exit_code == 0, again.output
    assert {path.name: path.read_bytes() for path in runs.iterdir()} == kept
    assert written.read_text(encoding="utf-8") == text


@pytest.mark.usefixtures("tiny")
def test_names_the_package_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "PASSES", {"JapaneseVowels": 1})
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    SPIKE_TRAINS["JapaneseVowels"].cache_clear()  # type: ignore[attr-defined]
    result = invoke(tmp_path / "runs", tmp_path / "SPIKING.md")
    assert result.exit_code == 2
    assert "JapaneseVowels comes inside the package aeon" in result.stderr


def test_every_figure_has_its_claim() -> None:
    assert page.PLACES.keys() <= {claim.title for claim in judge([], [])}
