"""`report`: writes an HTML report of runs in a directory or on W&B."""

import sys

from jsonargparse import ArgumentParser

from refinenet_pl.ablation.records import RecordError
from refinenet_pl.ablation.rendering import render
from refinenet_pl.ablation.tables import TableError
from refinenet_pl.ablation.wandb_download import DownloadError, download
from refinenet_pl.errors import CatalogError, MissingPackageError
from refinenet_pl.files import expand_path, replaced
from refinenet_pl.report.collect import collect
from refinenet_pl.report.page import build_page


def main(arguments: list[str]) -> None:
    """Run the command; `arguments` begins with `report`. The exit code is 2 if the page cannot be written."""
    words = "Write a self-contained HTML report of runs and print its tables as Markdown."
    parser = ArgumentParser(prog="refinenet report", description=words)
    words = "directory of all runs, or of one group TABLE@RECIPE; with --wandb, the download directory (gathered)"
    parser.add_argument("directory", nargs="?", metavar="DIR", help=words)
    parser.add_argument("-o", "--output", default="report.html", help="HTML file")
    parser.add_argument("--split", default="val", help="evaluation to report")
    parser.add_argument("--tables", nargs="+", default=[], metavar="FILE", help="table files outside the package")
    parser.add_argument("--title", default="RefineNet: comparison of runs", help="heading of the page")
    words = "download the runs of this project to DIR first; runs trained in DIR are not changed"
    parser.add_argument("--wandb", type=str | None, metavar="ENTITY/PROJECT", help=words)
    options = parser.parse_args(arguments[1:])
    if not (options.directory or options.wandb):
        parser.error("specify a directory of runs, or a W&B project with --wandb")
    try:
        directory, output = (expand_path(path, CatalogError) for path in (options.directory or "gathered", options.output))
        if options.wandb:
            for sentence in download(options.wandb, directory):
                print(sentence, file=sys.stderr)
        groups = collect(directory, options.tables, options.split)
        with replaced(output) as stream:
            stream.write(build_page(groups, options.title).encode())
    except (CatalogError, DownloadError, MissingPackageError, RecordError, TableError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        print(f"error: {error.filename}: {error.strerror}; free disk space or grant write permission", file=sys.stderr)
        sys.exit(2)
    print("\n".join(render(group.report) for group in groups))
    print(f"Written: {output}", file=sys.stderr)
