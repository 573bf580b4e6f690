"""Templates of the pages, for jinja2, which the extra `report` installs."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from refinenet_pl.extras import require

if TYPE_CHECKING:
    from jinja2 import Template

FOLDER = Path(__file__).parent


def template(name: str, **options: Any) -> "Template":
    """Load a template.

    Args:
        name: File in the folder of this module.
        options: Further arguments of `jinja2.Environment`.

    Raises:
        MissingPackageError: jinja2 is not installed.
    """
    jinja2 = require("jinja2", "report", name)
    loader = jinja2.FileSystemLoader(FOLDER)
    return jinja2.Environment(loader=loader, undefined=jinja2.StrictUndefined, trim_blocks=True, **options).get_template(name)
