"""Columns of the score tables: one row per signal, measure and region or time."""

SCORE_COLUMNS = (
    "study",
    "dataset",
    "subject",
    "modality",
    "model",
    "layer",
    "depth",
    "layer_index",
    "signal",
    "role",
    "measure",
    "unit_kind",
    "roi",
    "roi_rank",
    "distance_mm",
    "time",
    "onset_source",
    "value",
    "boot_low",
    "boot_high",
    "null_high",
    "n_targets",
    "edge_share",
    "band_weight",
)

# Of the ceiling between subjects; the joined scores of a model carry each as a column.
INTERSUBJECT_MEASURES = ("intersubject_r", "intersubject_r2")
JOINED_SCORE_COLUMNS = (*SCORE_COLUMNS, *INTERSUBJECT_MEASURES)
CEILING_COLUMNS = (
    "study",
    "dataset",
    "subject",
    "modality",
    "unit_kind",
    "roi",
    "roi_rank",
    "time",
    "measure",
    "value",
    "n_targets",
    "n_other_subjects",
)
