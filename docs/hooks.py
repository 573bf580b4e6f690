"""MkDocs hooks: add files from outside of docs/ to the site, so that links work both there and in the repository."""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
ADDED = ("notebooks/*.ipynb", "experiments/results/*/*.png", "CONTRIBUTING.md", "CHANGELOG.md")
LINK = re.compile(r"(?<=\]\()(?:\.\./)+([^)#\s]+)")


@event_priority(100)  # before mkdocs-jupyter, which converts the notebooks it finds
def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files of `ADDED` with their paths in the repository."""
    for pattern in ADDED:
        for path in sorted(ROOT.glob(pattern)):
            name = path.relative_to(ROOT).as_posix()
            files.append(File(name, str(ROOT), config.site_dir, config.use_directory_urls))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Replace links to files outside of docs/: by their page, if they are on the site, otherwise by their address on GitHub."""
    if page.file.src_uri in ("CONTRIBUTING.md", "CHANGELOG.md"):
        return re.sub(r"(?<=\]\()(?!https?:|#)(?:docs/)?([^)\s]+)", lambda match: _target(match[1], config, files), markdown)
    return LINK.sub(lambda match: _target(match[1], config, files), markdown)


def _target(path: str, config: MkDocsConfig, files: Files) -> str:
    base, _, anchor = path.partition("#")
    base = "index.md" if base == "README.md" else base
    if files.get_file_from_path(base):
        return base + (f"#{anchor}" if anchor else "")
    for root in (ROOT, ROOT / "docs"):
        if (root / base).exists():
            kind = "tree" if (root / base).is_dir() else "blob"
            return f"{config.repo_url}/{kind}/main/{(root / base).relative_to(ROOT).as_posix()}"
    raise FileNotFoundError(f"a link leads to {path}, which does not exist")
