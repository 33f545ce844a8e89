import pytest

from artifacts.errors import InputError
from assets.licences import Options, library_licences, licences_of, main
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
