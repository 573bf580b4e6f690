"""CSV logger on a full disk."""

import csv
from pathlib import Path

import pytest

from refinenet_pl.tracking.loggers import SafeCSVLogger


def test_csv_logger_keeps_values_on_full_disk(tmp_path, mount_disk):
    mount_disk(tmp_path, "16k")
    logger = SafeCSVLogger(tmp_path, name="train")
    file = Path(logger.log_dir) / "metrics.csv"
    logger.log_metrics({"loss": 1.0}, step=0)
    logger.save()
    content = file.read_text()
    (tmp_path / "filler").write_bytes(bytes(8192))
    with pytest.warns(UserWarning, match="No space left on device; the values are kept"):
        logger.log_metrics({f"new_column_{number}": 1.0 for number in range(500)}, step=1)
        logger.save()
    assert file.read_text() == content
    mount_disk(tmp_path, "1m")
    logger.log_metrics({"loss": 2.0}, step=2)
    logger.save()
    rows = [(row["step"], row["loss"], row["new_column_7"]) for row in csv.DictReader(file.open())]
    assert rows == [("0", "1.0", ""), ("1", "", "1.0"), ("2", "2.0", "")]
