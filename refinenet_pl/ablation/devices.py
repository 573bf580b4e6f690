"""Assignment of threads and GPUs to runs."""

import os
import shutil
import subprocess
from dataclasses import dataclass

from refinenet_pl.cpu import cores


class PlacementError(ValueError):
    """The machine lacks the requested resources; the message shows the arithmetic."""


@dataclass(frozen=True)
class Placement:
    """Number of concurrent runs and the resources of each.

    Attributes:
        slots: Number of concurrent runs, which share the CPU cores and the GPUs.
        gpus: GPUs per run, with one process each; None for an equal share of all GPUs.
        processes: CPU processes per run; None if `gpus` is set or the recipe decides.
    """

    slots: int = 1
    gpus: int | None = None
    processes: int | None = None

    @property
    def arguments(self) -> list[str]:
        """Trainer options of the training command."""
        if self.gpus:
            return ["--trainer.accelerator=gpu", f"--trainer.devices={self.gpus}"]
        return ["--trainer.accelerator=cpu", f"--trainer.devices={self.processes}"] if self.processes else []

    def check(self) -> None:
        """Check that the machine has enough GPUs.

        Raises:
            PlacementError: It has fewer.
        """
        there = len(visible_gpus())
        if self.gpus and self.slots * self.gpus > there:
            raise PlacementError(
                f"{self.slots} slots x {self.gpus} GPUs per run = {self.slots * self.gpus}, but the machine has {there}; "
                "lower --slots or --gpus_per_run"
            )

    def environment(self, slot: int) -> dict[str, str]:
        """Environment variables of a run in this slot."""
        environment = dict(os.environ)
        environment["PYTHONUNBUFFERED"] = "1"
        shares = self.slots * (self.gpus or self.processes or 1)
        if shares > 1:
            # By default every process starts one thread per core, which oversubscribes the CPU.
            environment.setdefault("OMP_NUM_THREADS", str(max(1, cores() // shares)))
        devices = visible_gpus()
        if self.gpus:
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(devices[slot * self.gpus : (slot + 1) * self.gpus])
        elif self.slots > 1 and devices:
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(devices[slot :: self.slots] or [devices[slot % len(devices)]])
        return environment


def visible_gpus() -> list[str]:
    """Available GPUs: CUDA_VISIBLE_DEVICES if it is set, otherwise all GPUs that the driver lists."""
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        return [device for device in os.environ["CUDA_VISIBLE_DEVICES"].split(",") if device]
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    # torch.cuda.device_count() would import torch, which takes seconds.
    query = [program, "--query-gpu=index", "--format=csv,noheader"]
    listed = subprocess.run(query, capture_output=True, text=True)
    return listed.stdout.split() if listed.returncode == 0 else []
