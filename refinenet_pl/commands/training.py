"""`fit`, `validate` and `test`: LightningCLI on a recipe, with a directory that is a function of the run."""

import errno
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

from lightning import Trainer
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint, Timer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities import rank_zero_only

from refinenet_pl.commands.launchers import launched_elsewhere, slurm_environments, use_launched_processes
from refinenet_pl.commands.termination import StopWhenTold, end_when_told
from refinenet_pl.data.datamodule import SegmentationDataModule
from refinenet_pl.data.errors import DataError
from refinenet_pl.data.registry import find_dataset
from refinenet_pl.data.samplers import device_batch
from refinenet_pl.exit_codes import BUSY
from refinenet_pl.network.errors import CheckpointError
from refinenet_pl.tasks.checkpoint import with_model_directory
from refinenet_pl.tasks.segmentation import SegmentationTask
from refinenet_pl.tracking.checkpoints import LAST, SafeCheckpoints, forget_previous, resume_from
from refinenet_pl.tracking.configuration import refuse_another_configuration, save_configuration
from refinenet_pl.tracking.lock import RunBusyError, lock_run
from refinenet_pl.tracking.loggers import Track, build_loggers
from refinenet_pl.tracking.results import ResultsWriter, git_state
from refinenet_pl.tracking.reuse import find_twin, has_begun, take_over
from refinenet_pl.tracking.run import Run
from refinenet_pl.tracking.samples import SampleWriter
from refinenet_pl.tracking.speed import SpeedMonitor

TRAINER_DEFAULTS = {
    "num_sanity_val_steps": 0,
    # The data module's samplers know about processes; Lightning's would count samples twice in evaluation.
    "use_distributed_sampler": False,
    "log_every_n_steps": 10,
}


