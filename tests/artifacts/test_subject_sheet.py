"""Subject sheets are read as they are written by people and by spreadsheets, and their mistakes are named."""

from __future__ import annotations

import pytest

from artifacts.errors import InputError
from artifacts.subject_sheet import COLUMNS, place_in_sheet, read_subject_sheet


def written(folder, text, encoding="utf-8"):
    path = folder / "subjects.tsv"
    path.write_bytes(text.encode(encoding))
    return path


def test_rows_are_subjects_and_empty_cells_are_left_out(tmp_path):
    text = "name\tclip\trole\tconsent\tstart_s\tnotes\nanna\tclips/an na.mp4\t\tA-17\t2.5\t\nbob\tb.mp4\tdriver\n"
    assert read_subject_sheet(written(tmp_path, text)) == {
        "anna": {"video": "clips/an na.mp4", "consent": "A-17", "start_s": 2.5},
        "bob": {"video": "b.mp4", "role": "driver"},
    }


def test_what_a_spreadsheet_saves_is_read(tmp_path):
    text = '\ufeffclip\tname\r\n"clips/a ""b"".mp4"\tanna \r\n\t\r\n'
    assert read_subject_sheet(written(tmp_path, text)) == {"anna": {"video": 'clips/a "b".mp4'}}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "lacks the column 'name'; the first row names the columns"),
        ("name,clip\nanna,a.mp4\n", "lacks the column 'name'"),
        ("name\tvideo\n", "lacks the column 'clip'"),
        ("name\tclip\tage\n", "unknown column 'age'; there are name, clip"),
        ("name\tclip\tname\n", "has the column 'name' twice"),
        ("name\tclip\n", "names no subject"),
        ("name\tclip\nanna\ta.mp4\n\nanna\tb.mp4\n", "row 4: there is a subject 'anna' already"),
        ("name\tclip\nanna\t\n", "row 2: has no clip"),
        ("name\tclip\n\ta.mp4\n", "row 2: has no name"),
        ("name\tclip\nanna\ta.mp4\tx\n", "row 2: has 3 cells, but there are 2 columns"),
        ("name\tclip\tstart_s\na\tb\tsoon\n", "start_s is 'soon', but must be a number"),
        ('name\tclip\nanna\t"a.mp4\n', "is no table of tabulator-separated UTF-8"),
    ],
)
def test_a_mistake_is_named_with_its_row(tmp_path, text, sentence):
    path = written(tmp_path, text)
    with pytest.raises(InputError) as error:
        read_subject_sheet(path)
    assert sentence in str(error.value)
    assert str(path) in str(error.value)


def test_the_place_of_a_value_is_that_of_the_table(tmp_path):
    path = written(tmp_path, "clip\tname\trole\na.mp4\tanna\n\nb.mp4\tbob\tboss\n")
    assert place_in_sheet(path, "anna", "video") == "row 2, column clip"
    assert place_in_sheet(path, "bob", "role") == "row 4, column role"
    assert place_in_sheet(path, "bob") == "row 4"
    with pytest.raises(InputError, match="has no subject 'cid'"):
        place_in_sheet(path, "cid")


def test_files_that_are_no_table(tmp_path):
    with pytest.raises(InputError, match=r"none\.tsv: No such file.*give the path"):
        read_subject_sheet(tmp_path / "none.tsv")
    with pytest.raises(InputError, match="is no table of tabulator-separated UTF-8"):
        read_subject_sheet(written(tmp_path, "name\tclip\tänna", "utf-16"))


def test_columns_are_keys_of_a_subject_in_the_schema():
    from pathlib import Path

    import yaml

    schema = Path(__file__).parents[2] / "workflow/schemas/config.schema.yaml"
    subjects = yaml.safe_load(schema.read_text())["properties"]["subjects"]
    assert set(COLUMNS.values()) == subjects["additionalProperties"]["properties"].keys() - {
        "synthetic"
    }
