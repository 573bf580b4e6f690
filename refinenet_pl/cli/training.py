"""`fit`, `validate` and `test`: LightningCLI on a recipe, with a directory that is a function of the run."""

import errno
import json
import sys
import warnings
from collections.abc import Callable
from enum import Enum
from pathlib import Path

import torch
from lightning import Trainer
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint, Timer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.plugins.environments import ClusterEnvironment
from lightning.pytorch.utilities import rank_zero_only

from refinenet_pl.ablation.tables import TableError
from refinenet_pl.callbacks.checkpoint_files import SafeCheckpoints, forget_previous, resume_from
from refinenet_pl.callbacks.preparation import PrepareForInference
from refinenet_pl.callbacks.results import ResultsWriter
from refinenet_pl.callbacks.samples import SampleWriter
from refinenet_pl.callbacks.stop_on_signal import StopOnSignal, end_on_signal
from refinenet_pl.callbacks.throughput import Throughput
from refinenet_pl.checkpoints.loading import with_model_directory
from refinenet_pl.cli.causes import explain, shorten_parser_error
from refinenet_pl.cli.options import OptionError, RunTrainer, refuse_objects, refuse_options
from refinenet_pl.cli.recipes import expand, task_class
from refinenet_pl.datamodule.samplers import device_batch
from refinenet_pl.datamodule.segmentation import SegmentationDataModule
from refinenet_pl.datasets.registry import find_dataset
from refinenet_pl.errors import CatalogError, CheckpointError, DataError, plain_message
from refinenet_pl.exit_codes import BUSY, DIVERGED
from refinenet_pl.files import expand_path
from refinenet_pl.launchers import launched_elsewhere, slurm_environments, use_launched_processes
from refinenet_pl.state_dicts import describe_mismatch, digest, is_mismatch
from refinenet_pl.tasks.class_matching import MatchClasses
from refinenet_pl.tasks.divergence import DivergenceError
from refinenet_pl.tasks.segmentation import SegmentationTask
from refinenet_pl.tasks.task_class import TASK
from refinenet_pl.tracking.configuration import refuse_another_configuration, save_configuration
from refinenet_pl.tracking.environment import git_state
from refinenet_pl.tracking.identity import BEST, LAST, RunId
from refinenet_pl.tracking.lock import RunBusyError, lock_run
from refinenet_pl.tracking.loggers import Track, build_loggers
from refinenet_pl.tracking.sharing import find_same_training, share

TRAINER_DEFAULTS = {
    "num_sanity_val_steps": 0,
    # The data module's samplers know about processes; Lightning's would count samples twice in evaluation.
    "use_distributed_sampler": False,
    "log_every_n_steps": 10,
}


