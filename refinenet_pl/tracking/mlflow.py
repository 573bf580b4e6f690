"""MLflow logger of a run. MLflow is imported when a logger is built, because that takes a second."""

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from refinenet_pl.files import replaced
from refinenet_pl.tracking.other_loggers import OtherTracker, Row

ID_FILE = "mlflow-id"
"""File in a run's directory with the id of its MLflow run, which a resumed run continues."""


class MlflowTracker(OtherTracker):
    """Tracker of an MLFlowLogger.

    Images have steps, so that MLflow's page compares them between validations and runs. Tables are CSV files.
    """

    _started = False
    _last: Mapping[str, int] = {}  # last step of each value and image before the run was resumed

    def start(self, open_experiment: Callable[[], Any]) -> Any:
        """Return MLflow's client, and on the first call continue the MLflow run of an interrupted run, or start one."""
        if self._started:
            return open_experiment()
        from mlflow.exceptions import MlflowException

        file, client = self.run.directory / ID_FILE, self.logger._mlflow_client
        if self.logger._run_id is None and file.is_file():
            try:
                self.logger._run_id = client.get_run(file.read_text()).info.run_id
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":  # removed, or on another server
                    raise
        continued = self.logger._run_id
        try:
            open_experiment()
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            open_experiment()  # another run of the same table has just created MLflow's experiment
        self._started = True
        if continued is None:
            with replaced(file) as stream:
                stream.write(self.logger._run_id.encode())
        else:
            client.update_run(continued, status="RUNNING")
            self._last = _last_steps(client, continued) if self.training else {}
        return client

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Log the run's configuration as parameters; a resumed run keeps its first ones, which MLflow refuses to change."""
        self.attempt(self._log_parameters)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log values, except those that a resumed run logs again after an interruption."""
        _ = self.logger.experiment  # knows the values before an interruption
        named = {_valid(name): value for name, value in metrics.items()}
        super().log_metrics({name: value for name, value in named.items() if self._is_new(name, step)}, step)

    def show_images(self, key: str, images: Mapping[str, np.ndarray], step: int) -> None:
        """Show images, each as KEY/CAPTION."""
        for caption, image in images.items():
            name = _valid(f"{key}/{caption}")
            if self._is_new(name, step):
                self.logger.experiment.log_image(self.logger.run_id, image, key=name, step=step)

    def show_table(self, key: str, columns: Sequence[str], rows: Sequence[Row], step: int) -> None:
        """Show a table as the file KEY.csv."""
        lines = io.StringIO()
        csv.writer(lines, lineterminator="\n").writerows([columns, *rows])
        self.logger.experiment.log_text(self.logger.run_id, lines.getvalue(), f"{key}.csv")

    def save_files(self, files: Sequence[Path]) -> None:
        """Upload files of the run's directory, with its folders."""
        for file in files:
            folder = file.parent.relative_to(self.run.directory).as_posix()
            self.attempt(self._upload, file, None if folder == "." else folder)

    def save_checkpoints(self, files: Sequence[Path], record: dict[str, Any]) -> None:
        """Upload checkpoints to the folder `checkpoints`."""
        for file in files:
            self.attempt(self._upload, file, "checkpoints")

    def use_dataset(self, facts: dict[str, Any]) -> None:
        """Upload the facts of the dataset as dataset.yaml."""
        self.attempt(self._upload_dataset, facts)

    def _upload_dataset(self, facts: dict[str, Any]) -> None:
        self.logger.experiment.log_dict(self.logger.run_id, facts, "dataset.yaml")

    def _upload(self, file: Path, folder: str | None) -> None:
        self.logger.experiment.log_artifact(self.logger.run_id, str(file), folder)

    def _log_parameters(self) -> None:
        known = self.logger.experiment.get_run(self.logger.run_id).data.params
        values = {_valid(key): value for key, value in self.settings.items()}
        self.calls["log_hyperparams"]({key: value for key, value in values.items() if key not in known})

    def _is_new(self, name: str, step: int | None) -> bool:
        return not self.training or (step or 0) > self._last.get(name, -1)


def _last_steps(client: Any, run_id: str) -> dict[str, int]:
    """The last step of each value and of each image of a run."""
    names = client.get_run(run_id).data.metrics
    steps = {name: max(metric.step for metric in client.get_metric_history(run_id, name)) for name in names}
    for artifact in client.list_artifacts(run_id, "images"):
        if found := re.fullmatch(r"images/(.+?)[+%]step[+%](\d+)[+%].*", artifact.path):
            name = re.sub("[~#]", "/", found[1])
            steps[name] = max(int(found[2]), steps.get(name, -1))
    return steps


def _valid(name: str) -> str:
    """A name of characters that MLflow accepts, in which others are replaced by their number."""
    return re.sub(r"[^a-zA-Z0-9_/. -]", lambda found: f"-{ord(found[0]):x}", name)
