"""Records of other loggers than W&B, read with the packages' own readers."""

from collections.abc import Iterator
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

Curves = dict[str, list[tuple[int, float]]]
"""(step, value) by name, in the order of the record."""


def tensorboard_events(folder: Path) -> EventAccumulator:
    """All events of the files in a folder."""
    events = EventAccumulator(str(folder), {"scalars": 0, "images": 0, "tensors": 0})
    return events.Reload()


def tensorboard_curves(folder: Path) -> Curves:
    """The scalars in a folder."""
    events = tensorboard_events(folder)
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def mlflow_client(root: Path) -> MlflowClient:
    """A client of the database that runs in `root` write by default."""
    return MlflowClient(f"sqlite:///{root / 'mlflow.db'}")


def mlflow_runs(client: MlflowClient) -> dict[tuple[str, str], Run]:
    """All runs by the names of experiment and run."""
    experiments = {experiment.experiment_id: experiment.name for experiment in client.search_experiments()}
    found = client.search_runs(list(experiments))
    runs = {(experiments[run.info.experiment_id], run.info.run_name): run for run in found}
    assert len(runs) == len(found), "two runs of one name"
    return runs


def mlflow_curves(client: MlflowClient, run: Run) -> Curves:
    """The metrics of a run."""
    history = {name: client.get_metric_history(run.info.run_id, name) for name in run.data.metrics}
    return {name: [(metric.step, metric.value) for metric in values] for name, values in history.items()}


def mlflow_files(client: MlflowClient, run: Run, folder: str | None = None) -> Iterator[str]:
    """Paths of a run's artifacts; images are named NAME+step+STEP+... as in the newest versions of MLflow."""
    for found in client.list_artifacts(run.info.run_id, folder):
        path = found.path.replace("%", "+").replace("#", "~")
        yield from mlflow_files(client, run, found.path) if found.is_dir else [path]
