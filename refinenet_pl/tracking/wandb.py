"""The W&B logger of a run: comparable in the dashboard without renaming anything, and never in the way of training."""

import os

import wandb
from lightning.pytorch.loggers import WandbLogger

from refinenet_pl.tracking.run import Run


def wandb_logger(run: Run, config: dict, job_type: str, revision: str | None) -> WandbLogger:
    """Build the logger.

    Without an API key (WANDB_API_KEY, or `wandb login`) the run is recorded offline in its own directory, to be sent later with
    `wandb sync`. W&B's own WANDB_MODE decides where it is set. There is never a prompt.

    Args:
        run: Names the run; `group` gathers the runs of one table and recipe.
        config: The resolved configuration; all of it becomes the run's config.
        job_type: `train` or `test`.
        revision: The source's git revision, as a tag.
    """
    mode = os.environ.get("WANDB_MODE") or ("online" if wandb.login(prompt=False, verify=False) else "offline")
    network = config["model"]["network"].get("init_args", {})
    tags = [run.recipe, config["data"]["dataset"], network.get("encoder_name"), revision and revision[:10]]
    run.directory.mkdir(parents=True, exist_ok=True)
    return WandbLogger(
        project=os.environ.get("WANDB_PROJECT", "refinenet_pl"),
        save_dir=run.directory,
        group=run.group,
        job_type=job_type,
        name=run.name,
        # Fixed, so that a run that was interrupted goes on as the same run.
        id=f"{run.group}-{run.name}-{job_type}".replace("@", "-"),
        resume="allow",
        tags=[tag for tag in tags if tag],
        config={**config, "table": run.table, "cell": run.cell, "recipe": run.recipe, "seed": run.seed},
        mode=mode,
    )
