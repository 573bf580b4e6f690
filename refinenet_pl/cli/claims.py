"""`claims`: writes the page of the paper's claims from kept records."""

import sys

from jsonargparse import ArgumentParser

from refinenet_pl.ablation.records import RecordError
from refinenet_pl.ablation.table import TableError
from refinenet_pl.errors import CatalogError, MissingPackageError
from refinenet_pl.files import expand_path, replaced
from refinenet_pl.report.claims import page


def main(arguments: list[str]) -> None:
    """Run the command; `arguments` begins with `claims`. The exit code is 2 if a record or table cannot be read."""
    words = "Write README.md with the effect, confidence interval and verdict of each claim."
    parser = ArgumentParser(prog="refinenet claims", description=words)
    parser.add_argument("--results", default="experiments/results", metavar="DIR", help="directory of kept results")
    options = parser.parse_args(arguments[1:])
    try:
        results = expand_path(options.results, CatalogError)
        text = page(results)
        with replaced(results / "README.md") as stream:
            stream.write(text.encode())
    except (CatalogError, MissingPackageError, RecordError, TableError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        print(f"error: {error.filename}: {error.strerror}; free disk space or grant write permission", file=sys.stderr)
        sys.exit(2)
    print(f"Written: {results / 'README.md'}")
