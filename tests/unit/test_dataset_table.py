"""The table of what data sets can answer is that of their entries."""

import write_dataset_table


def rows():
    lines = write_dataset_table.table().splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return {cell[0].strip("` "): cell[1:] for cell in cells}


def test_the_page_holds_the_table():
    page = write_dataset_table.PAGE.read_text(encoding="utf-8")
    assert write_dataset_table.table() in page, "run scripts/write_dataset_table.py"


def test_what_the_data_sets_can_answer_follows_from_their_entries():
    found = rows()
    assert found["things_eeg2"][:3] == ["10", "–", "yes"]
    assert found["things_meg"][2] == "no: 4 people, 6 are needed"
    assert found["objects92"][1] == found["nsd"][1] == "yes"
    assert "clusters" in found["laion_fmri"][4] and found["things_fmri"][4] == "concepts"
    assert found["things_fmri"][5] == "all its people, `things_meg`, `things_eeg2`"
    assert found["algonauts2023"][3] == "none"
