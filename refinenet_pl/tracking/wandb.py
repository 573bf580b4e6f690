"""W&B logger of a run, which never stops a training. W&B is imported when a run starts, because that takes a second."""

import os
import re
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.loggers.logger import DummyExperiment, rank_zero_experiment
from lightning.pytorch.utilities import rank_zero_only, rank_zero_warn

from refinenet_pl.datasets.classes import Classes
from refinenet_pl.files import replaced, slug
from refinenet_pl.metrics.confusion import MEAN_SCORES
from refinenet_pl.tracking.identity import SIDE_OPTIONS, RunId
from refinenet_pl.tracking.sample import Sample
from refinenet_pl.visualization.scores import PER_CLASS, per_class_rows, plot_confusion

# W&B plots no chart of a table with more rows, so a confusion matrix of more than 100 classes is logged as an image only.
CHART_ROWS = 10_000
# Max characters of names and groups, of tags, and of ids, to which W&B appends names of tables.
LONGEST, LONGEST_TAG, LONGEST_ID = 128, 64, 80
# Seconds that an unresponsive server may delay the start and the end of a run (W&B's defaults: 90 s and no limit); and copies
# of files instead of links, which break when the directory is moved.
SETTINGS = {"WANDB_INIT_TIMEOUT": "60", "WANDB_FINISH_TIMEOUT": "120", "WANDB_SYMLINK": "false"}


class WandbTracker(WandbLogger):
    """WandbLogger with scores, confusion matrices and sample images of a run, which never stops a training.

    Without an API key (WANDB_API_KEY, or `wandb login`), or if the server does not respond at the start, the run is recorded
    offline in its own directory, to be sent later with `wandb sync`. If WANDB_MODE is set, it decides. There is never a prompt.
    Any later failure of W&B ends its record with a warning, and training continues.

    Args:
        run: The run; runs of one table and recipe share a W&B group.
        config: Its resolved configuration, logged as the W&B config, with the network's arguments as `network.*`.
        job_type: `train`, `validate` or `test`.
        revision: Git revision of the source, logged as a tag.
    """

    _experiment: Any  # W&B's run; a dummy after a failure

    def __init__(self, run: RunId, config: dict[str, Any], job_type: str, revision: str | None):
        network = config["model"]["network"]
        arguments = network.get("init_args", {})
        tags = [run.recipe, config["data"]["dataset"], arguments.get("encoder_name"), revision and revision[:10]]
        others = ("run", "seed_everything", "model", *SIDE_OPTIONS)
        rest = {key: value for key, value in config.items() if key not in others}
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
        """W&B's run on the first process, started on first access; a dummy on other processes and after a failure."""
        if self._experiment is None:
            try:
                self._experiment = self._start()
            except Exception as error:  # no failure of W&B may stop a training
                self._give_up(error)
        return self._experiment

    def log_hyperparams(self, params: Any) -> None:
        """Do nothing: the run's config already contains the task's arguments."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log values, without the IoU of each class."""
        # Charts of 150 classes would hide the others. A finished run has a table of the classes, and the CSV files have all.
        shown = {name: value for name, value in metrics.items() if "/iou/" not in name}
        self._attempt(lambda wandb_run: wandb_run.log(shown | ({} if step is None else {"trainer/global_step": step})))

    def log_best(self, miou: float) -> None:
        """Set the best validation mIoU in the summary, whose `val/miou` is the last one."""
        self._attempt(lambda wandb_run: wandb_run.summary.update({"val/miou_best": miou}))

    def log_curve(self, record: dict[str, Any]) -> None:
        """Log the validation scores of a training that was not logged while it ran.

        Args:
            record: Content of results.json.
        """
        points = [point for point in record["curve"] if point["miou"] is not None]
        for point in points:
            self.log_metrics({"epoch": point["epoch"] - 1, "val/miou": point["miou"]}, point["step"])
        for name, evaluation in record["evaluations"].items():
            scores = {score: evaluation[score] for score in ("loss", *MEAN_SCORES) if evaluation.get(score) is not None}
            self.log_metrics({f"{slug(name)}/{score}": value for score, value in scores.items()}, record["training"]["steps"])
        if points:
            self.log_best(max(point["miou"] for point in points))

    def log_scores(self, name: str, evaluation: dict[str, Any], step: int) -> None:
        """Log per-class scores as a table, and the confusion matrix as an image and, up to 100 classes, as a chart.

        Args:
            name: Name of the evaluation, such as `val`.
            evaluation: Scores as in results.json.
            step: Number of training steps.
        """

        def log(wandb_run: Any) -> None:
            import wandb

            rows = [list(row) for row in per_class_rows(evaluation)]
            charts: dict[str, Any] = {
                f"{name}/classes": wandb.Table(list(PER_CLASS), rows),
                f"{name}/confusion": wandb.Image(plot_confusion(evaluation)),
            }
            if np.size(evaluation["confusion"]) <= CHART_ROWS:
                charts[f"{name}/confusion_chart"] = _confusion_chart(evaluation, name)
            wandb_run.log({**charts, "trainer/global_step": step})

        self._attempt(log)

    def log_samples(self, samples: list[Sample], classes: Classes, step: int) -> None:
        """Log images with prediction and ground truth as masks that can be toggled.

        Args:
            samples: The images.
            classes: The dataset's classes; `ignore_index` is shown as void.
            step: Number of training steps.
        """
        labels = {**dict(enumerate(classes.names)), classes.ignore_index: "void"}

        def image(sample: Sample) -> Any:
            import wandb

            masks = {"prediction": sample.prediction, "ground truth": sample.label}
            overlays = {name: {"mask_data": mask, "class_labels": labels} for name, mask in masks.items()}
            return wandb.Image(sample.image, masks=overlays, caption=sample.name)

        self._attempt(
            lambda wandb_run: wandb_run.log({"samples": [image(sample) for sample in samples], "trainer/global_step": step})
        )

    def save_files(self, *patterns: str) -> None:
        """Upload files of the run's directory, so that other machines can download them.

        Args:
            patterns: Glob patterns, relative to the directory.
        """
        home = self.run.directory
        files = [file for pattern in patterns for file in sorted(home.glob(pattern))]
        # Expanded here, because W&B would read brackets and question marks in the directory's name as patterns too.
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
        rank_zero_warn(f"W&B's record of {self.run.name} ends here, the run continues: {type(error).__name__}: {error}")

    def _start(self) -> Any:
        import wandb

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
            rank_zero_warn(f"W&B does not respond, the run is recorded offline; send it later: wandb sync {folder} ({error})")
            wandb.teardown()  # otherwise the run's id would be in use
            started = wandb.init(**{**arguments, "mode": "offline"})
        started.define_metric("trainer/global_step", hidden=True)
        started.define_metric("*", step_metric="trainer/global_step", step_sync=True)
        return started


