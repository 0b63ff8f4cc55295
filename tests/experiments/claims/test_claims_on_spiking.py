"""The claims on spiking networks: each verdict follows from made-up rates and courses of training."""

from __future__ import annotations

import math

from experiments.claims.spiking import judge
from experiments.claims.verdicts import Claim, Verdict
from experiments.training.initialisations import BY_FORMULA, CALIBRATED, FLUCTUATION_DRIVEN, KAIMING
from experiments.training.spiking import Reached, Trained

NOISE = (0.999, 1.0, 1.001)


def rates(name: str, *ratios: float, recurrent: bool = False, asked: float = 20.0) -> list[Reached]:
    return [
        Reached(recurrent, name, 1e-3, asked, seed, tuple(asked * ratio * noise for ratio in ratios))
        for seed, noise in enumerate(NOISE)
    ]


def courses(name: str, loss: float, data: str = "digits") -> list[Trained]:
    return [
        Trained(data, name, seed, (0, 10, 20), (9.0, 2 * loss * noise, loss * noise / 2), (0.9, 0.5, 0.1), (20.0, 20.0))
        for seed, noise in enumerate(NOISE)
    ]


def claim(title: str, reached: list[Reached], trained: list[Trained] | None = None) -> Claim:
    (found,) = [one for one in judge(reached, trained or []) if one.title == title]
    return found


def test_one_layer() -> None:
    title = "A layer fires at the rate asked for"
    assert claim(title, rates(BY_FORMULA, 1.01, 3.0, 3.0)).verdict is Verdict.SHOWN
    assert claim(title, rates(BY_FORMULA, 1.1, 1.0, 1.0)).verdict is Verdict.REFUTED
    assert claim(title, rates(KAIMING, 1.0, 1.0, 1.0)).verdict is Verdict.NOT_SHOWN, "others are not judged"


def test_every_layer_by_the_one_that_is_furthest_off() -> None:
    title = "Every layer of ten fires at the rate asked for"
    assert claim(title, rates(CALIBRATED, 1.0, 1.03, 0.97)).verdict is Verdict.SHOWN
    refuted = claim(title, rates(CALIBRATED, 1.0, 0.8, 1.0))
    assert refuted.verdict is Verdict.REFUTED
    assert abs(refuted.parts[0].found.mean - 0.2) < 0.01
    assert refuted.parts[0].note == "20 16 20 Hz"


def test_silence_by_the_third_layer() -> None:
    title = "Kaiming weights fall silent"
    assert claim(title, rates(KAIMING, 1.0, 1.0, 0.01)).verdict is Verdict.SHOWN
    assert claim(title, rates(KAIMING, 0.0, 0.0, 0.5)).verdict is Verdict.REFUTED


def test_a_recurrent_layer() -> None:
    title = "A recurrent layer fires at the rate asked for"
    assert claim(title, rates(BY_FORMULA, 1.04, recurrent=True)).verdict is Verdict.SHOWN
    assert claim(title, rates(BY_FORMULA, 1.04)).parts == [], "feed-forward layers are another claim"
    refused = claim(
        title, [*rates(BY_FORMULA, 1.0, recurrent=True), *rates(BY_FORMULA, math.nan, recurrent=True, asked=5)]
    )
    assert refused.verdict is Verdict.NOT_SHOWN
    assert [part.note for part in refused.parts] == ["refused for 3 of 3 seeds", "20 Hz"]


def test_training_by_the_mean_over_the_course() -> None:
    title = "Training goes faster than from Kaiming weights"
    trained = [*courses(CALIBRATED, 0.5), *courses(KAIMING, 1.0), *courses(FLUCTUATION_DRIVEN, 0.2)]
    found = claim(title, [], trained)
    assert found.verdict is Verdict.SHOWN
    assert abs(found.parts[0].found.mean - 0.5) < 1e-9
    assert found.parts[0].what == "digits, 2 hidden layers"
    assert claim(title.replace(KAIMING, FLUCTUATION_DRIVEN), [], trained).verdict is Verdict.REFUTED
