"""Figures and the report: one module per figure, drawn from the tables of a study.

A figure module declares, as literals that can be read without importing it
(:mod:`gradbrain.figures.declarations`), what it draws (``TITLE``), which results it needs
(``INPUTS``) and to which data it applies (``AXES``, ``SPACES``). It offers

``select(inputs)``
    the tidy table behind the figure, which is also written as CSV;
``plot_<something>(data, *, ax, names)``
    pure functions that draw one panel of that table on one ``Axes``;
``figure(data, names)``
    the arrangement of all panels as a ``matplotlib.figure.Figure``.

``names`` (:class:`gradbrain.figures.names.Names`) holds what readers see of models, signals, data
sets and modalities; functions that show none of it do without. The caption of a figure is
``workflow/report/<name>.rst`` or, for a module in a folder of plug-ins, ``<name>.rst`` beside it.
"""
