"""docs/recipes.md: the code on the page, executed, takes the steps that a loop written by hand takes."""

from __future__ import annotations

import copy
import gc
import importlib.util
import os
import re
import socket
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.multiprocessing.spawn import spawn
from torch.nn.functional import cross_entropy
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from rrnn_ext import reference

pytestmark = pytest.mark.usefixtures("one_thread")

PAGE = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text(encoding="utf-8")
RECIPES = {
    section.splitlines()[0].lstrip("# "): re.findall(r"^```python\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    for section in re.split(r"^(?=##? )", PAGE, flags=re.MULTILINE)
    if section
}
(MODEL,) = RECIPES.pop("Recipes")
PROCESSES = {  # those for more than one process, by the blocks that it executes
    "DistributedDataParallel": [("DistributedDataParallel", 0)],
    "FSDP2": [("FSDP2", 0)],
    "Lightning": [("Lightning", 0), ("Lightning", 2)],
    "Lightning with FSDP2": [("Lightning", 0), ("Lightning with FSDP2", 0)],
    "Accelerate": [("Accelerate", 0)],
}
PACKAGES = {recipe: recipe.split()[0].lower() for recipe in ("Lightning", "Lightning with FSDP2", "Accelerate")}
STRENGTH = 0.05  # in place of the page's: the penalty moves the weights as much as the task does


def execute(*blocks: tuple[str, int], **names: Any) -> dict[str, Any]:
    """The names that are there after the page's first block and these, each by its recipe and its place in it."""
    found: dict[str, Any] = {"__name__": "recipes"}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        exec(MODEL, found)
        found |= {"beta": STRENGTH, **names}
        for recipe, place in blocks:
            torch.manual_seed(1)  # the first weights are the same in every recipe
            exec(RECIPES[recipe][place], found)
    return found


def weights(model: nn.Module) -> dict[str, Tensor]:
    """Whole, also where a rank has a part of each."""
    state = {name: weight.detach() for name, weight in model.state_dict().items()}
    return {
        name: weight.full_tensor() if isinstance(weight, DTensor) else weight.clone() for name, weight in state.items()
    }


def by_hand(
    *, batch_size: int = 16, order: Sequence[int] = range(64), clip: float | None = None, bfloat16: bool = False
) -> list[nn.Module]:
    """The model after each step, its penalty made of products of matrices; the first one is not trained."""
    names = execute(("A plain loop", 0))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = names["Classifier"]()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    steps = [copy.deepcopy(model)]
    for x, y in DataLoader(names["data"], batch_size, sampler=order):
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            loss = cross_entropy(model(x), y)
        weights = model.rnn.weight_hh_l0, model.rnn.weight_ih_l0, model.readout.weight
        loss = loss + STRENGTH * reference.resolvent_penalty(*weights, hops=10, per_hop=True)
        optimiser.zero_grad()
        loss.backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimiser.step()
        steps.append(copy.deepcopy(model))
    return steps


IN_BFLOAT16 = 1e-4  # what weights may differ by that round to another bfloat16 number


def the_same(found: dict[str, Tensor], expected: nn.Module, *, atol: float = 1e-6) -> None:
    for name, weight in expected.state_dict().items():
        torch.testing.assert_close(found[name], weight, rtol=1e-4, atol=atol)


def test_every_recipe_is_tested() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    assert [recipe for recipe in RECIPES if f'"{recipe}"' not in source] == []


def test_a_plain_loop() -> None:
    found = execute(("A plain loop", 0))
    the_same(weights(found["model"]), by_hand()[-1])
    assert weights(found["model"]).keys() == weights(found["Classifier"]()).keys()


def test_the_penalty_counts() -> None:
    """Without it the weights are others by more than what :func:`the_same` lets pass."""
    with pytest.raises(AssertionError):
        the_same(weights(execute(("A plain loop", 0), beta=0.0)["model"]), by_hand()[-1], atol=IN_BFLOAT16)


def test_gru() -> None:
    weak, strong = (execute(("GRU, LSTM", 0), beta=beta)["model"] for beta in (0.0, 0.3))
    x = torch.randn(4, 10, 3)
    value = strong(x)[1].item()
    assert value < 0.8 * weak(x)[1].item()
    jacobians = [torch.autograd.functional.jacobian(lambda each: strong(each)[0], one) for one in x.split(1)]
    assert value == pytest.approx(sum(each.abs().sum().item() for each in jacobians) / len(x), rel=1e-4)


def test_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Captured and differentiated as for any backend; inductor is tested with the other ways to run."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    the_same(weights(execute(("torch.compile", 0))["model"]), by_hand()[-1])


def test_lightning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("lightning")
    monkeypatch.chdir(tmp_path)
    found = execute(("Lightning", 0), ("Lightning", 1))
    steps = by_hand(clip=1.0, bfloat16=True)
    average = AveragedModel(steps[0], multi_avg_fn=get_ema_multi_avg_fn(0.9))
    for step in steps[1:]:
        average.update_parameters(step)
    the_same(weights(found["learner"].model), average.module, atol=IN_BFLOAT16)
    the_same(weights(found["again"].model), average.module, atol=IN_BFLOAT16)
    assert found["again"].state_dict().keys() == {f"model.{name}" for name in average.module.state_dict()}


def test_neurogym_and_nn4n() -> None:
    pytest.importorskip("neurogym")
    pytest.importorskip("nn4n")
    weak, strong = (execute(("NeuroGym and nn4n", 0), beta=beta) for beta in (0.0, 1.0))
    assert strong["penalty"]().item() < 0.5 * weak["penalty"]().item()
    layer, head = strong["model"].recurrent_layer, strong["model"].readout_layer.weight
    w, u = layer.hidden_layer.weight, layer.input_layer.weight
    leaky = 0.8 * torch.eye(32) + 0.2 * w
    by_hand = reference.resolvent_penalty(leaky, 0.2 * u, head, hops=20, per_hop=True)
    torch.testing.assert_close(strong["penalty"](), by_hand)
    for found, expected in zip(
        torch.autograd.grad(strong["penalty"](), (w, u, head)), torch.autograd.grad(by_hand, (w, u, head)), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    strong["model"](strong["x"])  # which puts the weights back where Dale's law has them
    assert bool((w[:, :24] >= 0).all())
    assert bool((w[:, 24:] <= 0).all())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes left that were started as torchrun does; each saw a part of every batch."""
    folder = tmp_path_factory.mktemp("processes")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    spawn(in_process, args=(str(folder), port), nprocs=2)
    return folder


@pytest.mark.parametrize("recipe", PROCESSES)
def test_two_processes_take_the_steps_of_one(folder: Path, recipe: str) -> None:
    pytest.importorskip(PACKAGES.get(recipe, "torch"))
    # Lightning and Accelerate take batch_size for that of a process. Lightning shuffles as DistributedSampler does.
    shuffled = torch.randperm(64, generator=torch.Generator().manual_seed(0)).tolist()
    expected = {
        "Lightning": partial(by_hand, batch_size=32, order=shuffled),
        "Lightning with FSDP2": partial(by_hand, batch_size=32, order=shuffled),
        "Accelerate": partial(by_hand, batch_size=32, clip=1.0),
    }.get(recipe, by_hand)()[-1]
    for rank in range(2):
        the_same(torch.load(folder / f"{recipe}-{rank}.pt"), expected)


def in_process(rank: int, folder: str, port: int) -> None:
    """Every recipe for processes, the first of which makes the group that the others find."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    os.environ |= {"TORCHELASTIC_RUN_ID": "recipes", "GROUP_RANK": "0"}
    os.chdir(folder)
    torch.set_num_threads(1)
    try:
        for recipe, blocks in PROCESSES.items():
            if importlib.util.find_spec(PACKAGES.get(recipe, "torch")):
                found = execute(*blocks)
                model = found["learner"].model if "learner" in found else found["model"]
                torch.save(weights(model), f"{folder}/{recipe}-{rank}.pt")
                del found, model
        gc.collect()  # gloo's threads end with the group's last owner
        torch.distributed.barrier()
    finally:
        torch.distributed.destroy_process_group()
