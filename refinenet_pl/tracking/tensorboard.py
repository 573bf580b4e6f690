"""TensorBoard logger of a run."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import yaml
from tabulate import tabulate

from refinenet_pl.metrics.score import Score
from refinenet_pl.tracking.other_loggers import OtherTracker, Row


class TensorBoardTracker(OtherTracker):
    """Tracker of a TensorBoardLogger.

    Each sample has its own tag, so that the step slider shows its prediction at each validation. Tables and the configuration
    are texts. The tab HParams compares runs by configuration, and by the last and the best validation score.
    """

    described = False

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Log the run's configuration as a text, and keep it for hparams.yaml."""
        # Not Lightning's own, which adds a curve `hp_metric` of -1.
        self.logger.hparams = self.config
        self.attempt(self._show_yaml, "configuration", self.config)

    def log_best(self, score: Score, value: float) -> None:
        """Log the best validation score, and once the configuration for the tab HParams."""
        super().log_best(score, value)
        if not self.described:
            self.described = True
            self.attempt(self._describe, (f"val/{score.name}", f"val/{score.name}_best"))

    def use_dataset(self, facts: dict[str, Any]) -> None:
        """Show the facts of the dataset as a text."""
        self.attempt(self._show_yaml, "dataset", facts)

    def show_images(self, key: str, images: Mapping[str, np.ndarray], step: int) -> None:
        """Show images, each with the tag KEY/CAPTION."""
        for caption, image in images.items():
            self.logger.experiment.add_image(f"{key}/{caption}", image, step, dataformats="HWC")
        self.logger.experiment.flush()

    def show_table(self, key: str, columns: Sequence[str], rows: Sequence[Row], step: int) -> None:
        """Show a table as a text in Markdown."""
        cells = [["" if cell is None else _escape(cell) if isinstance(cell, str) else cell for cell in row] for row in rows]
        self.logger.experiment.add_text(key, tabulate(cells, columns, "pipe", floatfmt=".4f"), step)
        self.logger.experiment.flush()

    def _show_yaml(self, key: str, content: dict[str, Any]) -> None:
        text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
        self.logger.experiment.add_text(key, f"```yaml\n{text}```", 0)

    def _describe(self, scores: Sequence[str]) -> None:
        from torch.utils.tensorboard.summary import hparams

        # Not all options, because each is a column.
        chosen = {
            key: value for key, value in self.settings.items() if key.startswith(("data.", "model.")) and value is not None
        }
        plain = {key: value if isinstance(value, (bool, int, float, str)) else str(value) for key, value in chosen.items()}
        writer = self.logger.experiment.file_writer
        # The values of the scores are those of their curves.
        for summary in hparams(self.run.names | plain, dict.fromkeys(scores, 0.0)):
            writer.add_summary(summary)


def _escape(text: str) -> str:
    """Text of a cell of a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|")
