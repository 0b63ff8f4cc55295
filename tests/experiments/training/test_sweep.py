"""Stacks of networks, their training, and sweeps: against nn.RNN and torch's own training, and against one another."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import get_ident

import pytest
import torch
from torch import Tensor, nn

from experiments.tasks import problems
from experiments.training import loop, measures, regularisers, results, stacked, sweep
from experiments.training.results import Record, Setting
from experiments.training.stacked import Networks
from experiments.training.sweep import Progress

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(__file__).parents[3]
TINY = {"hidden": 6, "updates": 4}
NAMES = ("rnn.weight_hh_l0", "rnn.weight_ih_l0", "rnn.bias_ih_l0", "readout.weight", "readout.bias")  # as in Networks


class Module(nn.Module):
    """One network of a stack as PyTorch has it."""

    def __init__(self, networks: Networks, index: int) -> None:
        super().__init__()
        self.rnn = nn.RNN(networks.weight_in.shape[-1], networks.weight_hh.shape[-1], batch_first=True)
        self.readout = nn.Linear(*networks.weight_out.shape[:0:-1])
        self.to(networks.bias.dtype).load_state_dict(networks.select(index).state_dict())

    def forward(self, sequences: Tensor) -> Tensor:
        return self.readout(self.rnn(sequences)[0][:, -1])


def double(networks: Networks) -> Networks:
    return Networks(*(weight.double() for weight in networks))


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


class TestStacked:
    networks = double(stacked.new_networks([5, 0, 7], inputs=2, hidden=6, outputs=3))

    @pytest.mark.parametrize("steps", [1, 2, 5])
    def test_outputs_and_gradients_of_nn_rnn(self, steps: int) -> None:
        sequences = normal(3, 4, steps, 2).requires_grad_()
        weights = [weight.clone().requires_grad_() for weight in self.networks]
        found = stacked.outputs(Networks(*weights), sequences)
        modules = [Module(self.networks, index) for index in range(3)]
        expected = torch.stack([module(own) for module, own in zip(modules, sequences, strict=True)])
        torch.testing.assert_close(found, expected)

        factors = normal(3, 4, 3, seed=1)
        grads = torch.autograd.grad(found, [sequences, *weights], factors)
        (grad_sequences,) = torch.autograd.grad(expected, sequences, factors, retain_graph=True)
        expected.backward(factors)
        torch.testing.assert_close(grads[0], grad_sequences)
        for grad, name in zip(grads[1:], NAMES, strict=True):
            own = [module.get_parameter(name).grad for module in modules]
            torch.testing.assert_close(grad, torch.stack([part for part in own if part is not None]))

    def test_gradcheck(self) -> None:
        weights = [weight.clone().requires_grad_() for weight in self.networks]
        sequences = normal(3, 2, 3, 2).requires_grad_()
        assert torch.autograd.gradcheck(lambda x, *w: stacked.outputs(Networks(*w), x), (sequences, *weights))

    def test_second_derivatives_are_refused(self) -> None:
        weights = [weight.clone().requires_grad_() for weight in self.networks]
        value = stacked.outputs(Networks(*weights), normal(3, 2, 3, 2)).sum()
        (grad,) = torch.autograd.grad(value, weights[0], create_graph=True)
        with pytest.raises(RuntimeError, match="once_differentiable"):
            grad.sum().backward()

    def test_shared_sequences(self) -> None:
        sequences = normal(4, 5, 2)
        found = stacked.outputs(self.networks, sequences)
        torch.testing.assert_close(found, stacked.outputs(self.networks, torch.stack(3 * [sequences])))

    def test_a_network_depends_on_its_seed_alone(self) -> None:
        state = torch.get_rng_state()
        alone = double(stacked.new_networks([0], inputs=2, hidden=6, outputs=3))
        assert torch.equal(torch.get_rng_state(), state)
        for found, expected in zip(alone, self.networks.select(slice(1, 2)), strict=True):
            assert torch.equal(found, expected)
        assert not torch.equal(self.networks.weight_hh[0], self.networks.weight_hh[1])

    def test_drawn_by_the_law_of_nn_rnn(self) -> None:
        ours = stacked.new_networks(range(40), inputs=8, hidden=16, outputs=8)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            theirs = [(nn.RNN(8, 16), nn.Linear(16, 8)) for _ in range(40)]
        pairs: dict[str, list[Tensor]] = {
            "weight_hh": [rnn.get_parameter("weight_hh_l0") for rnn, _ in theirs],
            "weight_in": [rnn.get_parameter("weight_ih_l0") for rnn, _ in theirs],
            "bias": [rnn.get_parameter("bias_ih_l0") + rnn.get_parameter("bias_hh_l0") for rnn, _ in theirs],
            "weight_out": [readout.weight for _, readout in theirs],
            "bias_out": [readout.bias for _, readout in theirs],
        }
        for name, drawn in pairs.items():
            sample, expected = getattr(ours, name), torch.stack(drawn).detach()
            assert sample.shape == expected.shape
            assert sample.mean().abs() < 0.03
            assert sample.std().item() == pytest.approx(expected.std().item(), rel=0.1)
            assert sample.abs().max().item() == pytest.approx(expected.abs().max().item(), rel=0.1)

    def test_state_dicts_make_the_stack_again(self) -> None:
        states = [self.networks.select(index).state_dict() for index in range(3)]
        for found, expected in zip(stacked.from_state_dicts(states), self.networks, strict=True):
            assert torch.equal(found, expected)


def random_examples(seed: int, *, classes: bool) -> loop.Examples:
    targets = normal(10, 3, seed=seed + 50)
    return loop.Examples(normal(10, 4, 2, seed=seed), targets.argmax(-1) if classes else targets)


class TestTraining:
    @pytest.mark.parametrize("classes", [False, True])
    @pytest.mark.parametrize("name", ["none", "L1", "R-RNN per hop"])
    def test_as_torch_trains_one(self, name: str, classes: bool) -> None:
        """nn.RNN under torch's Adam, cosine and losses; 10 sequences by 4, so passes end with a batch of 2."""
        seeds, strengths, updates = [3, 4], [0.02, 0.3], 7
        regulariser = regularisers.named(name)
        first = double(stacked.new_networks(seeds, inputs=2, hidden=6, outputs=3))
        sets = {seed: random_examples(seed, classes=classes) for seed in seeds}
        trained = loop.train(
            first, sets, seeds=seeds, regulariser=regulariser, strengths=strengths, updates=updates, batch=4,
            learning_rate=1e-2,
        )  # fmt: skip
        criterion = nn.CrossEntropyLoss() if classes else nn.MSELoss()
        for index, (seed, strength) in enumerate(zip(seeds, strengths, strict=True)):
            module = Module(first, index)
            # Adam moves each of nn.RNN's two biases as far as the stack's only one.
            module.rnn.get_parameter("bias_hh_l0").requires_grad_(False)
            optimiser = torch.optim.Adam([p for p in module.parameters() if p.requires_grad], lr=1e-2)
            order = torch.Generator().manual_seed(seed)
            passes = [torch.randperm(10, generator=order).split(4) for _ in range(3)]
            for update, batch in enumerate([batch for batches in passes for batch in batches][:updates]):
                optimiser.param_groups[0]["lr"] = 1e-2 * (1 + math.cos(math.pi * update / updates)) / 2
                loss = criterion(module(sets[seed].sequences[batch]), sets[seed].targets[batch])
                state = dict(module.named_parameters())
                own = Networks(*(state[key][None] for key in NAMES))
                optimiser.zero_grad()
                (loss + strength * regulariser(own, 4).sum()).backward()
                optimiser.step()
            for key, weight in trained.select(index).state_dict().items():
                torch.testing.assert_close(weight, module.state_dict()[key])

    @pytest.mark.parametrize("classes", [False, True])
    def test_error(self, classes: bool) -> None:
        networks = double(stacked.new_networks([0, 1], inputs=2, hidden=6, outputs=3))
        size = loop.EVALUATED_AT_ONCE + 3  # more than one part
        targets = normal(size, 3, seed=1)
        examples = loop.Examples(normal(size, 4, 2), targets.argmax(-1) if classes else targets)
        for index, error in enumerate(loop.test_error(networks, examples)):
            with torch.no_grad():
                answers = Module(networks, index)(examples.sequences)
            right = (answers.argmax(-1) == examples.targets).double().mean() if classes else torch.tensor(0)
            expected = 1 - right if classes else nn.functional.mse_loss(answers, examples.targets)
            torch.testing.assert_close(error, expected)

    def test_sets_of_unequal_size_are_refused(self) -> None:
        short = loop.Examples(*(part[:6] for part in random_examples(0, classes=False)))
        with pytest.raises(ValueError, match=r"same number of sequences, got \[6, 10\]"):
            loop.train(
                double(stacked.new_networks([0, 1], inputs=2, hidden=6, outputs=3)),
                {0: short, 1: random_examples(1, classes=False)},
                seeds=[0, 1], regulariser=regularisers.none, strengths=[0, 0], updates=1, batch=4, learning_rate=1e-2,
            )  # fmt: skip

    def test_solves_a_task(self) -> None:
        """Averaging nearly as well as can be, in far fewer updates than a sweep gives it; nothing where β is huge."""
        settings = [Setting("averaging", "L1", beta, 0, updates=60) for beta in (0.0, 1.0)]
        problem = problems.named("averaging")
        networks = loop.train(
            stacked.new_networks([0, 0], inputs=problem.inputs, hidden=64, outputs=problem.outputs),
            {0: loop.Examples(*problem.training_set(0))},
            seeds=[0, 0], regulariser=regularisers.l1, strengths=[0.0, 1.0],
            updates=60, batch=settings[0].batch, learning_rate=settings[0].learning_rate,
        )  # fmt: skip
        free, held = loop.test_error(networks, loop.Examples(*problem.test_set())).tolist()
        assert free < 0.25
        assert held > 0.9


