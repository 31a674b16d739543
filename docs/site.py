"""Hooks of MkDocs: documents of the root become pages, and links between both are followed."""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
#: Document of the project -> page of the site.
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "results/README.md": "results_folder.md",
}
LINK = re.compile(r"(\]\()([^)#\s:]+\.(?:md|png|svg))(#[^)\s]*)?(\))")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the documents that lie outside the folder of the docs."""
    for source, page in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=followed(text, source)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Make links of a page to documents of the root those to their pages."""
    if page.file.src_uri in PAGES.values():
        return markdown  # done
    return followed(markdown, f"docs/{page.file.src_uri}")


def followed(markdown: str, source: str) -> str:
    """Text with its links, relative to where it lies in the project, relative to the site.

    Parameters
    ----------
    markdown
        Text of a document.
    source
        Its path in the project.
    """
    home = posixpath.dirname(source)

    def follow(link: re.Match[str]) -> str:
        before, target, anchor, after = link.groups()
        place = posixpath.normpath(posixpath.join(home, target))
        page = PAGES.get(place, place.removeprefix("docs/"))
        return f"{before}{page}{anchor or ''}{after}"

    return LINK.sub(follow, markdown)