class RunCLI(LightningCLI):
    """A recipe's command line. What the data set knows (class count, void id) is linked, not repeated."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_class_arguments(RunId, "run", skip={"seed"}, help="Which run this is; decides its directory")
        words = "Where values and pictures go besides results.json: W&B and CSV files, CSV files alone, or nowhere"
        parser.add_argument("--track", type=Track, default="wandb", help=words)
        words = "Import path of the task, a subclass of refinenet_pl.SegmentationTask, whose arguments are below model"
        parser.add_argument("--task", type=str, default=TASK, help=words)
        parser.add_argument("--base", type=str | None, help="Recipe that this recipe changes, by name or file")
        words = (
            "How validate and test match a checkpoint's classes with the dataset's: exact (equal names, order and ignored id), "
        )
        words += "name (in any order), or position (by their order alone)"
        parser.add_argument("--match_classes", type=MatchClasses, default="exact", help=words)
        parser.link_arguments("seed_everything", "data.seed", compute_fn=_seed)
        parser.link_arguments("match_classes", "model.match_classes")
        data, outputs = ("data.dataset", "data.root"), ("data.dataset", "data.root", "model.protocol", "model.void_output")
        parser.link_arguments(data, "model.classes", compute_fn=lambda name, root: len(_classes(name, root)))
        parser.link_arguments(data, "model.ignore_index", compute_fn=lambda name, root: _classes(name, root).ignore_index)
        parser.link_arguments(outputs, "model.network.init_args.classes", compute_fn=_channels)
        parser.link_arguments(outputs, "model.void_channel", compute_fn=_void_channel)
        parser.link_arguments("data.dataset", "model.short_edge", compute_fn=lambda name: find_dataset(name).short_edge)

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        commands = LightningCLI.subcommands()
        # A run always goes on from its own last checkpoint, and checkpoints are always read as plain data.
        skipped = {"fit": {"ckpt_path", "weights_only"}, "validate": {"weights_only"}, "test": {"weights_only"}}
        return {name: commands[name] | more for name, more in skipped.items()}

    def _parse_ckpt_path(self) -> None:
        """Lightning would let a checkpoint's hyperparameters overrule the recipe here; a run has one configuration."""

    def before_instantiate_classes(self) -> None:
        config = self.config[self.subcommand]
        refuse_options(
            config.trainer.as_dict(), self._parser(self.subcommand).get_defaults().trainer.as_dict(), self.subcommand
        )
        use_launched_processes(config.trainer)
        try:
            self.run_ = RunId(**config.run.as_dict(), seed=int(config.seed_everything))
            expand_path(self.run_.root)
        except ValueError as error:
            raise OptionError(str(error)) from None
        for callback in config.trainer.callbacks or []:  # a default that is an enum cannot be written as YAML
            arguments = callback.get("init_args") or {}
            for name, value in list(arguments.items()):
                if isinstance(value, Enum):
                    arguments[name] = value.value
        if config.model.class_weights == "dataset":
            weights = find_dataset(config.data.dataset).class_weights
            config.model.class_weights = None if weights is None else list(weights)
        self._dump_config()
        # This configuration is complete; and matching is an option of an evaluation, not of the training.
        self.config_dump.pop("base", None)
        if config.task == TASK:
            del self.config_dump["task"]
        self.config_dump["model"].pop("match_classes", None)
        if self.subcommand != "fit":
            # The checkpoint holds the weights; others need not be loaded, let alone downloaded.
            network = config.model.network.get("init_args") or {}
            if "encoder_weights" in network:
                network["encoder_weights"] = None
        self.debugging = bool(config.trainer.fast_dev_run)
        if self.subcommand == "fit" and not self.debugging:
            refuse_another_configuration(self.run_, self.config_dump)
            self._end_if_finished()
            if rank_zero_only.rank == 0:
                self.lock = lock_run(self.run_)  # held until this process ends
                # Meanwhile, by the process that held it. Only the first process asks, and others that a launcher has started
                # already are to end with it.
                self._end_if_finished(BUSY if launched_elsewhere() else 0)
            self._end_if_trained_as_another()

    def _end_if_finished(self, code: int = 0) -> None:
        if not self.run_.results_file.exists():
            return
        if diverged := json.loads(self.run_.results_file.read_text()).get("diverged"):
            print(
                f"error: {self.run_.results_file}: this run diverged ({diverged['reason']}) and would do so again; change its "
                f"configuration under another name (--run.cell), or remove {self.run_.directory} to train it again",
                file=sys.stderr,
            )
            sys.exit(DIVERGED)
        print(f"finished already: {self.run_.results_file}")
        sys.exit(code)

    def _end_if_trained_as_another(self) -> None:
        trained = find_same_training(self.run_, self.config_dump)
        if trained is None:
            return
        if rank_zero_only.rank == 0:
            share(trained, self.run_, self.config_dump)
            print(f"the same training as {trained.directory}, whose results it shares: {self.run_.results_file}")
        sys.exit(0)

    def instantiate_trainer(self, **kwargs) -> Trainer:
        run, training = self.run_, self.subcommand == "fit"
        checkpoint = None if training else self._checkpoint()
        given = self.config_init[self.subcommand].trainer
        own_callbacks, own_plugins = list(given.callbacks or []), list(given.plugins or [])
        refuse_objects(own_callbacks, own_plugins, given.strategy)
        # One that is given is the run's, since Lightning allows one; with several, max_time would be ignored.
        timer = next((callback for callback in own_callbacks if isinstance(callback, Timer)), None)
        callbacks = [] if timer else [Timer(given.max_time)]
        timer, given.max_time = timer or callbacks[0], None
        self.checkpoints = _checkpoints(run.directory) if training and given.enable_checkpointing is not False else []
        own = {checkpoints.state_key for checkpoints in self.checkpoints}
        if any(isinstance(callback, ModelCheckpoint) and callback.state_key in own for callback in own_callbacks):
            raise OptionError(
                "trainer.callbacks: a run has this ModelCheckpoint anyway, for best.ckpt (by val/miou) or last.ckpt; "
                "leave it out, or give it another monitor"
            )
        self.samples = SampleWriter(run.directory)
        self.results = ResultsWriter(run, self.config_dump, checkpoint, timer, self.samples, *self.checkpoints[:1])
        callbacks += [self.results, StopOnSignal(None if self.debugging else run.directory)]
        if not training:
            callbacks.append(PrepareForInference())
        if training:
            callbacks += [Throughput(), self.samples, *self.checkpoints]
        if checkpoint and not run.owns(checkpoint):
            kwargs["logger"] = False
        elif given.logger is None and not self.debugging:
            job_type = "train" if training else self.subcommand
            track, revision = self.config[self.subcommand].track, git_state()["revision"]
            kwargs["logger"] = build_loggers(track, run, self.config_dump, job_type, revision) or False
            monitored = any(isinstance(callback, LearningRateMonitor) for callback in own_callbacks)
            callbacks += [LearningRateMonitor()] if training and kwargs["logger"] and not monitored else []
        given.callbacks = [*own_callbacks, *callbacks]
        environments = [] if any(isinstance(plugin, ClusterEnvironment) for plugin in own_plugins) else slurm_environments()
        given.plugins = [*own_plugins, SafeCheckpoints(self.config_dump["model"]["network"]), *environments]
        return super().instantiate_trainer(default_root_dir=str(run.directory), **kwargs)

    def instantiate_classes(self) -> None:
        try:
            super().instantiate_classes()
        except ValueError as error:  # arguments that do not go together; the message says which
            sys.exit(f"error: {shorten_parser_error(error)}")

    def after_instantiate_classes(self) -> None:
        if self.subcommand == "fit":  # before anything is written or the other processes are started
            device_batch(self.datamodule.global_batch, self.trainer.world_size, self.trainer.accumulate_grad_batches)

    def before_fit(self) -> None:
        if not self.debugging:
            save_configuration(self.run_, self.config_dump)

    def fit(self, model: SegmentationTask, datamodule: SegmentationDataModule) -> None:
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

    def _score_last(self, model: SegmentationTask, datamodule: SegmentationDataModule) -> None:
        """Score the network at the end of training, which is that of last.ckpt, however the training ended.

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
        """The first process's answer, since all must do the same."""
        return self.trainer.strategy.broadcast(same)

    @rank_zero_only
    def _saved_weights(self) -> str | None:
        if not (self.run_.directory / LAST).exists():
            return None
        state = torch.load(self.run_.directory / LAST, map_location="cpu", weights_only=True)["state_dict"]
        return digest({name.removeprefix("network."): tensor for name, tensor in state.items()})

    def validate(self, **kwargs) -> None:
        self._evaluate(self.trainer.validate, **kwargs)

    def test(self, **kwargs) -> None:
        self._evaluate(self.trainer.test, **kwargs)

    def _evaluate(self, evaluate: Callable, model: SegmentationTask, datamodule: SegmentationDataModule, **kwargs) -> None:
        checkpoint = self._checkpoint()
        weights = {"ckpt_path": str(checkpoint), "weights_only": True}
        if checkpoint.is_dir():
            model, weights = with_model_directory(model, checkpoint, datamodule.classes), {}
        try:
            evaluate(model, datamodule=datamodule, verbose=False, **weights)
        except RuntimeError as error:
            if not is_mismatch(error):
                raise
            sys.exit(f"error: {checkpoint} holds another network than the configuration describes: {describe_mismatch(error)}")

    def _checkpoint(self) -> Path:
        config = self.config[self.subcommand]
        # The best on the split that is scored would be chosen on what it is scored on.
        name = LAST if config.data.val_split == config.data.test_split else BEST
        path = expand_path(config.ckpt_path, CheckpointError) if config.ckpt_path else self.run_.directory / name
        if not path.exists():
            sys.exit(f"error: no checkpoint at {path}; train the run first (fit), or name one with --ckpt_path")
        return path


