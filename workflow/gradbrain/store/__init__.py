"""Atomic, validated, complete-or-refused results: Zarr stores, tables, text files."""

from gradbrain.store.atomic import atomic_path, write_text
from gradbrain.store.column_store import ColumnStore
from gradbrain.store.errors import StoreError, rebuild_hint
from gradbrain.store.feature_signals import (
    FeatureStore,
    SignalIdentity,
    open_features,
    open_layers,
)
from gradbrain.store.provenance import write_provenance
from gradbrain.store.statistics import Statistics, read_statistics, write_statistics
from gradbrain.store.stimuli_identity import stimuli_digests
from gradbrain.store.study import Study, open_study
from gradbrain.store.tables import as_text, read_table, read_tables, with_text, write_table
from gradbrain.store.zarr_store import (
    StreamingStore,
    array_shape,
    move_store,
    open_store,
    open_tree,
    read_definition,
    remove_store,
    write_store,
    write_tree,
)

__all__ = [
    "ColumnStore",
    "FeatureStore",
    "SignalIdentity",
    "Statistics",
    "StoreError",
    "StreamingStore",
    "Study",
    "array_shape",
    "as_text",
    "atomic_path",
    "move_store",
    "open_features",
    "open_layers",
    "open_store",
    "open_study",
    "open_tree",
    "read_definition",
    "read_statistics",
    "read_table",
    "read_tables",
    "rebuild_hint",
    "remove_store",
    "stimuli_digests",
    "with_text",
    "write_provenance",
    "write_statistics",
    "write_store",
    "write_table",
    "write_text",
    "write_tree",
]
