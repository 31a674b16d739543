"""Figures and the report: one module per figure, drawn from the tables of a study.

A figure module declares, as literals that can be read without importing it
(:mod:`gradbrain.figures.declarations`), what it draws (``TITLE``), which results it needs
(``INPUTS``) and to which data it applies (``MODALITIES``, ``SPACES``). It offers

``select(inputs)``
    the tidy table behind the figure, which is also written as CSV;
``plot_<something>(data, *, ax)``
    pure functions that draw one panel of that table on one ``Axes``;
``figure(data)``
    the arrangement of all panels as a ``matplotlib.figure.Figure``.
"""
