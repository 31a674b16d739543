"""Cells of the calibration of statistics: run once, and again only with more seeds."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import calibrate_statistics as benchmark


@dataclass(frozen=True)
class Cell:
    """A cell of a made-up calibration."""

    people: int


CELLS = [Cell(6), Cell(15)]


def test_a_cell_is_run_again_with_more_seeds_alone_and_shown_with_most_of_them(tmp_path):
    path, asked = tmp_path / "cells.jsonl", []

    def run(cell, n_seeds):
        asked.append((cell.people, n_seeds))
        return {"share": cell.people / n_seeds}

    benchmark.run_cells(path, CELLS[1:], run, 20)
    benchmark.run_cells(path, CELLS, run, 500)
    benchmark.run_cells(path, CELLS, run, 100)
    assert asked == [(15, 20), (6, 500), (15, 500)]
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    kept = benchmark._most_seeds(rows, CELLS)
    assert [(row["cell"]["people"], row["seeds"]) for row in kept] == [(6, 500), (15, 500)]
