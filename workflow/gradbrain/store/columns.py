"""Names of the columns and coordinates of the files that stages exchange.

A stage reads what another wrote and imports none of it: these names are all that both know. What a
column means stands where it is written. A stage's own tables (a figure's CSV, a model's layers) are
not listed here.

A changed name changes the layout of results: raise ``FORMAT_VERSION`` with it, since the modules of
the store are no input of jobs.
"""

from __future__ import annotations

# Where a target is: of fMRI, and of MEG.
TARGET_COORDINATES = ("roi", "hemisphere", "x", "y", "z", "vertex")
SENSOR_COORDINATES = ("time", "sensor", "sensor_x", "sensor_y")

# stimuli/<stimuli>.parquet: one row per image.
STIMULUS_COLUMNS = ("image_id", "group", "label", "loader", "locator", "content_sha256")
# One more where any image has a caption: sets without captions are the bytes that they always were.
CAPTION = "caption"

# encoding/<model>/<layer>/<subject>.parquet: one row per signal, measure and region or time.
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

# ceilings/<dataset>.parquet: one row per subject, measure and region or time.
INTERSUBJECT_MEASURES = ("intersubject_r", "intersubject_r2")
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

# scores/<model>.parquet: the scores of all fits, with the ceilings of each unit beside them.
JOINED_SCORE_COLUMNS = (*SCORE_COLUMNS, *INTERSUBJECT_MEASURES)

# rsa/<model>/<subject>.parquet: one row per layer, signal and region or time.
RSA_COLUMNS = (
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
    "unit_kind",
    "roi",
    "roi_rank",
    "time",
    "onset_source",
    "rho",
    "null_high",
    "p",
    "n_images",
)

# hierarchy/<model>.parquet: one row per subject, signal, variant and statistic.
HIERARCHY_COLUMNS = (
    "study",
    "dataset",
    "subject",
    "modality",
    "coverage",
    "model",
    "signal",
    "role",
    "variant",
    "statistic",
    "value",
    "value_at_units",
    "unit",
    "n",
    "layer",
    "depth",
    "roi",
    "distance_mm",
    "best_layer",
    "control",
    "onset_source",
    "boot",
    "null",
    "map",
    "map_units",
)

# claims.csv: one row per prediction, data set, model, signal and variant.
CLAIM_COLUMNS = (
    "prediction",
    "dataset",
    "model",
    "signal",
    "variant",
    "statistic",
    "estimate",
    "unit",
    "ci_low",
    "ci_high",
    "p",
    "p_min",
    "q",
    "n",
    "inference",
    "verdict",
    "direction",
    "figure",
    "source",
    "sentence",
    "reference",
    "control",
    "p_opposite",
    "q_opposite",
    "note",
)
