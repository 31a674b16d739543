"""Compare the claims of two runs of a study, e.g. with the closed form and with himalaya.

    snakemake -c2 --configfile config/objects92.yaml
    snakemake -c2 claims --configfile config/objects92.yaml --config study=objects92_himalaya \
        "encoding={solver: himalaya}"
    python benchmarks/compare_solvers.py results/objects92 results/objects92_himalaya

The last line is JSON: how many claims there are, how many have the same verdict in both, and the
largest difference between their estimates, by variant.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pandas as pd

KEYS = ["dataset", "model", "prediction", "variant", "signal"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("first", type=Path, help="folder of results")
    parser.add_argument("second", type=Path, help="folder of results")
    arguments = parser.parse_args()
    first, second = (
        pd.read_csv(folder / "claims.csv") for folder in (arguments.first, arguments.second)
    )
    both = first.merge(second, on=KEYS, suffixes=("", "_second"), validate="one_to_one")
    same = both["verdict"] == both["verdict_second"]
    differences = (both["estimate"] - both["estimate_second"]).abs()
    shown = [*KEYS, "estimate", "estimate_second", "verdict", "verdict_second"]
    print(both.loc[~same, shown].to_string() if not same.all() else "every verdict is the same")
    print(
        json.dumps(
            {
                "claims": [len(first), len(second)],
                "compared": len(both),
                "same_verdict": int(same.sum()),
                "largest_difference": {
                    f"{prediction} {variant}": round(float(value), 4)
                    for (prediction, variant), value in differences.groupby(
                        [both["prediction"], both["variant"]]
                    )
                    .max()
                    .items()
                },
            }
        )
    )


if __name__ == "__main__":
    main()
