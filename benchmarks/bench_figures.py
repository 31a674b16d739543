"""What it takes to draw all figures of a folder of results, and a cortical map beside nilearn's.

    python benchmarks/bench_figures.py results/demo
    python benchmarks/bench_figures.py results/demo --only cortical_map encoding_by_region
    python benchmarks/bench_figures.py --models 8 --people 8

With `--models` results are invented as for the tests (`tests/trees/invented_study.py`: two data
sets of fMRI, one of MEG, five layers, a signal and three controls), and the folder holds nothing
but ``scores/``, ``maps/``, ``hierarchy/``, ``time_courses/``, ``claims.csv`` and names. All
figures are drawn in this process, one after the other, as PDF, PNG and CSV; those whose results
the folder lacks are named. The picture of a hemisphere is compared with that of
`nilearn.plotting.plot_surf` of the same surface: the first of a view, for which the place of
every vertex is worked out, and the following ones. Prints JSON; times are in seconds, of the
clock and of the processor.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "workflow"), str(ROOT / "tests")]

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from trees.invented_study import Invented, write_study

from gradbrain.config import GradbrainError
from gradbrain.figures import cortex, style
from gradbrain.figures.declarations import FigureError, declaration, figure_names
from gradbrain.figures.drawing import draw_declared
from gradbrain.figures.inputs import FigureInputs
from gradbrain.figures.save import save_figure
from gradbrain.store import Study, open_study

REPEATS = 5
#: What of an invented study is kept.
KEPT = frozenset({"scores", "maps", "hierarchy", "time_courses", "claims.csv", "entries.csv"})
SIZE, DPI = 2.0, 200


def invent(folder: Path, n_models: int, n_people: int) -> Path:
    """Write the results of a study of so many models, every other one untrained."""
    models = {
        f"network_{number:03d}": (
            f"Network {number}, {('ImageNet-1k', 'untrained')[number % 2]}",
            ("trained", "untrained")[number % 2],
        )
        for number in range(n_models)
    }
    study = folder / "results" / "invented"
    study.mkdir(parents=True)
    write_study(study, Invented(models=models, people=n_people))
    for path in study.iterdir():
        if (
            path.name not in KEPT
            and path.name.removeprefix(".").removesuffix(".sha256") not in KEPT
        ):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return study


def timed(job: Callable[[], Any]) -> dict[str, float]:
    """Seconds of the clock and of the processor that a job takes."""
    clock, processor = time.perf_counter(), time.process_time()
    job()
    return {
        "seconds": round(time.perf_counter() - clock, 2),
        "processor": round(time.process_time() - processor, 2),
    }


def draw_one(study: Study, name: str, out: Path) -> None:
    """Draw a figure and write its files."""
    what = declaration(name)
    figure, data = draw_declared(what, FigureInputs.of(study, what.reads))
    with style.applied():
        save_figure(figure, data, out / name)


def draw_all(folder: Path, names: list[str], out: Path) -> dict[str, Any]:
    """Draw figures; say what each took, and what the folder lacks for others."""
    study = open_study(folder)
    drawn: dict[str, Any] = {}
    lacking: dict[str, str] = {}
    for name in names:
        try:
            drawn[name] = timed(partial(draw_one, study, name, out))
        except FigureError as error:
            lacking[name] = str(error)
    total = {
        key: round(sum(item[key] for item in drawn.values()), 1) for key in ("seconds", "processor")
    }
    return {"figures": drawn, "total": total, "lacking": lacking}


def by_nilearn(values: np.ndarray) -> None:
    """Draw a left hemisphere from the side with nilearn."""
    from nilearn.plotting import plot_surf

    whole = Figure(figsize=(SIZE, SIZE), dpi=DPI)
    canvas = FigureCanvasAgg(whole)
    points, faces = cortex.hemisphere_mesh("left")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plot_surf(
            (points.copy(), faces),
            surf_map=values,
            hemi="left",
            view="lateral",
            colorbar=False,
            axes=whole.add_axes((0, 0, 1, 1), projection="3d"),
        )
    canvas.draw()


def pictures() -> dict[str, Any]:
    """Compare pictures of a hemisphere."""
    values = np.random.default_rng(0).normal(size=cortex.VERTICES_PER_HEMISPHERE)
    colours = style.score_colours(-1, 1)((values + 1) / 2)
    cortex.bare_colours("left")
    by_nilearn(values)
    cortex.seen_vertices.cache_clear()
    first = timed(lambda: cortex.picture("left", "lateral", colours))["processor"]
    following = [
        timed(lambda: cortex.picture("left", "medial", colours))["processor"]
        for _ in range(REPEATS + 1)
    ][1:]
    peer = median(timed(lambda: by_nilearn(values))["processor"] for _ in range(REPEATS))
    own = max(median(following), 0.01)
    return {
        "nilearn_plot_surf": peer,
        "first_of_a_view": first,
        "following": median(following),
        "nilearn_over_first": round(peer / max(first, 0.01), 1),
        "nilearn_over_following_at_least": round(peer / own, 1),
    }


def main() -> None:
    """Draw, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "folder", type=Path, nargs="?", help="results of a study, such as results/demo"
    )
    parser.add_argument("--models", type=int, help="invent results of so many models instead")
    parser.add_argument("--people", type=int, default=8, help="people of invented results")
    parser.add_argument("--only", nargs="+", default=figure_names(), help="some figures")
    arguments = parser.parse_args()
    if (arguments.folder is None) == (arguments.models is None):
        parser.error("name a folder of results, or how many models to invent with --models")
    try:
        with tempfile.TemporaryDirectory() as out:
            folder = arguments.folder
            if arguments.models:
                folder = invent(Path(out), arguments.models, arguments.people)
            found = draw_all(folder, arguments.only, Path(out))
    except GradbrainError as error:
        sys.exit(str(error))
    found["picture"] = pictures()
    found["machine"] = {"python": platform.python_version(), "system": platform.platform()}
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
