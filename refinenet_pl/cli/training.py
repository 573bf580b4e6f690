"""Commands `fit`, `validate` and `test`: LightningCLI on a recipe, with a directory that follows from the run's name."""

import errno
import json
import sys
import warnings
from collections.abc import Callable
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint, Timer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins.environments import ClusterEnvironment
from lightning.pytorch.utilities import rank_zero_only

from refinenet_pl.ablation.tables import TableError
from refinenet_pl.callbacks.checkpoint_files import SafeCheckpoints, forget_previous, resume_from
from refinenet_pl.callbacks.class_curves import ClassCurves
from refinenet_pl.callbacks.lineage import Lineage
from refinenet_pl.callbacks.preparation import PrepareForInference
from refinenet_pl.callbacks.results import ResultsWriter
from refinenet_pl.callbacks.samples import SampleWriter
from refinenet_pl.callbacks.stop_on_signal import StopOnSignal, end_on_signal
from refinenet_pl.callbacks.throughput import Throughput
from refinenet_pl.checkpoints.initialization import initialize, read_weights
from refinenet_pl.checkpoints.loading import with_model_directory
from refinenet_pl.cli.auto_cell import resolve_cell
from refinenet_pl.cli.causes import explain, shorten_parser_error
from refinenet_pl.cli.early_options import chosen
from refinenet_pl.cli.finished_run import log_finished_run, wandb_tracker
from refinenet_pl.cli.options import OptionError, RunTrainer, refuse_objects, refuse_options
from refinenet_pl.cli.recipes import expand, is_table
from refinenet_pl.cli.run_classes import run_classes
from refinenet_pl.cli.run_options import add_links, add_options, meaning_of
from refinenet_pl.datamodule.dense import DenseDataModule
from refinenet_pl.datamodule.samplers import device_batch
from refinenet_pl.datasets.registry import find_dataset
from refinenet_pl.errors import CatalogError, CheckpointError, DataError, MissingPackageError, plain_message
from refinenet_pl.exit_codes import BUSY, DIVERGED
from refinenet_pl.files import expand_path
from refinenet_pl.launchers import launched_elsewhere, slurm_environments, use_launched_processes
from refinenet_pl.metrics.score import Score
from refinenet_pl.state_dicts import describe_mismatch, digest, is_mismatch
from refinenet_pl.tasks.dense import DenseTask
from refinenet_pl.tasks.divergence import DivergenceError
from refinenet_pl.tasks.task_class import TASK
from refinenet_pl.tracking.configuration import refuse_another_configuration, save_configuration
from refinenet_pl.tracking.environment import git_state
from refinenet_pl.tracking.identity import BEST, LAST, RunId
from refinenet_pl.tracking.lock import RunBusyError, lock_run
from refinenet_pl.tracking.log_options import LogOptions
from refinenet_pl.tracking.loggers import Track, build_loggers
from refinenet_pl.tracking.recipe_loggers import adopt, build, has_wandb, prepare
from refinenet_pl.tracking.sharing import find_same_training, share
from refinenet_pl.tracking.sweep import in_sweep

TRAINER_DEFAULTS = {
    "num_sanity_val_steps": 0,
    # The data module's samplers distribute the samples; Lightning's would count some twice in evaluation.
    "use_distributed_sampler": False,
    "log_every_n_steps": 10,
}