def _id(run: RunId, job_type: str) -> str:
    """The run's id in W&B: its names, cut to W&B's limit, and a key that keeps it unique."""
    readable = re.sub(r"[^\w.=+-]+", "-", f"{run.group}-{run.name}-{job_type}", flags=re.ASCII)
    key = _key(run)
    return f"{readable[: LONGEST_ID - len(key) - 1]}-{key}"


def _key(run: RunId) -> str:
    """Random key of this training, because W&B resumes any run whose id it knows, such as a removed one of the same name."""
    file = run.directory / "wandb-id"
    if not file.is_file():
        with replaced(file) as stream:
            stream.write(uuid.uuid4().hex[:8].encode())
    return file.read_text()


def _confusion_chart(evaluation: dict[str, Any], name: str) -> Any:
    """The chart of `wandb.plot.confusion_matrix`, which itself expects a list of all pixels, from the counts."""
    import wandb

    classes = list(evaluation["iou"])
    counts = np.array(evaluation["confusion"])
    predictions = classes + ["void"] * (counts.shape[1] - len(classes))
    rows = [[classes[label], predictions[guess], int(count)] for (label, guess), count in np.ndenumerate(counts)]
    columns = ("Actual", "Predicted", "nPredictions")
    return wandb.plot_table(
        "wandb/confusion_matrix/v1",
        wandb.Table(list(columns), rows),
        {column: column for column in columns},
        {"title": f"Confusion matrix, {name}, pixels"},
    )
