"""Detection of the launcher of a run's processes (Lightning, torchrun or srun) and of their number."""

import os
import sys

import torch
from jsonargparse import Namespace
from lightning.pytorch.plugins.environments import ClusterEnvironment, LightningEnvironment, SLURMEnvironment


def launched_elsewhere() -> tuple[int, int] | None:
    """Return processes per node, and nodes, if torchrun or srun started this process; None if Lightning starts the others."""
    if torch.distributed.is_torchelastic_launched():
        node = int(os.environ["LOCAL_WORLD_SIZE"])
        return node, int(os.environ["WORLD_SIZE"]) // node
    if _in_srun():
        nodes = int(os.environ["SLURM_STEP_NUM_NODES"])
        return int(os.environ["SLURM_STEP_NUM_TASKS"]) // nodes, nodes
    return None


def use_launched_processes(trainer: Namespace) -> None:
    """Set `devices` and `num_nodes` of a trainer's configuration to the processes that torchrun or srun started.

    With its defaults, Lightning would assume a single CPU process, and each process would train the whole run.
    """
    launched = launched_elsewhere()
    if launched is None:
        return
    node, nodes = launched
    devices = len(trainer.devices) if isinstance(trainer.devices, list) else trainer.devices
    if str(devices) not in ("auto", "-1", str(node)) or trainer.num_nodes not in (1, nodes):
        sys.exit(
            f"error: trainer.devices {devices} x trainer.num_nodes {trainer.num_nodes} are not the {node} processes per node "
            f"on {nodes} nodes that were launched; omit both options, they follow the launcher"
        )
    trainer.devices = trainer.devices if isinstance(trainer.devices, list) else node
    trainer.num_nodes = nodes


def slurm_environments() -> list[ClusterEnvironment]:
    """Return the plugin that Lightning needs within a Slurm job; empty outside of one."""
    if torch.distributed.is_torchelastic_launched() or not SLURMEnvironment.detect():
        return []
    # No requeueing by Lightning, whose checkpoint file two runs could share: a run resumes from its own checkpoints when Slurm
    # or the user requeues it. Without srun, in a batch script, there is one process, and Lightning starts the others.
    return [SLURMEnvironment(auto_requeue=False) if _in_srun() else LightningEnvironment()]


def _in_srun() -> bool:
    return "SLURM_STEP_NUM_TASKS" in os.environ and SLURMEnvironment.detect()