class TestGrid:
    def test_every_combination_and_none_once(self) -> None:
        found = sweep.grid(["lagged", "averaging"], ["none", "L1", "R-RNN"], [0.1, 1.0], [0, 1], hidden=8)
        assert len(found) == len(set(found)) == 2 * (1 + 2 + 2) * 2
        assert [s for s in found if s.regulariser == "none"] == [
            Setting(task, "none", 0.0, seed, hidden=8) for task in ("lagged", "averaging") for seed in (0, 1)
        ]
        assert Setting("averaging", "R-RNN", 0.1, 1, hidden=8) in found

    def test_unknown_names_list_the_known(self) -> None:
        with pytest.raises(ValueError, match=r"averaging.*digits"):
            sweep.grid(["averagin"], ["none"], [0.1], [0])
        with pytest.raises(ValueError, match="R-RNN per hop"):
            sweep.grid(["averaging"], ["L3"], [0.1], [0])

    @pytest.mark.parametrize(
        ("changed", "message"),
        [
            ({"beta": -0.1}, "beta must be finite and not negative, got -0.1"),
            ({"beta": math.inf}, "beta must be finite and not negative, got inf"),
            ({"regulariser": "none"}, 'beta must be 0 for the regulariser "none", got 0.1'),
            ({"seed": -1}, "seed must not be negative, got -1"),
            ({"hidden": 0}, "hidden must be positive, got 0"),
            ({"updates": 0}, "updates must be positive, got 0"),
            ({"batch": 0}, "batch must be positive, got 0"),
            ({"learning_rate": 0.0}, r"learning_rate must be positive, got 0\.0"),
        ],
    )
    def test_settings_out_of_range(self, changed: dict[str, object], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            Setting(**{"task": "averaging", "regulariser": "L1", "beta": 0.1, "seed": 0, **changed})  # type: ignore[arg-type]


SETTINGS = sweep.grid(["averaging", "lagged"], ["none", "L1", "R-RNN"], [1e-3, 1e-1], [0, 1], **TINY)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Record], list[Progress]]:
    out = tmp_path_factory.mktemp("sweep") / "made" / "here"
    seen: list[Progress] = []
    return out, sweep.run(out, SETTINGS, progress=seen.append), seen


