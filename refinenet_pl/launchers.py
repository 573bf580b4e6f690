"""What starts the processes of a run: Lightning itself, torchrun or srun; and how many they are."""

import os
import sys

import torch
from lightning.pytorch.plugins.environments import ClusterEnvironment, LightningEnvironment, SLURMEnvironment


def launched_elsewhere() -> tuple[int, int] | None:
    """Processes a node, and nodes, where torchrun or srun started this process; None where Lightning is to start the others."""
    if torch.distributed.is_torchelastic_launched():
        node = int(os.environ["LOCAL_WORLD_SIZE"])
        return node, int(os.environ["WORLD_SIZE"]) // node
    if _in_srun():
        nodes = int(os.environ["SLURM_STEP_NUM_NODES"])
        return int(os.environ["SLURM_STEP_NUM_TASKS"]) // nodes, nodes
    return None


def use_launched_processes(trainer) -> None:
    """Set `devices` and `num_nodes` of a trainer's configuration to what torchrun or srun started.

    Lightning would take one CPU process for all there is and let each of them train the whole run.
    """
    launched = launched_elsewhere()
    if launched is None:
        return
    node, nodes = launched
    devices = len(trainer.devices) if isinstance(trainer.devices, list) else trainer.devices
    if str(devices) not in ("auto", "-1", str(node)) or trainer.num_nodes not in (1, nodes):
        sys.exit(
            f"error: trainer.devices {devices} x trainer.num_nodes {trainer.num_nodes} are not the {node} processes a node on "
            f"{nodes} nodes that were launched; leave both out, they follow the launcher"
        )
    trainer.devices = trainer.devices if isinstance(trainer.devices, list) else node
    trainer.num_nodes = nodes


def slurm_environments() -> list[ClusterEnvironment]:
    """The plugin that Lightning needs within a Slurm job."""
    if torch.distributed.is_torchelastic_launched() or not SLURMEnvironment.detect():
        return []
    # A run goes on from its own checkpoints, and Slurm or its owner requeues it; Lightning's way leaves a file that two runs
    # could share. Without srun, in a batch script, there is one process and Lightning is to start the others.
    return [SLURMEnvironment(auto_requeue=False) if _in_srun() else LightningEnvironment()]


def _in_srun() -> bool:
    return "SLURM_STEP_NUM_TASKS" in os.environ and SLURMEnvironment.detect()
