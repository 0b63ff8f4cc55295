"""What a penalty adds to a training step of cuDNN's nn.RNN, and that of a network as it ran."""

from __future__ import annotations

from collections.abc import Callable

import torch

from benchmarks import training_step
from benchmarks.gpu.race import run
from benchmarks.gpu.record import Race, Recorder
from benchmarks.gpu.where import DEVICE, EMULATED, sized
from benchmarks.names import AS_IT_RAN, DIRECT, ON_A_SIDE_STREAM, OURS, STEP, TRAINING_STEP
from benchmarks.running import Setting
from benchmarks.training_step import BETA, Training


def share_of_step(n: int, recorder: Recorder) -> None:
    """The step alone, then with the penalty: in the loss, added to .grad after it, and beside it."""
    n = sized(n, 24)
    training = Training(n, DEVICE)
    contenders = training.contenders()
    contenders[ON_A_SIDE_STREAM] = on_a_side_stream(training)
    the = Race(TRAINING_STEP, training_step.shape(n))
    try:
        check_same_gradients(training, contenders[DIRECT], contenders[ON_A_SIDE_STREAM])
    except (AssertionError, RuntimeError) as error:
        recorder.failed(ON_A_SIDE_STREAM, error)
    for name in (OURS, DIRECT) if recorder.profiling else (STEP, DIRECT, ON_A_SIDE_STREAM, OURS, "horner_from_outputs"):
        try:
            run(recorder, the, name, contenders[name])
        except RuntimeError as error:
            recorder.failed(name, error)


def on_a_side_stream(training: Training) -> Callable[[], None]:
    """The penalty's gradients come first into .grad, on a stream of their own, while the task's are computed."""
    parameters = training.parameters
    side = None if EMULATED else torch.cuda.Stream()

    def step() -> None:
        for parameter in parameters:
            parameter.grad = None
        if side is not None:
            side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            training.penalty.accumulate_grad(BETA)
        gradients = torch.autograd.grad(training.task_loss(), parameters)
        if side is not None:
            torch.cuda.current_stream().wait_stream(side)
        penalised = [(p.grad, g) for p, g in zip(parameters, gradients, strict=True) if p.grad is not None]
        torch._foreach_add_([grad for grad, _ in penalised], [gradient for _, gradient in penalised])
        for parameter, gradient in zip(parameters, gradients, strict=True):
            if parameter.grad is None:
                parameter.grad = gradient

    return step


def check_same_gradients(training: Training, *steps: Callable[[], None]) -> None:
    found = []
    for step in steps:
        step()
        found.append([parameter.grad for parameter in training.parameters])
    torch.testing.assert_close(found[1], found[0], rtol=1e-3, atol=1e-6)


def as_it_ran(recorder: Recorder) -> None:
    """penalty(x, out) of the mean over a batch, against Jacobians by torch.func."""
    setting = Setting(torch.nn.RNN, units=sized(256, 12), count=sized(64, 4), device=DEVICE)
    n, i = setting.rnn.hidden_size, setting.rnn.input_size
    o, (count, steps) = setting.readout.out_features, setting.x.shape[:2]
    the = Race(AS_IT_RAN, {"n": n, "i": i, "o": o, "hops": steps, "batch": count})
    contenders = {
        OURS: setting.as_it_ran(gains="mean"),
        "jacrev of the mean": setting.of_mean,
    }
    for name in (OURS,) if recorder.profiling else contenders:
        try:
            run(recorder, the, name, setting.step(contenders[name]))
        except RuntimeError as error:
            recorder.failed(name, error)