def _checkpoints(directory: Path) -> list[ModelCheckpoint]:
    """`best.ckpt`, written when a validation ends, and `last.ckpt`, written when an epoch does: there a run resumes exactly."""
    where = {"dirpath": directory, "enable_version_counter": False}
    return [
        ModelCheckpoint(filename="best", monitor="val/miou", mode="max", save_on_train_epoch_end=False, **where),
        ModelCheckpoint(filename=Path(LAST).stem, save_on_train_epoch_end=True, **where),
    ]


def _seed(given: bool | int) -> int:
    if isinstance(given, bool):
        sys.exit(f"error: seed_everything is {given}; give a number, which names the run")
    if not 0 <= given < 2**32:
        sys.exit(f"error: seed_everything is {given}; give a number from 0 to {2**32 - 1}")
    return given


def _classes(dataset: str, root: str | None):
    try:
        return find_dataset(dataset).classes_of(root)
    except DataError as error:  # ended here, or the parser would put its whole usage before the message
        sys.exit(f"error: {error}")


def _void_channel(dataset: str, root: str | None, protocol: str, void_output: bool | None) -> str | None:
    wanted = protocol == "paper" if void_output is None else void_output
    return find_dataset(dataset).void_channel if wanted else None


def _channels(dataset: str, root: str | None, protocol: str, void_output: bool | None) -> int:
    return len(_classes(dataset, root)) + (_void_channel(dataset, root, protocol, void_output) is not None)


