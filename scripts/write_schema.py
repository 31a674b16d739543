"""Write the JSON schemas and the reference pages from the declarations behind them."""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

from gradbrain.config import cli, schema
from gradbrain.store import write_text
from gradbrain.vocabulary.artefacts import ARTEFACTS, Artefact
from gradbrain.vocabulary.reasons import REASONS

FOLDER = Path(__file__).resolve().parents[1] / "workflow" / "schemas"
SCHEMAS = {
    "study": schema.Study,
    "model": schema.ModelEntry,
    "dataset": schema.DatasetEntry,
    "modality": schema.Modality,
    "signal": schema.SignalEntry,
    "signal_set": schema.SignalSet,
}


PAGE = Path(__file__).resolve().parents[1] / "docs" / "configuration.md"
INTRODUCTION = """\
# Configuration

Generated from `workflow/gradbrain/config/schema.py` by `make schema`; a test keeps both in step.

A study is one YAML file. `snakemake --configfile mine.yaml` runs it in place of
`config/config.yaml`; keys that are left out take the defaults below, unknown keys are refused.
Single keys can be set on the command line: `--config only_models=[resnet50]`. Names of models,
data sets, modalities and signals are looked up in `config/models.yaml`, `config/datasets.yaml`,
`config/modalities.yaml` and `config/signals.yaml`, layers in `config/layers.csv`; a folder of one's
own with files of the same names joins them by the key `registries`. Rules, objectives, adapters,
figures and sources of weights are plug-ins: modules of the library, or of a folder of one's own
that joins them by the key `plugins` ([extending](extending.md)).
"""
TITLES = {
    "Study": "A study",
    "DatasetChoice": "`datasets`: entries of the list",
    "ModelChoice": "`models`: entries of the list",
    "LayerCount": "`models.layers` as a count",
    "FeatureSettings": "`features`",
    "EncodingSettings": "`encoding`",
    "NuisanceBand": "`encoding.nuisance`: entries of the list",
    "RsaSettings": "`rsa`",
    "ReliabilitySettings": "`reliability`",
    "StatisticsSettings": "`statistics`",
    "FigureSettings": "`figures`",
    "ContrastSettings": "`contrasts`",
    "NamedContrast": "`contrasts.named`: entries of the list",
    "SensitivitySettings": "`sensitivity`",
    "Factor": "an entry of `sensitivity.factors`",
    "Level": "an entry of `levels` of a factor",
    "ModelEntry": "Registry: an entry of `config/models.yaml`",
    "ModelFactors": "`factors` of a model",
    "Weights": "`weights` of a model",
    "TextTower": "`text_tower` of a model",
    "DatasetEntry": "Registry: an entry of `config/datasets.yaml`",
    "ExpectedSize": "`expected` of a data set",
    "FetchSpec": "`fetch` of a data set",
    "FetchFile": "`fetch.files`: values",
    "FetchBucket": "`fetch.bucket`",
    "Modality": "Registry: an entry of `config/modalities.yaml`",
    "SignalEntry": "Registry: an entry of `signals` in `config/signals.yaml`",
    "Cotangents": "`control_of` of a signal as a family",
    "SignalSet": "Registry: an entry of `signal_sets` in `config/signals.yaml`",
    "Pooling": "`pooling` of a signal set",
    "Projection": "`projection` of a signal set",
}


