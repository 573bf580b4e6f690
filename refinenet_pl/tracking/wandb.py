"""W&B logger of a run, which never stops a training. W&B is imported when a run starts, because that takes a second."""

import os
import re
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from threading import Thread
from typing import Any

from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.loggers.logger import DummyExperiment, rank_zero_experiment
from lightning.pytorch.utilities import rank_zero_only, rank_zero_warn

from refinenet_pl.files import replaced
from refinenet_pl.metrics.score import Score
from refinenet_pl.tracking.identity import SIDE_OPTIONS, RunId
from refinenet_pl.tracking.tracker import Tracker
from refinenet_pl.tracking.wandb_artifacts import checkpoint_artifact, dataset_artifact, model_name
from refinenet_pl.tracking.wandb_media import ranked_table, sample_image, score_media
from refinenet_pl.visualization.sample import RankedSample, Sample

# Max characters of names and groups, of tags, and of ids, to which W&B appends names of tables.
LONGEST, LONGEST_TAG, LONGEST_ID = 128, 64, 80
# Seconds that an unresponsive server may delay the start and the end of a run (W&B's defaults: 90 s and no limit); and copies
# of files instead of links, which break when the directory is moved.
SETTINGS = {"WANDB_INIT_TIMEOUT": "60", "WANDB_FINISH_TIMEOUT": "120", "WANDB_SYMLINK": "false"}
# Seconds for an artifact, in addition to a second for each megabyte.
ARTIFACT_TIMEOUT = 60

_LOSS = Score("loss", "loss", "", higher_is_better=False)


class WandbTracker(WandbLogger, Tracker):
    """WandbLogger with scores, confusion matrices, images and artifacts of a run, which never stops a training.

    Without an API key (WANDB_API_KEY, or `wandb login`), or if the server does not respond at the start, the run is recorded
    offline in its own directory, to be sent later with `wandb sync`. If WANDB_MODE is set, it decides. There is never a prompt.
    Any later failure of W&B ends its record with a warning, and training continues.

    Args:
        run: The run; runs of one table and recipe share a W&B group.
        config: Its resolved configuration, logged as the W&B config, with the network's arguments as `network.*`.
        job_type: `train`, `validate` or `test`.
        revision: Git revision of the source, logged as a tag.
        scores: Scores of the task, whose best and last values on `val` are in the summary.
    """

    _experiment: Any  # W&B's run; a dummy after a failure

    def __init__(self, run: RunId, config: dict[str, Any], job_type: str, revision: str | None, scores: Iterable[Score] = ()):
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
        self.scores = tuple(scores)

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

    def log_class_curves(self, name: str, iou: dict[str, float], step: int) -> None:
        """Log the IoU of classes in a section of their own, such as `val_iou/sky`."""
        values = {f"{name}_iou/{label}": value for label, value in iou.items()}
        self._attempt(lambda wandb_run: wandb_run.log(values | {"trainer/global_step": step}))

    def log_best(self, score: Score, value: float) -> None:
        """Set the best validation score in the summary, such as `val/miou_best`.

        `val/miou.max` there is the best one since the last start, because W&B does not restore it in an offline run.
        """
        self._attempt(lambda wandb_run: wandb_run.summary.update({f"val/{score.name}_best": value}))

    def log_scores(self, name: str, evaluation: dict[str, Any], step: int) -> None:
        """Log the scores of an evaluation as a table, with the confusion matrix if there is one, see `score_media`."""
        self._attempt(lambda wandb_run: wandb_run.log({**score_media(name, evaluation), "trainer/global_step": step}))

    def log_samples(self, samples: Sequence[Sample], step: int) -> None:
        """Log images with predictions, see `sample_image`."""
        self._attempt(
            lambda wandb_run: wandb_run.log({"samples": [sample_image(s) for s in samples], "trainer/global_step": step})
        )

    def log_ranked(self, name: str, samples: Sequence[RankedSample], step: int) -> None:
        """Log a table of images, such as `val/predictions`, see `ranked_table`."""
        if samples:
            self._attempt(
                lambda wandb_run: wandb_run.log({f"{name}/predictions": ranked_table(samples), "trainer/global_step": step})
            )

    def save_files(self, files: Sequence[Path]) -> None:
        """Upload files of the run's directory, so that other machines can download them."""
        home = self.run.directory
        # Not as a pattern, because W&B would read brackets and question marks in the directory's name as one.
        self._attempt(lambda wandb_run: [wandb_run.save(str(file), str(home), policy="now", glob=False) for file in files])

    def save_checkpoints(self, files: Sequence[Path], record: dict[str, Any]) -> None:
        """Log the checkpoints as versions of one artifact, with the aliases `best` and `last` and their scores."""

        def log(wandb_run: Any) -> None:
            for file in files:
                logged = wandb_run.log_artifact(checkpoint_artifact(wandb_run.id, file, record), aliases=[file.stem])
                if not wandb_run.offline:  # its end waits for less time
                    logged.wait(timeout=ARTIFACT_TIMEOUT + file.stat().st_size // 10**6)

        self._attempt(log)

    def use_dataset(self, facts: dict[str, Any]) -> None:
        """Note the dataset in the config and, online, as an artifact that the run uses."""
        self._attempt(lambda wandb_run: wandb_run.config.update({"dataset": facts}, allow_val_change=True))
        self._attempt(lambda wandb_run: _use(wandb_run, dataset_artifact(facts)))

    def use_checkpoint(self, name: str) -> None:
        """Note, online, that the run uses the artifact of its training's checkpoint."""
        training = model_name(_id(self.run, "train"))
        self._attempt(lambda wandb_run: _use(wandb_run, f"{training}:{Path(name).stem}"))

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

        # The service of a parent process would complete the record only when that process ends.
        os.environ.pop("WANDB_SERVICE", None)
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
        started.define_metric("val_iou/*", step_metric="epoch", step_sync=True)
        for score in (_LOSS, *self.scores):
            summary = f"{'max' if score.higher_is_better else 'min'},last"
            started.define_metric(f"val/{score.name}", step_metric="epoch", step_sync=True, summary=summary)
        return started


def _use(wandb_run: Any, artifact: Any) -> None:
    """Note that a run uses an artifact, which W&B does online only; a server that does not respond delays it by a minute."""
    if wandb_run.offline or wandb_run.disabled:
        return
    errors: list[Exception] = []

    def use() -> None:
        try:
            wandb_run.use_artifact(artifact)
        except Exception as error:  # of several libraries
            errors.append(error)

    worker = Thread(target=use, daemon=True)
    worker.start()
    worker.join(ARTIFACT_TIMEOUT)
    if errors or worker.is_alive():
        rank_zero_warn(f"W&B does not show what {wandb_run.name} uses: {errors[0] if errors else 'no response'}")


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
