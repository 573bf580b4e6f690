"""Pairs of image and target files in the folders of a custom dataset."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from refinenet_pl.datasets.file_pairs import Sample, find_folder
from refinenet_pl.datasets.readers.finding import LeftOut, find_files
from refinenet_pl.datasets.readers.text import IMAGE_EXTENSIONS, composed, match_name, read_names, suggest_name
from refinenet_pl.errors import DataError

Kind = Literal["mask", "target"]


def find_pairs(
    root: Path,
    split: str,
    kind: Kind,
    extensions: tuple[str, ...],
    source: str,
    part: str | None = None,
    image_extensions: tuple[str, ...] = IMAGE_EXTENSIONS,
) -> tuple[list[Sample], str]:
    """Find a split's folders or its list, and pair its files by name.

    Args:
        root: Folder of the dataset, with `images` and, by `kind`, `masks` or `targets`.
        split: Name of the split.
        kind: Files that belong to the images.
        extensions: Extensions of these files.
        source: Description of the layout, for errors.
        part: Subfolder of the split's folder of these files, such as that of a label; None for the folder itself.
        image_extensions: Extensions of the images.

    Returns:
        The pairs, and a description of the files that were ignored; empty if there are none.

    Raises:
        DataError: A folder, a list or a file is missing, or names are ambiguous.
    """
    listing = root / f"{split}.txt"
    in_folders = (root / "images" / split).is_dir()
    if in_folders and listing.exists():
        raise DataError(f"{root}: has both a folder images/{split} and a list {listing.name}; remove one of them")
    if not in_folders and not listing.exists():
        raise DataError(f"{root}: has no split {split}: neither a folder images/{split} nor a list {listing.name}; {source}")
    subfolder = f"/{split}" if in_folders else ""
    image_folder = find_folder(root, f"images{subfolder}", source=source)
    folder = find_folder(root, f"{kind}s{subfolder}" + (f"/{part}" if part else ""), source=source)
    found = [_find_by_stem(image_folder, image_extensions), _find_by_stem(folder, extensions)]
    (images, _), (targets, _) = found
    ignored = [
        f"in {place.relative_to(root)}: {left_out}"
        for place, (_, left_out) in zip((image_folder, folder), found, strict=True)
        if str(left_out)
    ]
    if in_folders:
        stems = list(images)
        _refuse_unpaired_targets(
            [path for stem, path in targets.items() if stem not in images], kind, image_folder, image_extensions
        )
    else:
        stems = _read_stems(listing, images, image_folder, image_extensions)
    _refuse_unpaired_images({stem: images[stem] for stem in stems if stem not in targets}, kind, folder, extensions)
    samples: dict[str, Sample] = {}
    for stem in stems:
        name = stem.replace("/", "_")
        if name in samples:
            raise DataError(f"{samples[name].image} and {images[stem]} would both be named {name}; rename one of them")
        samples[name] = Sample(name, images[stem], targets[stem])
    return list(samples.values()), "; ".join(ignored)


def _find_by_stem(folder: Path, extensions: tuple[str, ...]) -> tuple[dict[str, Path], LeftOut]:
    """Find the files with one of these extensions.

    Returns:
        The files, by their path in the folder without the extension, in Unicode form NFC; and the entries that are ignored.
    """
    files, left_out = find_files(folder, extensions)
    left_out.refuse_unreadable()
    found: dict[str, Path] = {}
    # A broken link is a missing file, which is an error if it belongs to the split.
    for path in files + left_out.broken:
        stem = composed(path.relative_to(folder).with_suffix("").as_posix())
        if stem in found:
            raise DataError(
                f"{found[stem]} and {path} differ only in their extensions or the Unicode form of their names; rename or "
                "remove one of them"
            )
        found[stem] = path
    return found, left_out


def _read_stems(listing: Path, images: dict[str, Path], image_folder: Path, extensions: tuple[str, ...]) -> list[str]:
    """Stems that a split's list names, in its order."""
    entries = read_names(listing)
    if not entries:
        raise DataError(f"{listing}: lists no images; write one file name without its extension per line")
    stems, unknown = [], []
    for entry in entries:
        stem = match_name(entry, images)
        if stem is None:
            unknown.append(entry.strip())
        else:
            stems.append(stem)
    if unknown:
        raise DataError(
            f"{listing}: lists {_first_five(unknown)}, but {image_folder} contains no such image (extensions: "
            f"{' '.join(extensions)}); {suggest_name(unknown[0], images) or 'correct the list or add the image'}"
        )
    repeated = [stem for stem, number in Counter(stems).items() if number > 1]
    if repeated:
        raise DataError(
            f"{listing}: lists {', '.join(repeated[:5])} more than once; remove {len(stems) - len(set(stems))} lines"
        )
    return stems


def _refuse_unpaired_targets(targets: list[Path], kind: str, image_folder: Path, extensions: tuple[str, ...]) -> None:
    if targets:
        raise DataError(
            f"{_first_five(targets)}: no image of that name in {image_folder} (extensions: {' '.join(extensions)}); add "
            f"or rename it, or remove the {kind}"
        )


def _refuse_unpaired_images(images: dict[str, Path], kind: str, folder: Path, extensions: tuple[str, ...]) -> None:
    if not images:
        return
    lossy, _ = _find_by_stem(folder, (".jpg", ".jpeg"))
    jpegs = [lossy[stem] for stem in images if stem in lossy]
    if jpegs:
        raise DataError(
            f"{_first_five(jpegs)}: {kind}s saved as JPEG, whose compression changes values along every outline; save {kind}s "
            "as PNG again, from the original ones"
        )
    raise DataError(
        f"{_first_five(list(images.values()))}: no {kind} of that name in {folder} (extensions: {' '.join(extensions)}); add "
        "or rename it, or remove the image"
    )


def _first_five(things: Sequence[str | Path]) -> str:
    """The first five, and the number of the others."""
    more = f" and {len(things) - 5} more" if len(things) > 5 else ""
    return ", ".join(map(str, things[:5])) + more