class RunCLI(LightningCLI):
    """Command line of a recipe, in which the dataset's facts are linked to the model's, see `add_links`."""

    @property
    def task(self) -> type[DenseTask]:
        """Class of the task."""
        assert isinstance(self.model_class, type)
        assert issubclass(self.model_class, DenseTask)
        return self.model_class

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the options of a run, and link those of the dataset to the model."""
        add_options(parser)
        add_links(parser, self.task)

    def __init__(self, command: str, in_table: bool, *args: Any, **kwargs: Any):
        self.command = command
        self.in_table = in_table
        super().__init__(*args, **kwargs)

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]  # Lightning's is static
        """Return the command and the arguments of the Trainer's method that are not options.

        Each other command would lengthen the start by the time to build its parser.
        """
        # A run always resumes from its own last checkpoint, and checkpoints are always read as plain data.
        more = {"fit": {"ckpt_path", "weights_only"}, "validate": {"weights_only"}, "test": {"weights_only"}}[self.command]
        return {self.command: LightningCLI.subcommands()[self.command] | more}

    def _parse_ckpt_path(self) -> None:
        """Do nothing, because Lightning would override the recipe with a checkpoint's hyperparameters."""

    def before_instantiate_classes(self) -> None:
        """Check and complete the configuration, and lock the run, or exit if it is finished.

        Raises:
            OptionError: An option is not available in a run.
            RunBusyError: Another process is training the run.
        """
        assert self.subcommand is not None
        config = self.config[self.subcommand]
        refuse_options(
            config.trainer.as_dict(), self._parser(self.subcommand).get_defaults().trainer.as_dict(), self.subcommand
        )
        if not self.in_table:
            config.run.cell = resolve_cell(self._parser(self.subcommand), config)
        use_launched_processes(config.trainer)
        try:
            self.run_ = RunId(**config.run.as_dict(), seed=int(config.seed_everything))
            expand_path(self.run_.root)
            self.log_options = LogOptions(**config.log.as_dict())
        except ValueError as error:
            raise OptionError(str(error)) from None
        # YAML cannot represent enums, which are defaults of some callbacks' arguments.
        for callback in config.trainer.callbacks or []:
            arguments = callback.get("init_args") or {}
            for name, value in list(arguments.items()):
                if isinstance(value, Enum):
                    arguments[name] = value.value
        if config.model.get("class_weights") == "dataset":
            weights = find_dataset(config.data.dataset).class_weights
            config.model.class_weights = None if weights is None else list(weights)
        self._dump_config()
        # The base is merged into this configuration, and the matching of classes is not part of a training.
        self.config_dump.pop("base", None)
        if config.task == TASK:
            del self.config_dump["task"]
        if config.data_module is None:
            del self.config_dump["data_module"]
        self.config_dump["model"].pop("match_classes", None)
        if self.subcommand != "fit" or (config.init and not config.init_partial):
            # The weights are in a checkpoint, so none have to be loaded or downloaded.
            network = config.model.network.get("init_args") or {}
            if "encoder_weights" in network:
                network["encoder_weights"] = None
        self.debugging = bool(config.trainer.fast_dev_run)
        if config.track == "wandb" and has_wandb(config.trainer.logger):
            raise OptionError("trainer.logger has a W&B logger, which would log to the run of --track wandb; set --track csv")
        prepare(config.trainer.logger, self.run_, resume_from(self.run_.directory) if self.subcommand == "fit" else None)
        if self.subcommand == "fit" and not self.debugging:
            refuse_another_configuration(self.run_, self.config_dump)
            self._exit_if_finished()
            self._lock()
            self._exit_if_trained_as_another()

    @rank_zero_only
    def _lock(self) -> None:
        self.lock = lock_run(self.run_)  # held until this process ends
        # The process that held the lock may have finished the run. Only the first process checks this; a launcher ends the
        # others because of the exit code.
        self._exit_if_finished(BUSY if launched_elsewhere() else 0)

    def _exit_if_finished(self, code: int = 0) -> None:
        if not self.run_.results_file.exists():
            return
        if diverged := json.loads(self.run_.results_file.read_text()).get("diverged"):
            print(
                f"error: {self.run_.results_file}: this run diverged ({diverged['reason']}) and would do so again; change its "
                f"configuration under another name (--run.cell), or remove {self.run_.directory} to train it again",
                file=sys.stderr,
            )
            sys.exit(DIVERGED)
        print(f"already finished: {self.run_.results_file}")
        if in_sweep() and self.config[self.subcommand].track == "wandb":
            self._log_again()
        sys.exit(code)

    @rank_zero_only
    def _log_again(self) -> None:
        """Log a finished run to the new W&B run of a sweep, which could not choose values without its scores."""
        record = json.loads(self.run_.results_file.read_text())
        self._log(record, [wandb_tracker(self.run_, self.config_dump, record)])

    def _exit_if_trained_as_another(self) -> None:
        trained = find_same_training(self.run_, self.config_dump)
        if trained is not None:
            self._share(trained)
            sys.exit(0)

    @rank_zero_only
    def _share(self, trained: RunId) -> None:
        record = share(trained, self.run_, self.config_dump)
        config = self.config[self.subcommand]
        loggers: list[Logger] = adopt(build(config.trainer.logger), self.run_, self.config_dump, training=True)
        if config.track == "wandb":
            loggers.append(wandb_tracker(self.run_, self.config_dump, record))
        self._log(record, loggers)
        print(f"the same training as {trained.directory}, whose results it shares: {self.run_.results_file}")

    def _log(self, record: dict[str, Any], loggers: list[Logger]) -> None:
        data = self.config[self.subcommand].data
        meaning = meaning_of(self.task, data.dataset, data.root)
        log_finished_run(self.run_, record, loggers, meaning, self.log_options)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Build the trainer with the run's callbacks, loggers and plugins.

        Raises:
            OptionError: A callback, plugin or strategy is not available in a run.
        """
        run, training = self.run_, self.subcommand == "fit"
        checkpoint = None if training else self._checkpoint()
        given = self.config_init[self.subcommand].trainer
        own_callbacks: list[Callback] = list(given.callbacks or [])
        plugins = list(given.plugins or [])
        refuse_objects(own_callbacks, plugins, given.strategy)
        # A Timer of the user replaces the run's, because Lightning ignores max_time if there are several.
        timer = next((callback for callback in own_callbacks if isinstance(callback, Timer)), None)
        callbacks: list[Callback] = []
        if timer is None:
            timer = Timer(given.max_time)
            callbacks.append(timer)
        given.max_time = None
        score = self.model.primary_score
        saves = training and given.enable_checkpointing is not False
        self.checkpoints = _checkpoints(run.directory, score) if saves else []
        own = {checkpoints.state_key for checkpoints in self.checkpoints}
        if any(isinstance(callback, ModelCheckpoint) and callback.state_key in own for callback in own_callbacks):
            raise OptionError(
                f"trainer.callbacks: a run already has this ModelCheckpoint, for best.ckpt (by val/{score.name}) or last.ckpt; "
                "remove it, or change its monitor"
            )
        log = self.log_options
        self.results = ResultsWriter(run, self.config_dump, checkpoint, timer, log, *self.checkpoints[:1])
        callbacks += [self.results, StopOnSignal(None if self.debugging else run.directory)]
        if not training:
            callbacks.append(PrepareForInference())
        evaluated = checkpoint.name if checkpoint and run.owns(checkpoint) else None
        callbacks.append(Lineage(self.config_dump["data"]["dataset"], evaluated, log.dataset))
        if training:
            callbacks += [
                Throughput(),
                SampleWriter(run.directory, log.samples),
                ClassCurves(log.class_curves),
                *self.checkpoints,
            ]
        if checkpoint and not run.owns(checkpoint):
            kwargs["logger"] = False
        elif given.logger is not False and not self.debugging:
            job_type = "train" if training else str(self.subcommand)
            track, revision = self.config[self.subcommand].track, git_state()["revision"]
            needed: Track = "csv" if track == "none" and given.logger is True else track
            loggers = build_loggers(needed, run, self.config_dump, job_type, revision, self._scores())
            kwargs["logger"] = loggers + adopt(given.logger, run, self.config_dump, training) or False
            monitored = any(isinstance(callback, LearningRateMonitor) for callback in own_callbacks)
            if training and kwargs["logger"] and not monitored:
                callbacks.append(LearningRateMonitor())
        given.callbacks = [*own_callbacks, *callbacks]
        slurm = [] if any(isinstance(plugin, ClusterEnvironment) for plugin in plugins) else slurm_environments()
        given.plugins = [*plugins, SafeCheckpoints(self.config_dump["model"]["network"], self.datamodule.image_format), *slurm]
        return super().instantiate_trainer(default_root_dir=str(run.directory), **kwargs)

    def _scores(self) -> list[Score]:
        """Scores of the task, with the user's metrics."""
        return [*self.model.score_set.SCORES, *self.model.measured("val").described()]

    def instantiate_classes(self) -> None:
        """Instantiate the trainer, task and data module, or exit with a short error."""
        try:
            super().instantiate_classes()
        except ValueError as error:  # invalid arguments, named in the message
            sys.exit(f"error: {shorten_parser_error(error)}")

    def after_instantiate_classes(self) -> None:
        """Check the batch size and read the weights to start from, before files are written and processes started."""
        if self.subcommand == "fit":
            device_batch(self.datamodule.global_batch, self.trainer.world_size, self.trainer.accumulate_grad_batches)
            if self.debugging or resume_from(self.run_.directory) is None:  # otherwise its checkpoint has the weights
                self._initialize()

    def before_fit(self) -> None:
        """Save the configuration."""
        if not self.debugging:
            save_configuration(self.run_, self.config_dump)

    def fit(self, model: DenseTask, datamodule: DenseDataModule) -> None:
        """Train, or resume, and write the record."""
        resumed = None if self.debugging else resume_from(self.run_.directory)
        try:
            self.trainer.fit(model, datamodule=datamodule, ckpt_path=resumed, weights_only=True if resumed else None)
            if self.debugging or self.trainer.interrupted:
                return
            self._score_last(model, datamodule)
        except DivergenceError as error:
            if not self.debugging:
                self.results.write(self.trainer, model, {"step": error.step, "reason": error.reason})
            print(f"error: {self.run_.directory}: {error}", file=sys.stderr)
            # Lightning kills the first process if one that it started itself ends with another code than 0.
            sys.exit(DIVERGED if self.trainer.is_global_zero or launched_elsewhere() else 0)
        self.results.write(self.trainer, model)
        forget_previous(self.run_.directory)

    def _initialize(self) -> None:
        """Start from other weights with --init."""
        config, task = self.config[self.subcommand], self.model
        if config.init is None:
            return
        void_channel = task.hparams.get("void_channel")
        weights = read_weights(config.init)
        done = initialize(task.network, weights, self.datamodule.meaning, void_channel, config.init_partial)
        self.results.initialized = done.to_dict()
        if self.trainer.is_global_zero:
            print(done.describe(), flush=True)

    def _score_last(self, model: DenseTask, datamodule: DenseDataModule) -> None:
        """Score the final network, and make sure that it is the one in last.ckpt.

        Callbacks may change weights after the last checkpoint, and training may end between two validations.
        """
        weights = digest(model.network.state_dict())
        if self.checkpoints and not self._agree(weights == self._saved_weights()):
            self.trainer.save_checkpoint(self.run_.directory / LAST, weights_only=False)
        if self.trainer.limit_val_batches == 0:
            return
        checkpoint = LAST if self.checkpoints else None
        if "val" not in model.results or not self._agree(weights == model.results["val"].weights):
            with model.viewing(model.training_inference):
                self.trainer.validate(model, datamodule=datamodule, verbose=False)
        self.results.keep(self.trainer, model, checkpoint)
        if model.test_inference.name:
            self.trainer.validate(model, datamodule=datamodule, verbose=False)
            self.results.keep(self.trainer, model, checkpoint)

    def _agree(self, same: bool) -> bool:
        """Return the first process's value, because all processes must branch alike."""
        return self.trainer.strategy.broadcast(same)

    @rank_zero_only
    def _saved_weights(self) -> str | None:
        if not (self.run_.directory / LAST).exists():
            return None
        state = torch.load(self.run_.directory / LAST, map_location="cpu", weights_only=True)["state_dict"]
        return digest({name.removeprefix("network."): tensor for name, tensor in state.items()})

    def validate(self, **kwargs: Any) -> None:
        """Score a checkpoint on the validation split."""
        self._evaluate(self.trainer.validate, **kwargs)

    def test(self, **kwargs: Any) -> None:
        """Score a checkpoint on the test split."""
        self._evaluate(self.trainer.test, **kwargs)

    def _evaluate(self, evaluate: Callable[..., Any], model: DenseTask, datamodule: DenseDataModule, **kwargs: Any) -> None:
        checkpoint = self._checkpoint()
        weights: dict[str, Any] = {"ckpt_path": str(checkpoint), "weights_only": True}
        if checkpoint.is_dir():
            model, weights = with_model_directory(model, checkpoint, datamodule.meaning), {}
        try:
            evaluate(model, datamodule=datamodule, verbose=False, **weights)
        except RuntimeError as error:
            if not is_mismatch(error):
                raise
            sys.exit(f"error: {checkpoint}: its network is not the one of the configuration: {describe_mismatch(error)}")

    def _checkpoint(self) -> Path:
        config = self.config[self.subcommand]
        # The best checkpoint on the test split would be selected on the images that it is tested on.
        name = LAST if config.data.val_split == config.data.test_split else BEST
        path = expand_path(config.ckpt_path, CheckpointError) if config.ckpt_path else self.run_.directory / name
        if not path.exists():
            sys.exit(f"error: {path}: no such checkpoint; train the run first (fit), or set --ckpt_path")
        return path


