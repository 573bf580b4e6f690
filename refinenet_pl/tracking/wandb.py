"""W&B logger of a run, which never stops a training. W&B is imported when a run starts, because that takes a second."""

import os
import re
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.loggers.logger import DummyExperiment, rank_zero_experiment
from lightning.pytorch.utilities import rank_zero_only, rank_zero_warn

from refinenet_pl.files import replaced, slug
from refinenet_pl.metrics.registry import SCORES, primary_score
from refinenet_pl.metrics.score import Score
from refinenet_pl.tracking.identity import SIDE_OPTIONS, RunId
from refinenet_pl.tracking.wandb_media import sample_image, score_media
from refinenet_pl.visualization.sample import Sample

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

    def log_best(self, score: Score, value: float) -> None:
        """Set the best validation score in the summary, such as `val/miou_best`; `val/miou` there is the last one."""
        self._attempt(lambda wandb_run: wandb_run.summary.update({f"val/{score.name}_best": value}))

    def log_curve(self, record: dict[str, Any]) -> None:
        """Log the validation scores of a training that was not logged while it ran.

        Args:
            record: Content of results.json.
        """
        best: dict[str, list[float]] = {}
        for point in record["curve"]:
            score = primary_score(point)
            if score is not None and (value := point[score.name]) is not None:
                self.log_metrics({"epoch": point["epoch"] - 1, f"val/{score.name}": value}, point["step"])
                best.setdefault(score.name, []).append(value)
        for name, evaluation in record["evaluations"].items():
            metrics = {name: measured["value"] for name, measured in evaluation.get("metrics", {}).items()}
            known = {score: evaluation.get(score) for score in ("loss", *SCORES)} | metrics
            scores = {score: value for score, value in known.items() if value is not None}
            self.log_metrics({f"{slug(name)}/{score}": value for score, value in scores.items()}, record["training"]["steps"])
        for name, values in best.items():
            self.log_best(SCORES[name], SCORES[name].best(values))

    def log_scores(self, name: str, evaluation: dict[str, Any], step: int) -> None:
        """Log the scores of an evaluation as a table, with the confusion matrix if there is one, see `score_media`.

        Args:
            name: Name of the evaluation, such as `val`.
            evaluation: Scores as in results.json.
            step: Number of training steps.
        """
        self._attempt(lambda wandb_run: wandb_run.log({**score_media(name, evaluation), "trainer/global_step": step}))

    def log_samples(self, samples: list[Sample], step: int) -> None:
        """Log images with predictions, see `sample_image`.

        Args:
            samples: The images.
            step: Number of training steps.
        """
        self._attempt(
            lambda wandb_run: wandb_run.log({"samples": [sample_image(s) for s in samples], "trainer/global_step": step})
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
