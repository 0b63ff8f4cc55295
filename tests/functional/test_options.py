"""The options of the penalty are declared once, and whatever else names them agrees."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any, get_args, get_type_hints

import pytest
import torch

import rrnn_ext
from rrnn_ext import reference
from rrnn_ext._options import Norm, NormName, PenaltyOptions, check_options

DECLARED = PenaltyOptions._field_defaults
TYPES = get_type_hints(PenaltyOptions)
FEWER: dict[Callable[..., Any], set[str]] = {
    rrnn_ext.resolvent_penalty: set(),
    rrnn_ext.resolvent: {"per_hop", "norm", "pair_weights", "reduction"},
    rrnn_ext.hop_decomposition: {"per_hop", "norm", "hop_weights", "pair_weights", "method", "reduction"},
    rrnn_ext.resolvent_info: {"per_hop", "norm", "hop_weights", "pair_weights", "method", "reduction"},
    reference.resolvent_penalty: {"method"},
    reference.resolvent: {"per_hop", "norm", "pair_weights", "method", "reduction"},
}
REQUIRED = {rrnn_ext.hop_decomposition: {"hops"}}


def keywords(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    parameters = inspect.signature(function).parameters.items()
    return {name: parameter for name, parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}


@pytest.mark.parametrize("function", FEWER)
def test_signatures_name_the_options(function: Callable[..., Any]) -> None:
    named = keywords(function)
    assert set(named) == set(DECLARED) - FEWER[function]
    for name, parameter in named.items():
        if name in REQUIRED.get(function, ()):
            assert parameter.default is parameter.empty
        else:
            assert parameter.default == DECLARED[name]


@pytest.mark.parametrize("function", [rrnn_ext.resolvent_penalty, rrnn_ext.resolvent])
def test_types(function: Callable[..., Any]) -> None:
    given = get_type_hints(function)
    assert {name: given[name] for name in keywords(function)} == {name: TYPES[name] for name in keywords(function)}


def test_the_module_names_them_too() -> None:
    named = keywords(rrnn_ext.ResolventPenalty)
    assert set(DECLARED) - set(named) == {"reduction"}  # it adds up
    assert named["hops"].default is inspect.Parameter.empty  # it has to be said there
    for name in set(DECLARED) - {"reduction", "hops"}:
        assert named[name].default == DECLARED[name]


def test_the_order_is_that_of_the_functions() -> None:
    """By which they hand the options on."""
    assert list(keywords(rrnn_ext.resolvent_penalty)) == list(DECLARED)
    assert [name for name in keywords(rrnn_ext.accumulate_penalty_grad) if name != "strength"] == list(DECLARED)


def test_every_norm_has_a_name() -> None:
    assert [norm.name for norm in Norm] == list(get_args(NormName))


def test_docstring_says_what_each_is() -> None:
    described = re.findall(r"^        (\w+): ", rrnn_ext.resolvent_penalty.__doc__ or "", re.MULTILINE)
    assert set(DECLARED) <= set(described)


@pytest.mark.parametrize(
    "wrong",
    [
        {"norm": "l3"},
        {"method": "fast"},
        {"reduction": "max"},
        {"hops": 0},
        {"hops": 1.5},
        {"per_hop": True},
        {"hop_weights": torch.ones(3)},
        {"per_hop": True, "hops": 3, "method": "inverse"},
    ],
)
def test_errors_are_those_of_the_function(wrong: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)) as of_options:
        check_options(PenaltyOptions(**wrong))
    with pytest.raises(of_options.type, match=re.escape(str(of_options.value))):
        rrnn_ext.resolvent_penalty(torch.ones(2, 2), **wrong)


def test_hops_of_any_integer_type() -> None:
    class Three:
        def __index__(self) -> int:
            return 3

    assert check_options(PenaltyOptions(hops=Three())).hops == 3  # type: ignore[arg-type]