class TestSweep:
    def test_records_every_setting(self, finished: tuple[Path, list[Record], list[Progress]]) -> None:
        out, records, _ = finished
        assert [record.setting for record in records] == SETTINGS
        assert len((out / "results.jsonl").read_text().splitlines()) == len(SETTINGS)
        assert {record.setting: record for record in results.load(out)} == {r.setting: r for r in records}
        for line in (out / "results.jsonl").read_text().splitlines():
            assert list(json.loads(line)) == ["setting", "test_error", "measures"]
        record = records[-1]
        assert (record.task, record.regulariser, record.beta, record.seed) == ("lagged", "R-RNN", 0.1, 1)
        assert len({record.test_error for record in records}) == len(SETTINGS)

    def test_weights_are_those_that_were_scored(self, finished: tuple[Path, list[Record], list[Progress]]) -> None:
        out, records, _ = finished
        record = records[7]
        networks = results.networks(out, [record.setting, records[8].setting])
        module = Module(networks, 0)
        saved = torch.load(results.weights_path(out, record.setting), weights_only=True)
        assert saved["steps"] == 10
        module.load_state_dict(saved["state_dict"])
        sequences, targets = problems.named(record.task).test_set()
        with torch.no_grad():
            assert nn.functional.mse_loss(module(sequences), targets).item() == pytest.approx(record.test_error)
        assert len(list((out / "weights").rglob("*.pt"))) == len(SETTINGS)

    def test_progress(self, finished: tuple[Path, list[Record], list[Progress]]) -> None:
        _, _, seen = finished
        total, updates = len(SETTINGS), TINY["updates"]
        assert {(step.networks_total, step.work_total) for step in seen} == {(total, total * updates)}
        assert [step.work_done for step in seen] == sorted(step.work_done for step in seen)
        assert (seen[-1].networks_done, seen[-1].work_done) == (total, total * updates)
        assert (seen[0].networks_done, seen[0].label) == (0, "averaging, none")
        assert len(seen) == 6 * (updates + 1)  # six stacks: after each update, and when it is recorded

    def test_same_seed_same_table(self, finished: tuple[Path, list[Record], list[Progress]], tmp_path: Path) -> None:
        sweep.run(tmp_path, SETTINGS)
        assert (tmp_path / "results.jsonl").read_bytes() == (finished[0] / "results.jsonl").read_bytes()

    def test_stacks_side_by_side(
        self,
        finished: tuple[Path, list[Record], list[Progress]],
        tmp_path: Path,
        set_threads: Callable[[int], None],
    ) -> None:
        """One stack for each of PyTorch's threads, each stack on one thread; the table is in order all the same."""
        set_threads(3)
        seen = []
        sweep.run(tmp_path, SETTINGS, progress=lambda progress: seen.append((get_ident(), torch.get_num_threads())))
        assert len({thread for thread, _ in seen}) == 1 + 3  # the one that records, and those that train
        assert {count for _, count in seen} == {1}
        assert torch.get_num_threads() == 3
        assert (tmp_path / "results.jsonl").read_bytes() == (finished[0] / "results.jsonl").read_bytes()

    def test_trained_alone_it_is_the_same_network(
        self, finished: tuple[Path, list[Record], list[Progress]], tmp_path: Path
    ) -> None:
        out, records, _ = finished
        setting = SETTINGS[4]
        (alone,) = sweep.run(tmp_path, [setting])
        assert alone.test_error == pytest.approx(records[4].test_error, rel=1e-5)
        for found, expected in zip(
            results.networks(tmp_path, [setting]), results.networks(out, [setting]), strict=True
        ):
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)

    def test_an_interrupted_sweep_goes_on(
        self, finished: tuple[Path, list[Record], list[Progress]], tmp_path: Path
    ) -> None:
        def interrupt(progress: Progress) -> None:
            if progress.networks_done == 6:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            sweep.run(tmp_path, SETTINGS, progress=interrupt)
        assert 0 < len(results.load(tmp_path)) < len(SETTINGS)
        with (tmp_path / "results.jsonl").open("a") as file:
            file.write('{"setting": {"task": "aver')  # as if killed while writing
        done = len(results.load(tmp_path))
        seen: list[Progress] = []
        assert sweep.run(tmp_path, SETTINGS, progress=seen.append) == finished[1]
        assert seen[-1].networks_total == len(SETTINGS) - done
        assert (tmp_path / "results.jsonl").read_bytes() == (finished[0] / "results.jsonl").read_bytes()

    def test_a_killed_sweep_goes_on(self, tmp_path: Path) -> None:
        code = (
            "from pathlib import Path\n"
            "from experiments.training import sweep\n"
            "settings = sweep.grid(['averaging'], ['none', 'L1'], [1e-2], [0], hidden=6, updates=4)\n"
            f"sweep.run(Path({str(tmp_path)!r}), settings, progress=lambda p: input() if p.networks_done else None)\n"
        )
        process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE)
        try:
            deadline = time.monotonic() + 120
            while not results.load(tmp_path) and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.05)
            with pytest.raises(RuntimeError, match="another sweep is writing into"):
                sweep.run(tmp_path, SETTINGS)
        finally:
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()
        (first,) = results.load(tmp_path)
        assert first.regulariser == "none"
        settings = sweep.grid(["averaging"], ["none", "L1"], [1e-2], [0], **TINY)
        assert sweep.run(tmp_path, settings)[0] == first
        assert [record.regulariser for record in results.load(tmp_path)] == ["none", "L1"]

    def test_large_groups_are_cut_evenly(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sweep, "STACK", 4)
        group = sweep.grid(["averaging"], ["L1"], [0.1, 1.0], [0, 1, 2])
        stacks = list(sweep._stacks([*group, replace(group[0], hidden=8)]))
        assert [len(stack) for stack in stacks] == [3, 3, 1]
        assert [setting for stack in stacks for setting in stack] == [*group, replace(group[0], hidden=8)]


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


