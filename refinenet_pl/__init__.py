"""RefineNet (Lin, Milan, Shen, Reid; CVPR 2017, TPAMI 2019) in PyTorch Lightning."""

import importlib

__version__ = "0.1.0"

# Imported when first asked for, so that `python -m refinenet_pl --help` and scripts that only read results stay quick.
_HOME = {
    "RefineNet": "refinenet_pl.network.refinenet",
    "SegmentationTask": "refinenet_pl.tasks.segmentation",
    "SegmentationDataModule": "refinenet_pl.data.datamodule",
}
__all__ = list(_HOME)


def __getattr__(name: str):
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
