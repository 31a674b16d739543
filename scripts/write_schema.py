"""Write the JSON schemas and the reference page of the configuration from the classes behind it."""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

from gradbrain.config import cli, schema
from gradbrain.store import write_text

FOLDER = Path(__file__).resolve().parents[1] / "workflow" / "schemas"
SCHEMAS = {
    "study": schema.Study,
    "model": schema.ModelEntry,
    "dataset": schema.DatasetEntry,
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
data sets and signals are looked up in `config/models.yaml`, `config/datasets.yaml` and
`config/signals.yaml`, layers in `config/layers.csv`; a folder of one's own with files of the same
names joins them by the key `registries`.
"""
TITLES = {
    "Study": "A study",
    "DatasetChoice": "`datasets`: entries of the list",
    "ModelChoice": "`models`: entries of the list",
    "LayerCount": "`models.layers` as a count",
    "FeatureSettings": "`features`",
    "EncodingSettings": "`encoding`",
    "RsaSettings": "`rsa`",
    "StatisticsSettings": "`statistics`",
    "FigureSettings": "`figures`",
    "ModelEntry": "Registry: an entry of `config/models.yaml`",
    "TextTower": "`text_tower` of a model",
    "DatasetEntry": "Registry: an entry of `config/datasets.yaml`",
    "ExpectedSize": "`expected` of a data set",
    "FetchSpec": "`fetch` of a data set",
    "FetchFile": "`fetch.files`: values",
    "FetchBucket": "`fetch.bucket`",
    "SignalEntry": "Registry: an entry of `signals` in `config/signals.yaml`",
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


def schema_text(name: str) -> str:
    return json.dumps(SCHEMAS[name].model_json_schema(), indent=2) + "\n"


def main(argv: list[str] | None = None) -> None:
    argparse.ArgumentParser(description=__doc__).parse_args(argv)
    for name in SCHEMAS:
        write_text(FOLDER / f"{name}.schema.json", schema_text(name))
    write_text(PAGE, page_text())


if __name__ == "__main__":
    cli.run(main)
