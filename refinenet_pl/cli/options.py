"""Options of Lightning's Trainer and its callbacks that a run passes on, and those that it refuses, with reasons."""

from collections.abc import Iterable
from typing import Any

from lightning import Callback, Trainer
from lightning.pytorch import callbacks
from lightning.pytorch.plugins import CheckpointIO
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy


class OptionError(ValueError):
    """An option is not available in a run; the message gives the reason and the alternative."""


class RunTrainer(Trainer):
    """Trainer with limits as Lightning documents them: 1 is one batch, and 1.0 all batches.

    Lightning annotates them with float first, so that 1 on a command line would become 1.0.
    """

    def __init__(
        self,
        *args: Any,
        limit_train_batches: int | float | None = None,
        limit_val_batches: int | float | None = None,
        limit_test_batches: int | float | None = None,
        limit_predict_batches: int | float | None = None,
        **kwargs: Any,
    ):
        super().__init__(
            *args,
            limit_train_batches=limit_train_batches,
            limit_val_batches=limit_val_batches,
            limit_test_batches=limit_test_batches,
            limit_predict_batches=limit_predict_batches,
            **kwargs,
        )


STRATEGIES = ("auto", "ddp", "ddp_find_unused_parameters_false", "ddp_find_unused_parameters_true")

PASSED_ON = frozenset(
    {
        "accelerator", "accumulate_grad_batches", "benchmark", "callbacks", "check_val_every_n_epoch", "detect_anomaly",
        "deterministic", "devices", "enable_autolog_hparams", "enable_checkpointing", "enable_model_summary",
        "enable_progress_bar", "fast_dev_run", "gradient_clip_algorithm", "gradient_clip_val", "inference_mode",
        "limit_test_batches", "limit_train_batches", "limit_val_batches", "log_every_n_steps", "logger", "max_epochs",
        "max_steps", "max_time", "min_epochs", "min_steps", "num_nodes", "num_sanity_val_steps", "overfit_batches", "plugins",
        "precision", "profiler", "reload_dataloaders_every_n_epochs", "strategy", "sync_batchnorm", "use_distributed_sampler",
        "val_check_interval",
    }
)  # fmt: skip
"""Arguments of `Trainer` that work in a run as Lightning documents them."""

MIN_VALUES = {"accumulate_grad_batches": 1, "gradient_clip_val": 0, "log_every_n_steps": 0}
"""Min values of arguments of `Trainer` that Lightning does not check."""

REFUSED = {
    "barebones": "it disables the logging that a run's record needs; for a run with few files use --track none, "
    "trainer.enable_checkpointing false and trainer.enable_progress_bar false",
    "default_root_dir": "a run's directory follows from its name; set --run.root, the directory of all runs",
    "limit_predict_batches": "the command predict accepts images, not batches; use fewer images",
    "model_registry": "a run's checkpoints stay in its directory; upload them after the run",
}
"""Arguments of `Trainer` that a run refuses unless they have their default values, with reasons."""

CALLBACKS_PASSED_ON = frozenset(
    {
        "Callback", "Checkpoint", "DeviceStatsMonitor", "EMAWeightAveraging", "EarlyStopping", "LambdaCallback",
        "LearningRateMonitor", "ModelCheckpoint", "ModelSummary", "OnExceptionCheckpoint", "ProgressBar", "RichModelSummary",
        "RichProgressBar", "SpikeDetection", "TQDMProgressBar", "ThroughputMonitor", "Timer", "WeightAveraging",
    }
)  # fmt: skip
"""Lightning's callbacks that work in a run as Lightning documents them."""