class TestMeasures:
    @pytest.mark.parametrize("name", ["averaging", "subtraction", "multiplication", "lagged", "on-off-sparse"])
    def test_of_the_optimum(self, name: str) -> None:
        """A network that is the optimal linear read-out, as a delay line of small signals in tanh's linear part."""
        task = problems.named(name)
        ((found),) = measures.of_networks(delay_line(task.optimal_walks), task)  # type: ignore[attr-defined]
        expected_at_one = (
            "correlation", "correlation_per_hop", "correlation_jacobian", "correlation_impulses", "alignment",
            "alignment_per_hop", "signal_share",
        )  # fmt: skip
        for measure in expected_at_one:
            assert found[measure] == pytest.approx(1, abs=1e-3), measure
        for measure in ("communication_sparsity", "communication_sparsity_per_hop"):
            assert found[measure] == pytest.approx(0, abs=1e-3), measure
        by_lag = task.optimal_walks.abs().sum((-2, -1))  # type: ignore[attr-defined]
        assert found["walks_l1"] == pytest.approx(by_lag.sum().item(), rel=1e-3)
        assert found["resolvent_l1"] == pytest.approx(task.optimum.abs().sum().item(), rel=1e-3)  # type: ignore[attr-defined]
        assert found["hop_profile"] == pytest.approx((by_lag / by_lag.sum()).tolist(), abs=1e-4)

    def test_without_an_optimum(self) -> None:
        problem = problems.named("digits")
        networks = stacked.new_networks([0, 1], inputs=problem.inputs, hidden=6, outputs=problem.outputs)
        first, second = measures.of_networks(networks, problem)
        assert first.keys() == second.keys()
        assert "correlation" not in first
        assert first["walks_l1"] != second["walks_l1"]
        assert len(first["hop_profile"]) == problem.steps  # type: ignore[arg-type]
        (alone,) = measures.of_networks(networks.select(slice(1, 2)), problem)
        for name, value in alone.items():
            assert value == pytest.approx(second[name], rel=1e-4), name


def delay_line(walks: Tensor) -> Networks:
    """One network with the given walks (L, o, i): inputs are shifted on at every step, and all of them read out."""
    steps, outputs, inputs = walks.shape
    small = 1e-3
    weight_in = torch.zeros(steps * inputs, inputs)
    weight_in[:inputs] = small * torch.eye(inputs)
    weight_hh = torch.diag(torch.ones((steps - 1) * inputs), -inputs)
    weight_out = walks.movedim(0, 1).reshape(outputs, steps * inputs) / small
    biases = torch.zeros(1, steps * inputs), torch.zeros(1, outputs)
    return Networks(weight_hh[None], weight_in[None], biases[0], weight_out[None], biases[1])
