"""Compute how alike the dissimilarities of the subjects of a data set are."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

from gradbrain.config.cli import json_argument, run
from gradbrain.config.schema import EncodingSettings, RsaSettings
from gradbrain.encoding.rdm_ceilings import rdm_ceilings
from gradbrain.store import write_table


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--responses",
        nargs="+",
        type=Path,
        required=True,
        help="response stores of all subjects of the data set",
    )
    parser.add_argument(
        "--settings",
        type=json_argument(EncodingSettings),
        default=EncodingSettings(),
        help="section encoding of the config, as JSON",
    )
    parser.add_argument(
        "--rsa",
        type=json_argument(RsaSettings),
        default=RsaSettings(),
        help="section rsa of the config, as JSON",
    )
    parser.add_argument("--study", required=True, help="name of the study")
    parser.add_argument("--output", type=Path, required=True, help="table to write (.parquet)")
    arguments = parser.parse_args(argv)
    table = rdm_ceilings(
        arguments.responses, arguments.settings, arguments.rsa, study=arguments.study
    )
    write_table(arguments.output, table, kind="rdm_ceilings", provenance={})


if __name__ == "__main__":
    run(main)
