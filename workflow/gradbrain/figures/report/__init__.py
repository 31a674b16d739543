"""The report of a study: one HTML page with its answer, verdicts, figures, tables and settings.

The page needs nothing beside itself: scripts, figures, their PDF and CSV files are in it. It holds
nothing that varies from run to run: same results, same bytes.
"""

from gradbrain.figures.report.page import render_report, results_of

__all__ = ["render_report", "results_of"]
