"""Labels, colours, markers and order come from the entries of a study, and from nothing else."""

from __future__ import annotations

import json

import pandas as pd
import pytest
import write_entries
from trees.invented_study import MODELS, PLACES, SIGNALS, Invented, Signal, entries_table

from gradbrain.figures import style
from gradbrain.figures.declarations import FigureError
from gradbrain.figures.names import Names
from gradbrain.store import StoreError, write_table
from gradbrain.vocabulary.artefacts import columns_of


def names_of(signals: dict[str, Signal]) -> Names:
    return Names.of(entries_table(Invented(signals=signals)))


def test_entries_are_called_by_their_labels(names):
    for name, signal in SIGNALS.items():
        assert names.label("signal", name) == signal.label
    for name, (label, _) in MODELS.items():
        assert names.label("model", name) == label
    for name, place in PLACES.items():
        assert names.label("dataset", name) == place.label
        assert names.dataset_label(name, place.modality) == place.label
    assert names.label("modality", "ieeg") == "intracranial EEG"


def test_what_has_no_label_is_called_by_its_key():
    names = names_of({"my_signal": Signal("learning")})
    assert names.label("signal", "my_signal") == "my signal"
    assert names.label("model", "not_listed") == "not listed"
    assert names.quantity_label("my_signal", "unique") == "my signal, unique part"
    assert names.quantity_label("my_signal", "raw") == "my signal"


def test_a_data_set_without_a_label_says_its_modality(names):
    assert names.dataset_label("lab_pilot", "eeg") == "lab pilot (EEG)"
    assert names.dataset_label("lab_pilot", "own_kind") == "lab pilot (own kind)"


def test_colours_are_those_of_the_entries(names):
    for name, signal in SIGNALS.items():
        assert names.colour("signal", name) == signal.colour
    assert [names.marker(name) for name in SIGNALS] == ["o", "o", "s", "D", "^"]


def test_signals_without_a_colour_take_one_by_their_place_among_their_role():
    names = names_of(
        {
            "a": Signal("activation"),
            "first": Signal("learning"),
            "c1": Signal("control"),
            "second": Signal("learning"),
            "c2": Signal("control"),
        }
    )
    palettes = style.PALETTES
    assert names.colour("signal", "a") == palettes["activation"][0]
    assert names.colour("signal", "first") == palettes["learning"][0]
    assert names.colour("signal", "second") == palettes["learning"][1]
    assert names.colour("signal", "c2") == palettes["control"][1]


def test_signals_that_share_a_panel_never_share_a_look():
    signals = {"a": Signal("activation")}
    # One of them has the colour that the palette would give another.
    signals |= {f"l{i}": Signal("learning") for i in range(4)}
    signals["l4"] = Signal("learning", colour=style.PALETTES["learning"][1].lower())
    signals |= {f"c{i}": Signal("control") for i in range(8)}
    names = names_of(signals)
    looks = {(names.colour("signal", name).upper(), names.marker(name)) for name in signals}
    labels = {names.label("signal", name) for name in signals}
    assert len(looks) == len(labels) == len(signals)


def test_order_is_activation_learning_controls_each_as_listed():
    signals = {
        "zebra": Signal("learning"),
        "control": Signal("control"),
        "last": Signal("activation"),
        "apple": Signal("learning"),
    }
    names = names_of(signals)
    roles = {name: signal.role for name, signal in signals.items()} | {"unlisted": "learning"}
    expected = ["last", "zebra", "apple", "unlisted", "control"]
    assert names.order_signals(roles, roles) == expected
    assert names.order_signals(reversed(list(roles)), roles) == expected


def test_untrained_models_stand_last_whatever_they_are_called():
    models = {
        "untrained_looking": ("b", "trained"),
        "plain": ("c", "untrained"),
        "a_model": ("a", "trained"),
    }
    names = Names.of(entries_table(Invented(models=models)))
    assert names.order_models(models) == ["untrained_looking", "a_model", "plain"]


def test_data_sets_by_region_stand_before_those_over_time(names):
    axes = {name: place.axis for name, place in PLACES.items()} | {"fmri_like": "time"}
    assert names.order_datasets(dict(reversed(axes.items()))) == [*PLACES, "fmri_like"]


def test_a_control_of_several_signals_is_one_entry():
    signals = {
        "a": Signal("activation"),
        "l1": Signal("learning"),
        "l2": Signal("learning"),
        "c1": Signal("control", control_of=("l1", "l2")),
        "c2": Signal("control", control_of=("l1",)),
    }
    table = entries_table(Invented(signals=signals))
    assert (table["name"] == "c1").sum() == 2
    names = Names.of(table)
    assert [entry.name for entry in names.entries if entry.kind == "signal"] == list(signals)
    assert names.marker("c2") == style.CONTROL_MARKERS[1]


def test_names_that_are_not_listed_follow_those_that_are(names):
    data = pd.DataFrame(
        {
            "model": "new_model",
            "dataset": "new_set",
            "modality": "fmri",
            "signal": ["gradient_dino", "new_b", "new_a", "new_control"],
            "role": ["learning", "learning", "learning", "control"],
        }
    )
    more = names.including(data)
    roles = dict(zip(data["signal"], data["role"], strict=True))
    order = ["gradient_dino", "new_a", "new_b", "new_control"]
    assert more.order_signals(roles, roles) == order
    assert more.colour("signal", "gradient_dino") == names.colour("signal", "gradient_dino")
    assert len({more.colour("signal", name) for name in order[:3]}) == 3
    assert more.marker("new_control") == style.CONTROL_MARKERS[3]
    assert more.label("dataset", "new_set") == "new set"
    assert names.colour("signal", "new_a") == style.MUTED


def test_keys_that_look_like_missing_values_or_numbers_are_kept(tmp_path):
    signals = {"null": Signal("activation"), "NA": Signal("learning"), "007": Signal("control")}
    path = tmp_path / "entries.csv"
    write_table(path, entries_table(Invented(signals=signals)), kind="entries")
    names = Names.read(path)
    assert [entry.name for entry in names.entries if entry.kind == "signal"] == list(signals)


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("colour", "bluish", r"colour of the model 'mobilenetv2_100.*'bluish'.*registry entry"),
        ("kind", "planet", r"kind 'planet'; expected one of \['model'"),
    ],
)
def test_an_entry_that_is_wrong_is_named(tmp_path, column, value, said):
    table = entries_table(Invented())
    table.loc[0, column] = value
    path = tmp_path / "entries.csv"
    write_table(path, table, kind="entries")
    with pytest.raises(FigureError, match=said):
        Names.read(path)


def test_a_table_of_entries_that_is_missing_is_named(tmp_path):
    with pytest.raises(StoreError, match=r"entries\.csv"):
        Names.read(tmp_path / "entries.csv")


def arguments(folder, records):
    return ["--entries", json.dumps(records), "--output", str(folder / "entries.csv")]


def test_entries_come_back_as_they_were_written(tmp_path):
    records = entries_table(Invented()).to_dict("records")
    write_entries.main(arguments(tmp_path, records))
    assert Names.read(tmp_path / "entries.csv") == Names.of(entries_table(Invented()))
    written = pd.read_csv(tmp_path / "entries.csv")
    assert tuple(written.columns) == columns_of("entries")


def test_entries_of_other_columns_are_refused(tmp_path):
    records = entries_table(Invented()).drop(columns="role").to_dict("records")
    with pytest.raises(StoreError, match=r"missing: role"):
        write_entries.main(arguments(tmp_path, records))
