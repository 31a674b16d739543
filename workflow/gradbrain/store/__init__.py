"""Atomic, validated, complete-or-refused results: Zarr stores, tables, text files."""

from gradbrain.store.atomic import atomic_path, write_text
from gradbrain.store.column_store import ColumnStore
from gradbrain.store.errors import StoreError
from gradbrain.store.provenance import write_provenance
from gradbrain.store.tables import read_table, write_table
from gradbrain.store.zarr_store import (
    StreamingStore,
    array_shape,
    move_store,
    open_store,
    read_definition,
    remove_store,
    write_store,
)

# Raised by hand when the layout of stores or the meaning of a config key changes: it enters the
# parameters of every rule, so that all results are made again.
FORMAT_VERSION = 2

__all__ = [
    "FORMAT_VERSION",
    "ColumnStore",
    "StoreError",
    "StreamingStore",
    "array_shape",
    "atomic_path",
    "move_store",
    "open_store",
    "read_definition",
    "read_table",
    "remove_store",
    "write_provenance",
    "write_store",
    "write_table",
    "write_text",
]