def _checkpoints(directory: Path, score: Score) -> list[ModelCheckpoint]:
    """`best.ckpt`, written at the end of a validation, and `last.ckpt`, written at the end of an epoch, where runs resume."""
    mode = "max" if score.higher_is_better else "min"
    build = partial(ModelCheckpoint, directory, enable_version_counter=False)
    return [
        build(filename="best", monitor=f"val/{score.name}", mode=mode, save_on_train_epoch_end=False),
        build(filename=Path(LAST).stem, save_on_train_epoch_end=True),
    ]


def main(arguments: list[str]) -> None:
    """Run `fit`, `validate` or `test`; `arguments` begins with the command."""
    # The encoder's batch normalization is in evaluation mode on purpose.
    warnings.filterwarnings("ignore", message=r".*in eval mode at the start of training")
    # The arguments are not those of sys.argv.
    warnings.filterwarnings("ignore", message=r"LightningCLI's args parameter")
    # Scores are computed over all processes before they are logged.
    warnings.filterwarnings("ignore", message=r".*It is recommended to use `self.log\(.*sync_dist=True")
    end_on_signal()
    try:
        expanded = expand(arguments)
        RunCLI(
            arguments[0],
            is_table(chosen(arguments, "run.table")),
            *run_classes(expanded),
            args=expanded,
            save_config_callback=None,  # the configuration is saved before the trainer exists
            seed_everything_default=0,
            trainer_class=RunTrainer,
            trainer_defaults=TRAINER_DEFAULTS,
            auto_configure_optimizers=False,
        )
    except (CatalogError, DataError, CheckpointError, MissingPackageError, OptionError, TableError) as error:
        sys.exit(f"error: {plain_message(error)}")
    except DivergenceError as error:  # of a network that is evaluated
        sys.exit(f"error: {error}")
    except RunBusyError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(BUSY)
    except OSError as error:
        if error.filename is None and error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        fix = "files written before are kept, so free disk space or allow writing, and run the same command again"
        place = f"{error.filename}: " if error.filename else ""  # an error of an open file has no name
        sys.exit(f"error: {place}{error.strerror}; {fix}")
    except Exception as error:
        if (cause := explain(error)) is None:
            raise
        sys.exit(f"error: {cause}")