def allowed(field: dict) -> str:
    if "enum" in field:
        return " \\| ".join(f"`{value}`" for value in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    if "anyOf" in field:
        return " or ".join(allowed(option) for option in field["anyOf"])
    if "$ref" in field:
        return f"see {TITLES[field['$ref'].rpartition('/')[2]]}"
    if field.get("type") == "array" and isinstance(field.get("items"), dict):
        return f"list of ({allowed(field['items'])})"
    limits = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    bounds = ", ".join(f"{sign} {field[key]}" for key, sign in limits.items() if key in field)
    kind = {"null": "none", "object": "mapping", "array": "list"}.get(
        field.get("type", ""), field.get("type", "any")
    )
    return f"{kind} {bounds}".strip()


def page_text() -> str:
    parts = [INTRODUCTION]
    for class_name, title in TITLES.items():
        model = getattr(schema, class_name)
        definition = model.model_json_schema()
        parts.append(f"\n## {title}\n\n{(model.__doc__ or '').strip().splitlines()[0]}\n")
        parts.append("\n| key | allowed | default | meaning |\n|---|---|---|---|\n")
        for key, field in definition["properties"].items():
            required = key in definition.get("required", [])
            section = "$ref" in field or (not required and isinstance(field.get("default"), dict))
            default = (
                "required"
                if required
                else "its own"
                if section and field.get("default")
                else f"`{json.dumps(field.get('default'))}`"
            )
            meaning = field.get("description", "")
            parts.append(f"| `{key}` | {allowed(field)} | {default} | {meaning} |\n")
    return "".join(parts)


ARTEFACT_PAGE = Path(__file__).resolve().parents[1] / "docs" / "artefacts.md"
ARTEFACT_INTRODUCTION = """\
# Results: what each file holds

Generated from `workflow/gradbrain/vocabulary/artefacts.py` by `make schema`; a test keeps both in
step. Every kind of result is declared once: its path, what it holds, the rule that makes it, and a
version of its own. A raised version makes that kind anew, and what reads it, and nothing else. The
mark in the root of a store names its kind, its version and the SHA-256 of each of its files; that
of a table, page or figure lies beside it in `.<name>.sha256` (`sha256sum --check` reads it).
`scripts/migrate_results.py` brings results of the layout before (version 2) to this one.

[`gradbrain.open_study`](open_study.md) opens all of them; `gradbrain artefacts` lists them. Tables
are Parquet or CSV. Stores are Zarr (format 3); where a name has a `/`, its first part is a
group. `gradbrain.store.open_store`, `open_tree` and `read_table` refuse what is incomplete,
changed, of another version, or of another study, model or subject than its path says
([reliability](reliability.md)); `python scripts/verify_results.py` checks all results at once.
"""


def artefact_text(item: Artefact) -> str:
    parts = [
        f"\n## `{item.kind}`\n\n{item.what[0].upper()}{item.what[1:]}.\n",
        f"\n`{item.template}` · rule `{item.rule}` · version {item.version}\n",
    ]
    if item.columns:
        parts.append("\n| column | unit | meaning |\n|---|---|---|\n")
        parts += [
            f"| `{column.name}`{' (optional)' if column.optional else ''} | {column.unit} "
            f"| {column.meaning} |\n"
            for column in item.columns
        ]
    if item.variables:
        parts.append("\n| array | dimensions | unit | meaning |\n|---|---|---|---|\n")
        parts += [
            f"| `{variable.name}`{' (optional)' if variable.optional else ''} "
            f"| {', '.join(variable.dims)} | {variable.unit} | {variable.meaning} |\n"
            for variable in item.variables
        ]
    return "".join(parts)


def artefact_page_text() -> str:
    reasons = "".join(f"| `{reason.code}` | {reason.sentence} |\n" for reason in REASONS.values())
    return "".join(
        [
            ARTEFACT_INTRODUCTION,
            *map(artefact_text, ARTEFACTS.values()),
            "\n## Reasons of claims\n\nCodes of the column `reason` of `claims.csv`.\n",
            f"\n| code | meaning |\n|---|---|\n{reasons}",
        ]
    )


def schema_text(name: str) -> str:
    return json.dumps(SCHEMAS[name].model_json_schema(), indent=2) + "\n"


def parser() -> argparse.ArgumentParser:
    """Describe the command line, which has no options."""
    return argparse.ArgumentParser(description=__doc__)


def main(argv: list[str] | None = None) -> None:
    parser().parse_args(argv)
    for name in SCHEMAS:
        write_text(FOLDER / f"{name}.schema.json", schema_text(name))
    write_text(PAGE, page_text())
    write_text(ARTEFACT_PAGE, artefact_page_text())


if __name__ == "__main__":
    cli.run(main)
