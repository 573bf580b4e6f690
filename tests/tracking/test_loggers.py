"""CSV files on a disk that fills up."""

import csv
import subprocess
from pathlib import Path

import pytest

from refinenet_pl.tracking.loggers import SafeCSVLogger


def test_full_disk_loses_no_value(tmp_path):
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(tmp_path)], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted: {mounted.stderr.strip()}")
    try:
        logger = SafeCSVLogger(tmp_path, name="train")
        file = Path(logger.log_dir) / "metrics.csv"
        logger.log_metrics({"loss": 1.0}, step=0)
        logger.save()
        before = file.read_text()
        (tmp_path / "filler").write_bytes(bytes(8192))
        with pytest.warns(UserWarning, match="No space left on device; the values are kept"):
            logger.log_metrics({f"a_new_column_{number}": 1.0 for number in range(500)}, step=1)
            logger.save()
        assert file.read_text() == before, "not emptied for the sake of the new columns"
        subprocess.run(["mount", "-o", "remount,size=1m", str(tmp_path)], check=True)
        logger.log_metrics({"loss": 2.0}, step=2)
        logger.save()
        rows = list(csv.DictReader(file.open()))
        assert [(row["step"], row["loss"], row["a_new_column_7"]) for row in rows] == [
            ("0", "1.0", ""), ("1", "", "1.0"), ("2", "2.0", ""),
        ]  # fmt: skip
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
