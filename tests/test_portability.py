"""Other systems and devices: no fcntl, locks of Windows, and a GPU without float64."""

import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace

import pytest
import torch
from helpers.layouts import nyudv2
from helpers.memory import Memory, trainer
from helpers.networks import tiny
from helpers.repository import REPOSITORY
from helpers.running import QUICK, record
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map

from refinenet_pl.deployment.preparation import prepare_for_inference
from refinenet_pl.evaluation.evaluator import Evaluator
from refinenet_pl.evaluation.inference import Inference
from refinenet_pl.tasks.losses.cross_entropy import CrossEntropy
from refinenet_pl.tasks.segmentation import SegmentationTask
from refinenet_pl.tracking import lock
from refinenet_pl.tracking.identity import RunId

# A process that trains and converts a MATLAB dataset without the module fcntl, which Windows lacks.
WITHOUT_FCNTL = """
import sys
sys.modules["fcntl"] = None
from refinenet_pl.cli.main import main
from refinenet_pl.datasets.nyud import NYUDv2
runs, data, *options = sys.argv[1:]
main(["fit", *options, f"--run.root={runs}"])
assert NYUDv2(data, "train").read(0)[1].shape == (60, 80)
"""


@pytest.mark.integration
def test_trains_and_converts_without_fcntl(tmp_path):
    runs, data = tmp_path / "runs", tmp_path / "data"
    nyudv2.build(data)
    command = [sys.executable, "-c", WITHOUT_FCNTL, runs, data, *QUICK]
    done = subprocess.run(command, cwd=REPOSITORY, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert record(runs)["training"]["steps"] == 3
    assert len(list(data.glob("refinenet_pl_cache/nyudv2/masks/*.png"))) == len(nyudv2.TRAIN)


def locking(descriptor: int, mode: str, number: int) -> None:
    """Stand-in for `msvcrt.locking`, which locks bytes from the current position."""
    import fcntl

    assert mode == "not blocking"
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, number, os.lseek(descriptor, 0, os.SEEK_CUR))
    except BlockingIOError as error:
        raise PermissionError(13, "Permission denied") from error


def hold(run: RunId, sender) -> None:
    """Lock a run and send the process of a data loader, which outlives this process."""
    file = lock.lock_run(run)
    sender.send(os.fork() or time.sleep(600))
    time.sleep(600)
    file.close()


@pytest.mark.parametrize("system", ["linux", "win32"])
def test_lock_names_its_holder_and_ends_with_it(tmp_path, monkeypatch, system):
    monkeypatch.setattr(lock, "sys", SimpleNamespace(platform=system))
    msvcrt = ModuleType("msvcrt")
    msvcrt.locking, msvcrt.LK_NBLCK = locking, "not blocking"
    monkeypatch.setitem(sys.modules, "msvcrt", msvcrt)
    run = RunId("scenes", root=str(tmp_path))
    assert not lock.is_locked(run)
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    holder = context.Process(target=hold, args=(run, sender))
    holder.start()
    loader = receiver.recv()
    try:
        assert lock.is_locked(run)
        with pytest.raises(lock.RunBusyError, match=f"is being trained by process {holder.pid} on "):
            lock.lock_run(run)
        holder.kill()
        holder.join()
        os.kill(loader, 0)  # is still running
        assert not lock.is_locked(run)
        with lock.lock_run(run):
            assert (run.directory / "lock").read_text().startswith(f"process {os.getpid()} on ")
    finally:
        os.kill(loader, 9)


DEVICE = torch.device("mps", 0)
"""A stand-in for Apple's GPUs: a device that refuses float64, whose tensors are computed on the CPU."""


class DeviceTensor(Tensor):
    """A tensor on the stand-in.

    C++ sees a tensor on the meta device, because without a driver for MPS it cannot differentiate tensors there, and because it
    would not move a tensor that is on the CPU to the CPU.
    """

    computed: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor):
        layout = {"dtype": inner.dtype, "strides": inner.stride(), "storage_offset": inner.storage_offset()}
        tensor = Tensor._make_wrapper_subclass(cls, inner.shape, device="meta", **layout)
        tensor.computed = inner
        return tensor

    @property
    def device(self) -> torch.device:
        return DEVICE

    def as_subclass(self, cls):  # torch 2.9 refuses it
        return self

    def tolist(self):
        return self.computed.tolist()

    def __repr__(self, **options) -> str:
        return f"DeviceTensor({self.computed})"

    @classmethod
    def __torch_dispatch__(cls, function, types, arguments=(), options=None):
        return compute(function, arguments, options or {})


