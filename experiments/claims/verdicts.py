"""The claims, each with the numbers that bear on it and a verdict that follows from them by a rule.

A part of a claim is one number with its confidence interval against one limit. It is

    shown       if the whole interval is on the claimed side of the limit,
    refuted     if the whole interval is on the other side,
    not shown   otherwise: these networks cannot tell.

A claim is shown if every part that counts is shown, refuted as soon as one of them is refuted, and not shown otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from experiments.claims.intervals import Interval


class Verdict(Enum):
    SHOWN = "shown"
    REFUTED = "refuted"
    NOT_SHOWN = "not shown"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Part:
    """One number against one limit.

    Attributes:
        what: of which task, at which strength.
        found: the number, mean over seeds with its confidence interval.
        verdict: None where the number is given for comparison and judged by nothing.
        note: what else there is to say, in a few words.
    """

    what: str
    found: Interval
    verdict: Verdict | None
    note: str = ""


@dataclass(frozen=True)
class Claim:
    """What is claimed, how it is judged, and what was found.

    Attributes:
        title: a few words.
        statement: what is claimed, and by whom.
        rule: what is measured, and the limit.
        number: what ``found`` of the parts is.
        limit: where it is claimed to be.
        parts: those with a verdict count.
        remarks: sentences on the numbers.
    """

    title: str
    statement: str
    rule: str
    number: str
    limit: str
    parts: Sequence[Part]
    remarks: Sequence[str] = field(default_factory=tuple)

    @property
    def verdict(self) -> Verdict:
        verdicts = [part.verdict for part in self.parts if part.verdict is not None]
        if Verdict.REFUTED in verdicts:
            return Verdict.REFUTED
        return Verdict.SHOWN if verdicts and set(verdicts) == {Verdict.SHOWN} else Verdict.NOT_SHOWN

    @property
    def tally(self) -> str:
        """How many of the parts that count have which verdict."""
        verdicts = [part.verdict for part in self.parts if part.verdict is not None]
        counts = [(verdict, verdicts.count(verdict)) for verdict in Verdict]
        return ", ".join(f"{count} of {len(verdicts)} {verdict}" for verdict, count in counts if count) or "no number"

    @property
    def extremes(self) -> str:
        """The least and the largest number of the parts that count, with their intervals."""
        counting = (part for part in self.parts if part.verdict is not None and not math.isnan(part.found.mean))
        parts = sorted(counting, key=lambda part: part.found.mean)
        ends = parts if len(parts) < 2 else [parts[0], parts[-1]]
        return " to ".join(f"{part.found} ({part.what})" for part in ends)


def at_least(found: Interval, limit: float) -> Verdict:
    """``found`` >= ``limit`` is claimed. Limits that are NaN, as those of two networks, show nothing."""
    if found.low >= limit:
        return Verdict.SHOWN
    return Verdict.REFUTED if found.high < limit else Verdict.NOT_SHOWN


def within(found: Interval, limit: float) -> Verdict:
    """``-limit`` <= ``found`` <= ``limit`` is claimed."""
    if -limit <= found.low and found.high <= limit:
        return Verdict.SHOWN
    return Verdict.REFUTED if found.low > limit or found.high < -limit else Verdict.NOT_SHOWN


def below(found: Interval, limit: float) -> Verdict:
    """``found`` < ``limit`` is claimed."""
    return at_least(Interval(-found.mean, -found.high, -found.low, found.networks), math.nextafter(-limit, math.inf))


def listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
