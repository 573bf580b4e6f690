"""`refinenet predict`: segment images, or predict their depth, labels or other values, with a checkpoint."""

import sys
from pathlib import Path

from jsonargparse import ArgumentParser

from refinenet_pl.cli.options import OptionError
from refinenet_pl.cli.prediction import Format, predict
from refinenet_pl.datasets.submission import SERVERS
from refinenet_pl.errors import CheckpointError, DataError
from refinenet_pl.evaluation.inference import Protocol

DESCRIPTION = (
    "Predict images with a checkpoint, and write the predictions to --output. Classes: for each image, NAME.png (class ids), "
    "NAME_color.png (class colors with a legend) and NAME_overlay.png (class colors blended with the image). Depth, normals, "
    "heatmaps and other values: NAME.png (16-bit gray, with the stored number of one unit as `divisor` in its metadata) or "
    "NAME.npy (float32), and NAME_color.png (colors with a color bar). Labels: a mask of 0 and 255 for each, LABEL/NAME.png "
    "(NAME.png if there is only one), or NAME.npy (probabilities), and NAME_overlay.png. Folders are searched recursively; "
    "hidden files and folders are skipped. NAME is the image's path relative to the given folder, or to the part of a pattern "
    "before its first wildcard, without the extension and with its parts joined by _: aachen/a.jpg becomes aachen_a. If two "
    "images would get the same name, their names keep the extension, start with the name of the given folder, or are "
    "numbered; such names are printed."
)


def main(arguments: list[str]) -> None:
    """Run `refinenet predict`; `arguments` begins with the command."""
    parser = ArgumentParser(prog="refinenet predict", description=DESCRIPTION)
    parser.add_argument("images", nargs="+", help="images, folders of images, or patterns such as 'street/*.jpg'")
    parser.add_argument("--ckpt_path", type=Path, required=True, help="a run's last.ckpt or best.ckpt, or a model directory")
    parser.add_argument("--output", type=Path, default=Path("predictions"), help="folder to write to")
    parser.add_argument("--overwrite", action="store_true", help="replace existing predictions")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ...; by default, a GPU if one is available")
    parser.add_argument(
        "--only", type=Path, help="text file with one image name or path per line, extension optional; other images are skipped"
    )
    parser.add_argument(
        "--submission", choices=list(SERVERS), help="classes: write the archive for this evaluation server instead"
    )
    parser.add_argument(
        "--format",
        type=Format,
        default="auto",
        help="values: png (16-bit, one channel, 0 or more), npy (floating-point), or auto, which is png for one channel with a "
        "known range that fits and for masks of labels, and npy otherwise",
    )
    parser.add_argument(
        "--threshold", type=float | None, help="labels: probability above which a pixel has a label; by default, the metric's"
    )
    parser.add_argument("--compile", type=bool | None, help="compile the network with torch.compile: true or false")
    # These default to the test settings of the run's recipe.
    parser.add_argument("--scales", type=list[float] | None, help="image scales to average over, such as [0.5,1.0]")
    parser.add_argument("--flip", type=bool | None, help="also average over horizontally flipped images: true or false")
    parser.add_argument("--tile", type=tuple[int, int] | None, help="tile height and width, for images too large for memory")
    parser.add_argument("--tile_overlap", type=float | None, help="min overlap of neighboring tiles, as a fraction of a tile")
    parser.add_argument("--protocol", type=Protocol | None, help="classes: standard or paper")
    options = parser.parse_args(arguments[1:])
    try:
        predict(**{name: value for name, value in options.items() if name != "config"})
    except (DataError, CheckpointError, OptionError) as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(f"error: {error.filename or options.output}: cannot be written ({error.strerror or error})")
