"""The figures of RESULTS.md, drawn again from their data: they show the same numbers, and stay small."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
from support.made_up_networks import curve, record

from experiments.claims import tables
from experiments.pages import exhibits, reproduce
from rrnn_ext.reading.exhibit import Exhibit

FOLDER = reproduce.PAGE.parent / reproduce.FIGURES
LARGEST = 600_000  # bytes of all pictures together


@pytest.fixture(scope="module")
def redrawn() -> list[Exhibit]:
    return exhibits.of_csv(FOLDER)


def test_every_figure_of_the_page(redrawn: list[Exhibit]) -> None:
    names = sorted(exhibit.name for exhibit in redrawn)
    assert names == sorted(name for placed in reproduce.PLACES.values() for name in placed)
    assert names == sorted(path.stem for path in FOLDER.glob("*.png"))


def test_they_show_what_was_saved(redrawn: list[Exhibit]) -> None:
    for exhibit in redrawn:
        saved = tables.read(FOLDER / f"{exhibit.name}.csv")
        shown = list(csv.DictReader(exhibit.csv().splitlines()))
        assert len(shown) == len(saved)
        for then, now in zip(saved, shown, strict=True):
            assert then.keys() == now.keys()
            for name, text in then.items():
                try:
                    number = float(text)
                except ValueError:
                    assert now[name] == text
                else:
                    # From networks of six digits: a share's interval can be much smaller than the share.
                    assert float(now[name]) == pytest.approx(number, rel=1e-4, abs=1e-5, nan_ok=True)


def test_data_are_without_markup() -> None:
    files = [*FOLDER.parent.glob("*/*.csv")]
    assert len(files) > 15
    for path in files:
        assert not re.search(r"\$|\*\*|±|<\w+>|&\w+;", path.read_text(encoding="utf-8")), path.name


def test_all_pictures_together_are_small() -> None:
    assert 0 < sum(path.stat().st_size for path in FOLDER.glob("*.png")) <= LARGEST


def test_networks_come_back_as_they_were_written(tmp_path: Path) -> None:
    records = [
        *curve("averaging", "none", {0.0: (0.1, float("nan"))}),
        record("averaging", "L1", 0.1, 3, 0.25, correlation=0.5),
        record("digits", "R-RNN", 1e-4, 0, 0.5, hop_profile=(0.125,) * 8),
    ]
    tables.write_networks(tmp_path / "networks.csv", records)
    found = tables.read_networks(tmp_path / "networks.csv")
    assert [one.setting for one in found] == [one.setting for one in records]
    for one, written in zip(found, records, strict=True):
        assert one.test_error == pytest.approx(written.test_error, nan_ok=True)
        assert {name: pytest.approx(value, rel=1e-5, nan_ok=True) for name, value in written.measures.items()} == (
            one.measures
        )
