"""What a sweep leaves behind comes back as it was."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from experiments.training import results, stacked
from experiments.training.results import Record, Setting

pytestmark = pytest.mark.usefixtures("one_thread")


class TestResults:
    record = Record(Setting("on-off", "L1", 0.1, 3), 0.25, {"gini": math.nan, "hop_profile": (0.5, 0.5)})

    def test_nan_comes_back(self, tmp_path: Path) -> None:
        networks = stacked.new_networks([3], inputs=2, hidden=4, outputs=1)
        results.append(tmp_path, [self.record], networks, steps=2)
        assert "NaN" not in (tmp_path / "results.jsonl").read_text()
        (found,) = results.load(tmp_path)
        assert math.isnan(found.measures.pop("gini"))  # type: ignore[arg-type]
        assert found == replace(self.record, measures={"hop_profile": (0.5, 0.5)})

    def test_a_damaged_line_is_named(self, tmp_path: Path) -> None:
        networks = stacked.new_networks([3], inputs=2, hidden=4, outputs=1)
        results.append(tmp_path, [self.record], networks, steps=2)
        path = tmp_path / "results.jsonl"
        path.write_text(path.read_text() + '{"setting": 3}\n' + path.read_text())
        with pytest.raises(ValueError, match=r"results\.jsonl, line 2, does not hold a network's results"):
            results.load(tmp_path)

    def test_nothing_yet(self, tmp_path: Path) -> None:
        assert results.load(tmp_path) == []

    def test_every_setting_has_its_own_weights(self, tmp_path: Path) -> None:
        changes = [
            {}, {"task": "lagged"}, {"regulariser": "L2"}, {"beta": 0.1000001}, {"seed": 4}, {"hidden": 65},
            {"updates": 601}, {"batch": 129}, {"learning_rate": 0.005000001},
        ]  # fmt: skip
        settings = [replace(self.record.setting, **change) for change in changes]  # type: ignore[arg-type]
        assert len({results.weights_path(tmp_path, setting) for setting in settings}) == len(changes)
