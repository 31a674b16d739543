"""Regions of a data set, as options of adapters name them.

Planning validates options without the modules of data sets, and so without what these import of
one another.
"""

from __future__ import annotations

from typing import Any


def check_named_regions(options: Any, *names: str) -> None:
    """Refuse options that name what is not among ``regions`` of a data set.

    Parameters
    ----------
    options
        Options of a data set, with ``regions``.
    *names
        Those options that name regions: several, one, or none.

    Raises
    ------
    ValueError
        Names the options, what is unknown, and the regions.
    """
    named: set[str] = set()
    for name in names:
        given = getattr(options, name)
        named.update([given] if isinstance(given, str) else given or ())
    unknown = sorted(named - set(options.regions))
    if unknown:
        raise ValueError(
            f"{', '.join(names)}: {unknown} are not among regions: {list(options.regions)}"
        )
