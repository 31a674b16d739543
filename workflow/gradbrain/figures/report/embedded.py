"""Figures and captions as they stand in the page: everything is in it."""

from __future__ import annotations

import base64
import gzip
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docutils.core import publish_parts
from markupsafe import Markup

from gradbrain.config.plugins import Plugins
from gradbrain.figures.declarations import FigureError, declaration
from gradbrain.figures.names import Names
from gradbrain.figures.report.alternatives import alternative
from gradbrain.figures.report.points import points

#: Figures in the order of the argument; others follow by name.
FIGURE_ORDER = (
    "idea",
    "encoding_by_region",
    "best_layer_by_distance",
    "cortical_map",
    "encoding_over_time",
    "peak_time_by_depth",
    "sensor_topography",
    "control_comparison",
    "variance_parts",
    "unique_share",
    "signal_reliability",
    "training_angles",
    "rule_ranking",
    "rule_alikeness",
    "rule_pairs",
    "rsa_summary",
    "rsa_of_predictions",
    "fusion",
    "claims_overview",
    "claims_by_model",
    "specification_curve",
)


#: Ending of a file beside a figure -> what it is called.
LABELS = {"pdf": "PDF", "csv": "data (CSV)"}
#: Media types by ending.
MEDIA = {"pdf": "application/pdf", "csv": "text/csv;charset=utf-8", "gz": "application/gzip"}
#: Files of this many bytes are packed before they are put into the page.
PACKED_FROM = 500_000
#: Files that are larger even so are linked where they lie: a page must not grow with the study.
LARGEST = 3_000_000


@dataclass(frozen=True)
class LinkedFile:
    """A file that can be saved from the page.

    Attributes
    ----------
    name
        Under which it is saved.
    label
        What it is.
    href
        Its content as a data URI; a path relative to the page where it is too large.
    """

    name: str
    label: str
    href: str


@dataclass(frozen=True)
class ReportFigure:
    """A figure as it stands in the report.

    Attributes
    ----------
    name, title
        Name of its module and its one-line title.
    image
        The PNG as a data URI.
    size
        Width and height in CSS pixels (the PNG has 150 dots per inch).
    caption
        HTML.
    alternative
        What is to be seen, for those who do not see it.
    files
        PDF and CSV.
    points
        The table point by point, for the page to draw; None where there is none.
    """

    name: str
    title: str
    image: str
    size: tuple[int, int]
    caption: Markup
    alternative: str
    files: list[LinkedFile]
    points: dict[str, Any] | None


def report_figures(
    paths: Sequence[Path],
    captions: Sequence[Path],
    output: Path,
    names: Names,
    plugins: Plugins,
) -> list[ReportFigure]:
    """Figures in the order of the argument, with caption and files.

    Raises
    ------
    FigureError
        If a figure or caption is missing.
    """
    rank = {name: place for place, name in enumerate(FIGURE_ORDER)}
    ordered = sorted(paths, key=lambda path: (rank.get(path.stem, len(rank)), path.stem))
    by_figure = {caption.stem: caption for caption in captions}
    return [_report_figure(path, by_figure, output, names, plugins) for path in ordered]


def _report_figure(
    path: Path, captions: dict[str, Path], output: Path, names: Names, plugins: Plugins
) -> ReportFigure:
    caption = captions.get(path.stem, Path(f"{path.stem}.rst"))
    for needed, what in ((path, "figure"), (caption, "caption")):
        if not needed.is_file():
            raise FigureError(f"{needed}: the {what} is missing; draw or write it first")
    content = path.read_bytes()
    if content[:8] != b"\x89PNG\r\n\x1a\n":
        raise FigureError(f"{path}: is not a PNG file; draw the figure again")
    # Width and height follow the signature and the header of the first chunk.
    width, height = (int.from_bytes(content[place : place + 4], "big") for place in (16, 20))
    beside = {ending: path.with_suffix(f".{ending}") for ending in ("pdf", "csv")}
    declared = declaration(path.stem, plugins)
    return ReportFigure(
        name=path.stem,
        title=declared.title,
        image=f"data:image/png;base64,{base64.b64encode(content).decode('ascii')}",
        size=(round(width * 96 / 150), round(height * 96 / 150)),
        caption=caption_html(caption.read_text(encoding="utf-8")),
        alternative=alternative(beside["csv"], names),
        files=[
            linked_file(file, LABELS[ending], output)
            for ending, file in beside.items()
            if file.is_file()
        ],
        points=points(beside["csv"], declared.points, names),
    )


def linked_file(path: Path, label: str, output: Path) -> LinkedFile:
    """Put a file into the page, packed if large; or link it, if it is too large even so."""
    name, content, ending = path.name, path.read_bytes(), path.suffix[1:]
    if ending == "csv" and len(content) >= PACKED_FROM:
        # Without a time stamp: the same file, the same bytes.
        name, content, ending = f"{name}.gz", gzip.compress(content, mtime=0), "gz"
        label = f"{label}, packed"
    if len(content) > LARGEST:
        relative = Path(os.path.relpath(path, output.parent)).as_posix()
        return LinkedFile(
            path.name, f"{label}, {len(content) >> 20} MB, not in this page", relative
        )
    return LinkedFile(name, label, data_uri(content, ending))


def data_uri(content: bytes, ending: str) -> str:
    """Content as an address that holds it."""
    return f"data:{MEDIA[ending]};base64,{base64.b64encode(content).decode('ascii')}"


def caption_html(restructured_text: str) -> Markup:
    """Turn a caption into HTML; markup that docutils does not understand is an error."""
    parts = publish_parts(
        restructured_text,
        writer="html5",
        settings_overrides={
            "report_level": 3,
            "halt_level": 3,
            "file_insertion_enabled": False,
            "raw_enabled": False,
        },
    )
    return Markup(parts["body"].strip())  # docutils escapes, and raw HTML is disabled
