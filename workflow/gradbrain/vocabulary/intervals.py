"""How sure intervals are, and when they rest on too little to be relied on."""

#: Of every interval, band and one-sided bound.
CONFIDENCE = 0.95
#: Where the scores of permuted images, shown beside those that were seen, end.
NULL_PERCENTILE = 95
#: What legends and tables call an interval, and the bounds of a share.
INTERVAL = f"{100 * CONFIDENCE:g} % interval"
BETWEEN_BOUNDS = f"between the bounds ({100 * CONFIDENCE:g} %, one-sided each)"
#: Below so many groups of images an interval rests on few.
FEW_GROUPS = 20
#: Code of such an interval, and what readers see.
FEW_GROUPS_NOTE = "few_groups"
FEW_GROUPS_WORDS = f"few groups of images (below {FEW_GROUPS})"
