"""Every op family is whole: schema, fake kernel, gradient, jvp and vmap, and an implementation on each device, each in
the file that its stem says."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch._library.simple_registry import singleton as fakes

from rrnn_ext.ops._registration import RULES, Differentiable

ROOT = Path(__file__).resolve().parents[2]
STEMS = sorted(path.stem for path in (ROOT / "rrnn_ext" / "ops").glob("[a-z]*.py"))

# What the rules of another op of the family call once nothing looks any more, and has no derivatives of its own.
CALLED_BY_RULES = {
    "all_pairs_penalty",
    "all_pairs_penalty_backward",
    "driven_walks_backward",
    "driven_walks_penalty_backward",
    "finite_walks_penalty_backward",
    "pathway",
    "pathway_backward",
    "sparse_walks_backward",
    "sparse_walks_penalty_backward",
}
# Where nothing looks: transforms and compilers see finite_walks_penalty in their place.
IN_EAGER_MODE_ALONE = {"penalty_value_and_grad", "penalty_value_and_grad_accumulate"}
# What an op of the family is made of on the host alone: of a graph without numbers, or from unit to unit.
ON_THE_HOST = {
    "sparse_infinite_walks_components",
    "sparse_infinite_walks_polynomial",
    "sparse_infinite_walks_sweep",
}
WITHOUT_RULES = CALLED_BY_RULES | IN_EAGER_MODE_ALONE | ON_THE_HOST


def registered() -> set[str]:
    for stem in STEMS:
        importlib.import_module(f"rrnn_ext.ops.{stem}")
    names = torch._C._dispatch_get_all_op_names()
    return {name.partition("::")[2] for name in names if name.startswith("rrnn_ext::")}


def ops_of(stem: str) -> list[str]:
    return sorted(op for op in registered() if op == stem or op.startswith(f"{stem}_"))


def has_kernel(op: str, *keys: str) -> bool:
    return any(torch._C._dispatch_has_kernel_for_dispatch_key(f"rrnn_ext::{op}", key) for key in keys)


def is_native(op: str) -> bool:
    return has_kernel(op, "CPU")


def mentions(path: str, op: str, how: str) -> bool:
    source = ROOT / path
    return source.exists() and re.search(how.format(op), source.read_text()) is not None


def lacks(stem: str) -> Iterator[str]:
    """What a family would have and has not, in words."""
    ops = ops_of(stem)
    if not ops:
        yield "an op of its name"
    if ops and not any(op in RULES for op in ops) and not set(ops) <= IN_EAGER_MODE_ALONE:
        yield "an op with derivatives"
    for op in ops:
        if fakes.find(f"rrnn_ext::{op}").fake_impl.kernel is None:
            yield f"a fake kernel of {op}"
        if op not in RULES and op not in WITHOUT_RULES:
            yield f"derivatives of {op}"
        if op in RULES:
            for rule in ("setup_context", "backward", "tangent", "vmap"):
                if rule not in vars(RULES[op]):
                    yield f"{rule} of {op}"
            if not (has_kernel(op, "Autograd") and has_kernel(op, "FuncTorchDynamicLayerFrontMode")):
                yield f"the dispatcher's way to the derivatives of {op}"
        if not has_kernel(op, "CPU", "CompositeExplicitAutograd"):
            yield f"an implementation of {op} on the CPU"
        if is_native(op):
            if not mentions(f"csrc/ops/{stem}.cpp", op, r'"{}\('):
                yield f"the schema of {op} in csrc/ops/{stem}.cpp"
            if not mentions(f"csrc/cpu/ops/{stem}.cpp", op, r'm\.impl\("{}",'):
                yield f"an implementation of {op} in csrc/cpu/ops/{stem}.cpp"
            on_cuda = mentions(f"csrc/cuda/ops/{stem}.cpp", op, r'm\.impl\("{}",')
            if not on_cuda and op not in ON_THE_HOST and not has_kernel(op, "CompositeExplicitAutograd"):
                yield f"an implementation of {op} in csrc/cuda/ops/{stem}.cpp"


@pytest.mark.parametrize("stem", STEMS)
def test_a_family_is_whole(stem: str) -> None:
    assert list(lacks(stem)) == []


def test_an_op_is_of_one_family() -> None:
    families = [op for stem in STEMS for op in ops_of(stem)]
    assert sorted(families) == sorted(registered())


def test_a_native_family_has_its_file_in_python() -> None:
    native = {path.stem for folder in ("", "cpu/", "cuda/") for path in (ROOT / f"csrc/{folder}ops").glob("*.cpp")}
    assert native <= set(STEMS)
    assert native  # else the files are elsewhere, and this looked at nothing


def test_ops_without_derivatives_are_still_there() -> None:
    assert registered() >= WITHOUT_RULES
    assert not WITHOUT_RULES & set(RULES)


class TestWhatLacks:
    """The test above can fail: a family that is made in part is told what it lacks."""

    @pytest.fixture
    def family(self) -> Iterator[torch.library.Library]:
        library = torch.library.Library("rrnn_ext", "FRAGMENT")
        library.define("halves(Tensor x) -> Tensor")
        yield library
        library._destroy()
        RULES.pop("halves", None)

    def test_a_schema_alone(self, family: torch.library.Library) -> None:
        assert list(lacks("halves")) == [
            "an op with derivatives",
            "a fake kernel of halves",
            "derivatives of halves",
            "an implementation of halves on the CPU",
        ]

    def test_a_kernel_on_the_cpu_alone(self, family: torch.library.Library) -> None:
        family.impl("halves", lambda x: x / 2, "CPU")
        assert list(lacks("halves"))[3:] == [
            "the schema of halves in csrc/ops/halves.cpp",
            "an implementation of halves in csrc/cpu/ops/halves.cpp",
            "an implementation of halves in csrc/cuda/ops/halves.cpp",
        ]

    def test_rules_that_are_not_there(self, family: torch.library.Library) -> None:
        family.impl("halves", lambda x: x / 2, "CompositeExplicitAutograd")
        RULES["halves"] = type("Halves", (Differentiable,), {"backward": None, "setup_context": None})
        assert list(lacks("halves")) == [
            "a fake kernel of halves",
            "tangent of halves",
            "vmap of halves",
            "the dispatcher's way to the derivatives of halves",
        ]

    def test_no_op_at_all(self) -> None:
        assert list(lacks("quarters")) == ["an op of its name"]
