"""W&B sweep that started this process."""

import os


def in_sweep() -> bool:
    """Test if an agent of a W&B sweep started this process."""
    return "WANDB_SWEEP_ID" in os.environ
