"""Which threads and GPUs a run gets."""

import os
import shutil
import subprocess
from dataclasses import dataclass

from refinenet_pl.cpu import cores


class PlacementError(ValueError):
    """The machine has not what was asked for; the message has the arithmetic."""


@dataclass(frozen=True)
class Placement:
    """How many runs at a time, and what each of them gets.

    Attributes:
        slots: Number of runs at a time; CPU cores and GPUs are divided among them.
        gpus: GPUs of a run, one process each; None for a slot's share of what there is.
        processes: CPU processes of a run; None where `gpus` counts, or the recipe decides.
    """

    slots: int = 1
    gpus: int | None = None
    processes: int | None = None

    @property
    def arguments(self) -> list[str]:
        """What the training command must be told."""
        if self.gpus:
            return ["--trainer.accelerator=gpu", f"--trainer.devices={self.gpus}"]
        return ["--trainer.accelerator=cpu", f"--trainer.devices={self.processes}"] if self.processes else []

    def check(self) -> None:
        """See whether the machine has the GPUs.

        Raises:
            PlacementError: It has fewer.
        """
        there = len(visible_gpus())
        if self.gpus and self.slots * self.gpus > there:
            raise PlacementError(
                f"{self.slots} slots x {self.gpus} GPUs a run = {self.slots * self.gpus}, but there are {there}; lower --slots "
                "or --gpus_per_run"
            )

    def environment(self, slot: int) -> dict[str, str]:
        """The environment variables of a run in this slot."""
        environment = dict(os.environ)
        environment["PYTHONUNBUFFERED"] = "1"
        shares = self.slots * (self.gpus or self.processes or 1)
        if shares > 1:
            # Otherwise each process takes a thread for every core, and all of them wait for each other.
            environment.setdefault("OMP_NUM_THREADS", str(max(1, cores() // shares)))
        devices = visible_gpus()
        if self.gpus:
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(devices[slot * self.gpus : (slot + 1) * self.gpus])
        elif self.slots > 1 and devices:
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(devices[slot :: self.slots] or [devices[slot % len(devices)]])
        return environment


def visible_gpus() -> list[str]:
    """The GPUs that may be used: CUDA_VISIBLE_DEVICES, or else all that the driver lists."""
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        return [device for device in os.environ["CUDA_VISIBLE_DEVICES"].split(",") if device]
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    # Not torch's own count: importing it takes seconds.
    query = [program, "--query-gpu=index", "--format=csv,noheader"]
    listed = subprocess.run(query, capture_output=True, text=True)
    return listed.stdout.split() if listed.returncode == 0 else []