class RunCLI(LightningCLI):
    """A recipe's command line. What the data set knows (class count, void id) is linked, not repeated."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_class_arguments(Run, "run", skip={"seed"}, help="Which run this is; decides its directory")
        words = "Where values and pictures go besides results.json: W&B and CSV files, CSV files alone, or nowhere"
        parser.add_argument("--track", type=Track, default="wandb", help=words)
        words = "Whether fit takes the results of a finished run of another name and the same configuration, and trains nothing"
        parser.add_argument("--reuse", type=bool, default=False, help=words)
        parser.link_arguments("seed_everything", "data.seed", compute_fn=_seed)
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
        use_launched_processes(config.trainer)
        self.run_ = Run(**config.run.as_dict(), seed=int(config.seed_everything))
        self._dump_config()
        if self.subcommand != "fit":
            # The checkpoint holds the weights; others need not be loaded, let alone downloaded.
            network = config.model.network.get("init_args") or {}
            if "encoder_weights" in network:
                network["encoder_weights"] = None
        self.debugging = bool(config.trainer.fast_dev_run)
        epochs, interval = config.trainer.max_epochs, config.trainer.check_val_every_n_epoch
        if self.subcommand == "fit" and epochs and interval and epochs % interval:
            sys.exit(
                f"error: trainer.max_epochs, {epochs}, is not a multiple of trainer.check_val_every_n_epoch, {interval}: "
                "the network at the end of training would go without its score"
            )
        if self.subcommand == "fit" and not self.debugging:
            refuse_another_configuration(self.run_, self.config_dump)
            self._end_if_finished()
            if rank_zero_only.rank == 0:
                self.lock = lock_run(self.run_)  # held until this process ends
                # Meanwhile, by the process that held it. Only the first process asks, and others that a launcher has started
                # already are to end with it.
                self._end_if_finished(BUSY if launched_elsewhere() else 0)
            if config.reuse:
                self._end_if_trained_as_another()

    def _end_if_finished(self, code: int = 0) -> None:
        if self.run_.results_file.exists():
            print(f"finished already: {self.run_.results_file}")
            sys.exit(code)

    def _end_if_trained_as_another(self) -> None:
        twin = find_twin(self.run_, self.config_dump)
        if twin is None or has_begun(self.run_, twin):
            return
        if rank_zero_only.rank == 0:
            take_over(twin, self.run_, self.config_dump)
            print(f"the same as {twin.directory}, whose results it takes: {self.run_.results_file}")
        sys.exit(0)

    def instantiate_trainer(self, **kwargs) -> Trainer:
        run, training = self.run_, self.subcommand == "fit"
        timer = Timer()
        checkpoint = None if training else self._checkpoint()
        self.samples = SampleWriter(run.directory)
        self.results = ResultsWriter(run, self.config_dump, checkpoint, timer, self.samples)
        callbacks = [timer, self.results, StopWhenTold(None if self.debugging else run.directory)]
        if training:
            callbacks += [SpeedMonitor(), self.samples]
        given = self.config_init[self.subcommand].trainer
        if training and given.enable_checkpointing is not False:
            # Two, because `best` is written when a validation ends and `last` when an epoch does, which is where a run can be
            # taken up again exactly.
            where = {"dirpath": run.directory, "enable_version_counter": False}
            callbacks += [
                ModelCheckpoint(filename="best", monitor="val/miou", mode="max", save_on_train_epoch_end=False, **where),
                ModelCheckpoint(filename=Path(LAST).stem, save_on_train_epoch_end=True, **where),
            ]
        if checkpoint and not run.owns(checkpoint):
            kwargs["logger"] = False
        elif given.logger is None and not self.debugging:
            job_type = "train" if training else self.subcommand
            track, revision = self.config[self.subcommand].track, git_state()["revision"]
            kwargs["logger"] = build_loggers(track, run, self.config_dump, job_type, revision) or False
            callbacks += [LearningRateMonitor()] if training and kwargs["logger"] else []
        given.callbacks = [*(given.callbacks or []), *callbacks]
        given.plugins = [*(given.plugins or []), SafeCheckpoints(), *slurm_environments()]
        return super().instantiate_trainer(default_root_dir=str(run.directory), **kwargs)

    def instantiate_classes(self) -> None:
        try:
            super().instantiate_classes()
        except ValueError as error:  # arguments that do not go together; the message says which
            sys.exit(f"error: {error}")

    def after_instantiate_classes(self) -> None:
        self.model.network_config = self.config_dump["model"]["network"]
        if self.subcommand == "fit":  # before anything is written or the other processes are started
            device_batch(self.datamodule.global_batch, self.trainer.world_size, self.trainer.accumulate_grad_batches)

    def before_fit(self) -> None:
        if not self.debugging:
            save_configuration(self.run_, self.config_dump)

    def fit(self, model: SegmentationTask, datamodule: SegmentationDataModule) -> None:
        resumed = None if self.debugging else resume_from(self.run_.directory)
        self.trainer.fit(model, datamodule=datamodule, ckpt_path=resumed, weights_only=True if resumed else None)
        if self.debugging or self.trainer.interrupted:
            return
        if "val" not in model.evaluations:  # killed between the last epoch and the record: nothing was left to train
            self.trainer.validate(model, datamodule=datamodule, verbose=False)
        self.results.keep(self.trainer, model, LAST)
        if model.test_inference.name:
            model.inference = model.test_inference
            self.trainer.validate(model, datamodule=datamodule, verbose=False)
            self.results.keep(self.trainer, model, LAST)
        self.results.write(self.trainer, model)
        forget_previous(self.run_.directory)

    def validate(self, **kwargs) -> None:
        self._evaluate(self.trainer.validate, **kwargs)

    def test(self, **kwargs) -> None:
        self._evaluate(self.trainer.test, **kwargs)

    def _evaluate(self, evaluate: Callable, model: SegmentationTask, datamodule: SegmentationDataModule, **kwargs) -> None:
        checkpoint = self._checkpoint()
        weights = {"ckpt_path": str(checkpoint), "weights_only": True}
        if checkpoint.is_dir():
            model, weights = with_model_directory(model, checkpoint), {}
        model.inference = model.test_inference
        model.evaluated_only = True
        try:
            evaluate(model, datamodule=datamodule, verbose=False, **weights)
        except RuntimeError as error:
            if "loading state_dict" not in str(error):
                raise
            sys.exit(f"error: {checkpoint} holds another network than the configuration describes. {error}")

    def _checkpoint(self) -> Path:
        config = self.config[self.subcommand]
        # The best on the split that is scored would be chosen on what it is scored on.
        name = LAST if config.data.val_split == config.data.test_split else "best.ckpt"
        path = Path(config.ckpt_path) if config.ckpt_path else self.run_.directory / name
        if not path.exists():
            sys.exit(f"error: no checkpoint at {path}; train the run first (fit), or name one with --ckpt_path")
        return path


def _seed(given: bool | int) -> int:
    if isinstance(given, bool):
        sys.exit(f"error: seed_everything is {given}; give a number, which names the run")
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
    # Said of scores on several processes, which are of all processes together already.
    warnings.filterwarnings("ignore", message=r".*It is recommended to use `self.log\(.*sync_dist=True")
    end_when_told()
    try:
        RunCLI(
            SegmentationTask,
            SegmentationDataModule,
            args=None if arguments == sys.argv[1:] else arguments,
            save_config_callback=None,  # a run's directory has its config before the trainer exists
            seed_everything_default=0,
            trainer_defaults=TRAINER_DEFAULTS,
            auto_configure_optimizers=False,
        )
    except (DataError, CheckpointError) as error:
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