CALLBACKS_REFUSED: dict[type[Callback], str] = {
    callbacks.BaseFinetuning: "the optimizer's groups and the schedule are fixed when a run starts; freeze the encoder with "
    "model.encoder_learning_rate_factor 0, or train it slowly with 0.1",
    callbacks.BasePredictionWriter: "fit, validate and test predict nothing; use the command predict",
    callbacks.BatchSizeFinder: "the batch size is part of a run's configuration; find data.global_batch with "
    "--trainer.fast_dev_run 3, and divide it among devices and trainer.accumulate_grad_batches",
    callbacks.GradientAccumulationScheduler: "the learning rate schedule needs the number of steps; set "
    "trainer.accumulate_grad_batches, one number for the whole run",
    callbacks.LearningRateFinder: "the run's learning rate would not be the one of its configuration; compare rates with the "
    "table learning_rate_sensitivity, or with model.learning_rate_scale",
    callbacks.ModelPruning: "its masks are lost when a run resumes; prune the finished network with torch.nn.utils.prune",
    callbacks.StochasticWeightAveraging: "at its end it resets the running statistics of batch normalization, which are not "
    "recomputed if they are frozen; average weights with EMAWeightAveraging",
}
"""Lightning's callbacks that a run refuses, with reasons."""


def refuse_options(options: dict[str, Any], defaults: dict[str, Any], command: str) -> None:
    """Refuse options of the Trainer that do not work in a run as Lightning documents them.

    Args:
        options: Options by name, before objects are instantiated.
        defaults: Their defaults.
        command: `fit`, `validate` or `test`.

    Raises:
        OptionError: There is such an option; the message names the first one.
    """
    for name, reason in REFUSED.items():
        if options.get(name) != defaults.get(name):
            raise OptionError(f"trainer.{name} is not available: {reason}")
    if isinstance(options["strategy"], str) and options["strategy"] not in STRATEGIES:
        raise _strategy_error(options["strategy"])
    for name, min_value in MIN_VALUES.items():
        if options[name] is not None and options[name] < min_value:
            raise OptionError(f"trainer.{name} is {options[name]}; it must be {min_value} or more")
    if options["limit_train_batches"] == 0:
        raise OptionError("trainer.limit_train_batches is 0, so there is nothing to train; omit it")
    epochs, interval = options["max_epochs"], options["check_val_every_n_epoch"]
    if command == "fit" and epochs == -1 and options["max_steps"] == -1:
        raise OptionError(
            "trainer.max_epochs and trainer.max_steps are both -1, but the learning rate schedule needs an end; set one of "
            "them, and trainer.max_time if the run may be shorter"
        )
    if interval is None and isinstance(options["val_check_interval"], float):
        raise OptionError(
            f"trainer.val_check_interval is {options['val_check_interval']}, a share of an epoch, but "
            "trainer.check_val_every_n_epoch is null; set a number of batches, or an interval in epochs"
        )
    for split in {"validate": ("val",), "test": ("test",)}.get(command, ()):
        if options[f"limit_{split}_batches"] == 0:
            raise OptionError(f"trainer.limit_{split}_batches is 0, so there is nothing to score; omit it")


def refuse_objects(given_callbacks: Iterable[Callback], plugins: Iterable[Any], strategy: Any) -> None:
    """Refuse callbacks, plugins and strategies that do not work in a run as Lightning documents them.

    Args:
        given_callbacks: Callbacks of the user.
        plugins: Plugins of the user.
        strategy: Strategy of the user, by name or as an object.

    Raises:
        OptionError: There is such an object; the message names its class.
    """
    for callback in given_callbacks:
        for kind, reason in CALLBACKS_REFUSED.items():
            if isinstance(callback, kind):
                raise OptionError(f"trainer.callbacks: {type(callback).__name__} is not available: {reason}")
    for plugin in plugins:
        if isinstance(plugin, CheckpointIO):
            raise OptionError(
                f"trainer.plugins: {type(plugin).__name__} is not available: a run writes its checkpoints itself, as a whole "
                "or not at all, and keeps the previous one"
            )
    if not isinstance(strategy, (str, DDPStrategy, SingleDeviceStrategy)):
        raise _strategy_error(type(strategy).__name__)


def _strategy_error(strategy: str) -> OptionError:
    return OptionError(
        f"trainer.strategy {strategy} is not available: scores, checkpoints and resuming are exact only on one device and with "
        "ddp, whose processes have the whole network and are started as programs; use auto or ddp"
    )
