"""Which pictures a result is of: ids alone do not tell, as other pictures may bear them.

Feature stores hold the digest of their stimulus table, response stores what their table has for it
(in the mark, ``made_from``, so that the digest of responses is that of what was measured). Where
features are aligned to responses, the two are compared.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from gradbrain.store.errors import DamageError
from gradbrain.vocabulary.artefacts import CAPTION

DIGEST = "stimuli_digest"
DIGESTS = "stimuli_digests"
# Of images without a label, in the digest.
_NO_LABEL = -1


def stimuli_digests(table: pd.DataFrame) -> dict[str, str]:
    """Digests of a stimulus table, in the order of its rows.

    Parameters
    ----------
    table
        Of kind ``stimuli``.

    Returns
    -------
    dict
        ``pictures``: SHA-256 over ids and contents, as features of image statistics have it;
        ``table``: over labels and, where there are any, captions besides, as those of networks do.
    """
    ids = table["image_id"].astype(str)
    contents = table["content_sha256"]
    labels = table["label"].astype("Int64").fillna(_NO_LABEL).to_numpy(dtype="int64").tolist()
    columns: list[Any] = [ids, labels, contents]
    if CAPTION in table.columns and table[CAPTION].notna().any():
        captions = table[CAPTION]
        columns.append([None if pd.isna(caption) else str(caption) for caption in captions])
    return {"pictures": _digest(ids, contents), "table": _digest(*columns)}


def _digest(*columns: Any) -> str:
    return hashlib.sha256(repr(list(zip(*columns, strict=True))).encode()).hexdigest()


def check_same_pictures(
    path: Path, attrs: Mapping[str, Any], made_from: Mapping[str, Any], other: Path
) -> None:
    """Refuse features of other pictures than those that something else is of.

    Parameters
    ----------
    path, attrs
        Feature store, and its attributes.
    made_from
        With ``stimuli_digests``; where it has none, or the features no digest, nothing is compared.
    other
        What it is of, named in the error.

    Raises
    ------
    StoreError
        They are of different pictures, or of different labels or captions of these.
    """
    own, expected = attrs.get(DIGEST), made_from.get(DIGESTS)
    if own is None or not expected or own in expected.values():
        return
    raise DamageError(
        path,
        f"its features are of other pictures, labels or captions than those of {other}, though "
        f"their ids are the same (stimuli_digest {str(own)[:12]}, expected "
        f"{str(expected.get('table'))[:12]})",
    )