def compute(function, arguments, options):
    """Compute an operation on the CPU; its result is on the stand-in if its `device` is, or without it, if its operands are."""
    operands = tensors_of((arguments, options))
    device = options.get("device")
    creates = device is not None and device.type in (DEVICE.type, "meta")  # the latter if C++ creates a tensor like another
    here = any(isinstance(operand, DeviceTensor) for operand in operands)
    if not (here or creates):
        return function(*arguments, **options)
    if function not in (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default):
        elsewhere = [operand for operand in operands if operand.ndim and not isinstance(operand, DeviceTensor)]
        assert not elsewhere, f"{function}: operands on two devices"
    plain, plain_options = tree_map(
        lambda leaf: leaf.computed if isinstance(leaf, DeviceTensor) else leaf, (arguments, options)
    )
    result = function(*plain, **plain_options | ({} if device is None else {"device": torch.device("cpu")}))
    if any(tensor.dtype in (torch.float64, torch.complex128) for tensor in operands + tensors_of(result)):
        raise TypeError(f"{function}: the device has no float64")
    if not (creates or device is None):  # a copy to the CPU
        return result
    result = tree_map(lambda leaf: DeviceTensor(leaf) if isinstance(leaf, Tensor) else leaf, result)
    return return_and_correct_aliasing(function, arguments, options, result) if here else result


def tensors_of(tree: object) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


class Factories(TorchDispatchMode):
    """Creates tensors on the stand-in."""

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        return compute(function, arguments, options or {})


class Literals(TorchFunctionMode):
    """Moves the results of `torch.tensor` to the stand-in, because other modes do not see their device."""

    def __torch_function__(self, function, types, arguments=(), options=None):
        options = options or {}
        if function in (torch.tensor, torch.as_tensor) and options.get("device") == DEVICE:
            return function(*arguments, **options | {"device": "cpu"}).to(DEVICE)
        return function(*arguments, **options)


@pytest.fixture
def device() -> Iterator[torch.device]:
    with Literals(), Factories():
        yield DEVICE


class StandIn(CPUAccelerator):
    """Lets Lightning train on the stand-in."""

    def setup_device(self, device: torch.device) -> None:
        assert device == DEVICE


def test_stand_in(device):
    x = torch.ones(2, 3).to(device)
    assert x.device == (x + torch.zeros(3, device=device)).sum().device == torch.zeros_like(x).device == device
    assert x.cpu().double().dtype == torch.float64 and x.cpu().device.type == "cpu"
    with pytest.raises(AssertionError, match="two devices"):
        x + torch.zeros(3)
    double = torch.zeros(3, dtype=torch.float64)
    for refused in x.double, lambda: double.to(device), lambda: torch.tensor(1.0, dtype=torch.float64, device=device):
        with pytest.raises(TypeError, match="no float64"):
            refused()


def test_loss_is_summed_in_float64(device):
    for place in "cpu", device:
        evaluator = Evaluator(3, 255, Inference(), CrossEntropy(None, 255)).to(place)
        evaluator.loss.update(torch.tensor(1 / 3, dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64))
        assert evaluator.loss.compute().item() == 1 / 3


@pytest.mark.parametrize(
    "arguments, options",
    [
        ({"class_weights": [1.0, 2.0, 0.5], "test_scales": (0.5, 1.0), "test_flip": True}, {"accumulate_grad_batches": 2}),
        ({"protocol": "paper", "short_edge": (8, 12), "test_scales": (0.8, 1.2)}, {}),
        ({"optimizer": "adamw", "tile": (40, 40)}, {"gradient_clip_val": 1.0}),
    ],
    ids=["weights, views", "paper", "adamw, tiles"],
)
def test_training_and_evaluation_are_equal_on_a_device_without_float64(device, arguments, options):
    found = []
    for place in {"accelerator": "cpu"}, {"accelerator": StandIn(), "strategy": SingleDeviceStrategy(device)}:
        torch.manual_seed(0)
        task = SegmentationTask(tiny(), 3, freeze_batch_norm=False, **arguments)
        runner = trainer(max_epochs=2, inference_mode=False, **options, **place)  # not possible for subclasses of tensors
        runner.fit(task, datamodule=Memory())
        trained, loss = task.results["val"], runner.callback_metrics["train/loss"].item()
        prepare_for_inference(task.network)
        runner.validate(task, datamodule=Memory(), verbose=False)
        assert trained.pooling_activity and task.divergence.read() is None
        weights = {name: tensor.cpu() for name, tensor in task.state_dict().items()}
        found.append((trained, task.results["val"], weights, loss))
    (*cpu, cpu_weights, cpu_loss), (*other, weights, loss) = found
    assert other == cpu and loss == cpu_loss
    assert [name for name in weights if not torch.equal(weights[name], cpu_weights[name])] == []
