"""What `snakemake --report out.zip` wrote: each result with its caption, category and labels."""

from __future__ import annotations

import json
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class SnakemakeReport:
    """Contents of an archive.

    Attributes
    ----------
    results
        Path of each result -> its caption (HTML), labels, and name.
    categories
        Category -> paths.
    files
        Names of the files of the archive, without folders.
    rules
        Rules of the graph.
    """

    results: dict[str, dict[str, Any]]
    categories: dict[str, list[str]]
    files: set[str]
    rules: set[str]

    @classmethod
    def read(cls, path: Path) -> SnakemakeReport:
        """Read an archive."""
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            pages = [name for name in names if name.count("/") == 1 and name.endswith(".html")]
            page = archive.read(pages[0]).decode()
        graph = _variable(page, "rulegraph_spec")
        return cls(
            results=_variable(page, "results"),
            categories={
                name: [path for paths in parts.values() for path in paths]
                for name, parts in _variable(page, "categories").items()
            },
            files={Path(name).name for name in names},
            rules={
                node["rule"]
                for data in graph["data"]
                for node in data.get("values", [])
                if "rule" in node
            },
        )

    def check(self, figures: set[str]) -> None:
        """Assert that each figure has its own caption and files, and that all else is there."""
        assert set(self.categories) == {"Report", "Figures", "Claims"}
        assert {"report.html", "claims.csv"} <= self.files
        shown = {Path(path).stem for path in self.categories["Figures"]}
        assert shown == figures
        for ending in ("png", "pdf", "csv"):
            assert {f"{name}.{ending}" for name in figures} <= self.files
        captions = {Path(path).stem: entry["caption"] for path, entry in self.results.items()}
        assert len(set(captions.values())) == len(captions)
        assert all(len(caption) > 80 for caption in captions.values()), captions
        assert {"plot_figure", "test_claims", "write_report", "collect_scores"} <= self.rules


def _variable(page: str, name: str) -> Any:
    """A JSON value that the page's script holds."""
    found = re.search(rf"^ *var {name} = (?=[{{\[])", page, re.MULTILINE)
    assert found is not None, name
    return json.JSONDecoder().raw_decode(page, found.end())[0]
