"""A run in W&B: comparable in the dashboard without renaming anything, and never in the way of training."""

import os
import re
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
import wandb
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.loggers.logger import DummyExperiment, rank_zero_experiment
from lightning.pytorch.utilities import rank_zero_only, rank_zero_warn

from refinenet_pl.datasets.classes import Classes
from refinenet_pl.files import replaced
from refinenet_pl.tracking.identity import SIDE_OPTIONS, RunId
from refinenet_pl.tracking.sample import Sample
from refinenet_pl.visualization.scores import PER_CLASS, draw_confusion, per_class_rows

# W&B draws no chart of a table with more rows, so of a confusion matrix of more than 100 classes there is the picture alone.
CHART_ROWS = 10_000
# Characters that W&B takes in the names of runs and groups, and in tags; and in an id, to which it adds names of tables.
LONGEST, LONGEST_TAG, LONGEST_ID = 128, 64, 80
# How long a server that does not answer may hold up the start of a run, and its end (W&B's own: 90 s and for ever); and copies
# of files instead of links to them, which end nowhere once the directory is moved.
SETTINGS = {"WANDB_INIT_TIMEOUT": "60", "WANDB_FINISH_TIMEOUT": "120", "WANDB_SYMLINK": "false"}


class WandbTracker(WandbLogger):
    """W&B's logger, with what a finished run shows, and without a way to stop a training.

    Without an API key (WANDB_API_KEY, or `wandb login`) the run is recorded offline in its own directory, to be sent later with
    `wandb sync`; so it is where the server does not answer at the start. W&B's own WANDB_MODE decides where it is set. There is
    never a prompt. Whatever fails in W&B later ends its record with a warning, and the training goes on.

    Args:
        run: Names the run; `group` gathers the runs of one table and recipe.
        config: The resolved configuration. All of it becomes the run's config, the network's arguments as `network.*`.
        job_type: `train`, `validate` or `test`.
        revision: The source's git revision, as a tag.
    """

    def __init__(self, run: RunId, config: dict, job_type: str, revision: str | None):
        network = config["model"]["network"]
        arguments = network.get("init_args", {})
        tags = [run.recipe, config["data"]["dataset"], arguments.get("encoder_name"), revision and revision[:10]]
        elsewhere = ("run", "seed_everything", "model", *SIDE_OPTIONS)
        rest = {key: value for key, value in config.items() if key not in elsewhere}
        task = {key: value for key, value in config["model"].items() if key != "network"}
        super().__init__(
            project=os.environ.get("WANDB_PROJECT", "refinenet_pl"),
            save_dir=run.directory,
            group=run.group[:LONGEST],
            job_type=job_type,
            name=run.name[:LONGEST],
            tags=list(dict.fromkeys(tag[:LONGEST_TAG] for tag in tags if tag)),
            config={**run.names, "network": {"class": network["class_path"], **arguments}, "model": task, **rest},
        )
        self.run = run
        self.job_type = job_type

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """W&B's run on the first process, started when it is first asked for; a dummy on the others, and where W&B fails."""
        if self._experiment is None:
            try:
                self._experiment = self._start()
            except Exception as error:  # whatever goes wrong in W&B is not to stop a training
                self._give_up(error)
        return self._experiment

    def log_hyperparams(self, params: Any) -> None:
        """Nothing: the run's config has the whole configuration, and the task's arguments are in it."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        # A chart for each of 150 classes would hide the others. A finished run has a table of them, and the CSV files have all.
        shown = {name: value for name, value in metrics.items() if "/iou/" not in name}
        self._attempt(lambda wandb_run: wandb_run.log(shown | ({} if step is None else {"trainer/global_step": step})))

    def log_best(self, miou: float) -> None:
        """Put the best validation mIoU into the summary, where `val/miou` is the last."""
        self._attempt(lambda wandb_run: wandb_run.summary.update({"val/miou_best": miou}))

    def log_scores(self, name: str, evaluation: dict, step: int) -> None:
        """Log IoU by class as a table, and the confusion matrix as a picture and, up to 100 classes, as a chart.

        Args:
            name: Which evaluation, such as `val`.
            evaluation: Scores as in results.json.
            step: The number of training steps.
        """

        def log(wandb_run: Any) -> None:
            rows = [list(row) for row in per_class_rows(evaluation)]
            charts: dict[str, Any] = {
                f"{name}/classes": wandb.Table(list(PER_CLASS), rows),
                f"{name}/confusion": wandb.Image(draw_confusion(evaluation)),
            }
            if np.size(evaluation["confusion"]) <= CHART_ROWS:
                charts[f"{name}/confusion_chart"] = _confusion_chart(evaluation, name)
            wandb_run.log({**charts, "trainer/global_step": step})

        self._attempt(log)

    def log_samples(self, samples: list[Sample], classes: Classes, step: int) -> None:
        """Log pictures with prediction and ground truth as masks that can be switched on and off.

        Args:
            samples: The pictures.
            classes: Names the ids; `ignore_index` is void.
            step: The number of training steps.
        """
        labels = {**dict(enumerate(classes.names)), classes.ignore_index: "void"}

        def image(sample: Sample) -> wandb.Image:
            masks = {"prediction": sample.prediction, "ground truth": sample.label}
            given = {name: {"mask_data": mask, "class_labels": labels} for name, mask in masks.items()}
            return wandb.Image(sample.picture, masks=given, caption=sample.name)

        self._attempt(
            lambda wandb_run: wandb_run.log({"samples": [image(sample) for sample in samples], "trainer/global_step": step})
        )

    def save_files(self, *patterns: str) -> None:
        """Put files of the run's directory into W&B's record, to be gathered from there by another machine."""
        home = self.run.directory
        files = [file for pattern in patterns for file in sorted(home.glob(pattern))]
        # Not as patterns: W&B takes brackets and question marks in the directory's own name for such.
        self._attempt(lambda wandb_run: [wandb_run.save(str(file), str(home), policy="now", glob=False) for file in files])

    @rank_zero_only
    def _attempt(self, act: Callable[[Any], Any]) -> None:
        wandb_run = self.experiment
        if isinstance(wandb_run, DummyExperiment):
            return
        try:
            act(wandb_run)
        except Exception as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self._experiment = DummyExperiment()
        rank_zero_warn(f"W&B's record of {self.run.name} ends here, the run goes on: {type(error).__name__}: {error}")

    def _start(self) -> Any:
        for name, value in SETTINGS.items():
            os.environ.setdefault(name, value)
        mode = os.environ.get("WANDB_MODE") or ("online" if wandb.login(prompt=False, verify=False) else "offline")
        arguments = {name: value for name, value in self._wandb_init.items() if value is not None} | {"mode": mode}
        if mode != "disabled":
            self.run.directory.mkdir(parents=True, exist_ok=True)
            arguments["id"] = _id(self.run, self.job_type)
        try:
            started = wandb.init(**arguments)
        except Exception as error:
            if mode != "online":
                raise
            folder = self.run.directory / "wandb"
            rank_zero_warn(f"W&B does not answer, so it is recorded offline; send it later: wandb sync {folder} ({error})")
            wandb.teardown()  # or the run's id would be in use
            started = wandb.init(**{**arguments, "mode": "offline"})
        started.define_metric("trainer/global_step", hidden=True)
        started.define_metric("*", step_metric="trainer/global_step", step_sync=True)
        return started


def _id(run: RunId, job_type: str) -> str:
    """The run's id in W&B, which takes fewer characters than a directory's name; the key keeps runs apart all the same."""
    readable = re.sub(r"[^\w.=+-]+", "-", f"{run.group}-{run.name}-{job_type}", flags=re.ASCII)
    key = _key(run)
    return f"{readable[: LONGEST_ID - len(key) - 1]}-{key}"


def _key(run: RunId) -> str:
    """What tells this training from others of the same name: W&B goes on with a run whose id it knows, wanted or not."""
    file = run.directory / "wandb-id"
    if not file.is_file():
        with replaced(file) as stream:
            stream.write(uuid.uuid4().hex[:8].encode())
    return file.read_text()


def _confusion_chart(evaluation: dict, name: str) -> Any:
    """The chart of `wandb.plot.confusion_matrix`, which itself wants every pixel in a list, from the counts."""
    classes = list(evaluation["iou"])
    counts = np.array(evaluation["confusion"])
    predictions = classes + ["void"] * (counts.shape[1] - len(classes))
    rows = [[classes[label], predictions[guess], int(count)] for (label, guess), count in np.ndenumerate(counts)]
    columns = ["Actual", "Predicted", "nPredictions"]
    return wandb.plot_table(
        "wandb/confusion_matrix/v1",
        wandb.Table(columns, rows),
        {column: column for column in columns},
        {"title": f"Confusion matrix, {name}, pixels"},
    )