def main(arguments: list[str]) -> None:
    """Run `fit`, `validate` or `test`; `arguments` begins with the command."""
    # Said of the encoder's batch normalisation, which is meant to be so.
    warnings.filterwarnings("ignore", message=r".*in eval mode at the start of training")
    # Said of arguments that are not the process's own words.
    warnings.filterwarnings("ignore", message=r"LightningCLI's args parameter")
    # Said of scores on several processes, which are of all processes together already.
    warnings.filterwarnings("ignore", message=r".*It is recommended to use `self.log\(.*sync_dist=True")
    end_on_signal()
    try:
        words = expand(arguments)
        RunCLI(
            task_class(words),
            SegmentationDataModule,
            args=words,
            save_config_callback=None,  # a run's directory has its config before the trainer exists
            seed_everything_default=0,
            trainer_class=RunTrainer,
            trainer_defaults=TRAINER_DEFAULTS,
            auto_configure_optimizers=False,
        )
    except (CatalogError, DataError, CheckpointError, OptionError, TableError) as error:
        sys.exit(f"error: {plain_message(error)}")
    except DivergenceError as error:  # of a network that is evaluated
        sys.exit(f"error: {error}")
    except RunBusyError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(BUSY)
    except OSError as error:
        if error.filename is None and error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        cure = "what was written before is kept, so make room or give permission to write and start the same command again"
        where = f"{error.filename}: " if error.filename else ""  # a write to an open file does not say to which
        sys.exit(f"error: {where}{error.strerror}; {cure}")
    except Exception as error:
        if (cause := explain(error)) is None:
            raise
        sys.exit(f"error: {cause}")
