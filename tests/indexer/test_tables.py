"""Rows of a table become cases, or are skipped with a reason."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import phantoms
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer import sources, tables
from medsearch_desktop import cases, errors
from medsearch_desktop.imaging import isolated


@pytest.fixture
def reading() -> Iterator[sources.Reading]:
    readers = isolated.Readers(1)
    yield sources.Reading(readers, 24)
    readers.close()


def _read(table: Path, reading: sources.Reading, columns: str = "") -> list[object]:
    return list(tables.read(table, tables.columns(columns), reading))


def test_that_a_row_becomes_a_case_with_all_its_fields(
    tmp_path: Path, reading: sources.Reading
) -> None:
    picture = phantoms.write_picture(tmp_path / "pack" / "images" / "a.png")
    table = tmp_path / "pack" / "manifest.csv"
    table.write_text(
        "path,item_id,patient_id,study_id,text,labels,modality,view,body_part,sex,age,licence,"
        "source_url,notes,doi\n"
        'images/a.png,a-1,p1,s1,"A nodule. It is round.",nodule| lung |,X-ray,PA,CHEST,F,61,'
        "CC BY,https://example.org/a,small,10.1/x\n",
        "utf-8",
    )
    assert _read(table, reading) == [
        cases.Case(
            case_id="a-1",
            title="A nodule",
            text="A nodule. It is round.",
            labels=("nodule", "lung"),
            facets=cases.Facets("DX", "PA", "chest", "F", 61.0),
            provenance=cases.Provenance("CC BY", "pack", "https://example.org/a"),
            images=(cases.CaseImage(cases.ImageRef(str(picture))),),
            patient="p1",
            study="s1",
            extra=(("modality_given", "X-ray"), ("notes", "small"), ("doi", "10.1/x")),
        )
    ]


def test_that_a_row_without_a_path_is_a_text_only_case(
    tmp_path: Path, reading: sources.Reading
) -> None:
    table = tmp_path / "reports.csv"
    table.write_text("path,item_id,text\n,r1,Normal chest.\n,r2,\n", "utf-8")
    case, skipped = _read(table, reading)
    assert isinstance(case, cases.Case)
    assert (case.case_id, case.title, case.images) == ("r1", "Normal chest", ())
    assert isinstance(skipped, sources.Skipped)
    assert skipped.path.endswith("reports.csv:3")


def test_that_other_column_names_are_mapped(tmp_path: Path, reading: sources.Reading) -> None:
    table = tmp_path / "t.csv"
    table.write_text("nr;bericht;quelle\n7;Kein Erguss.;https://example.org\n", "utf-8-sig")
    (case,) = _read(table, reading, "id=nr, text=bericht,source=quelle")
    assert isinstance(case, cases.Case)
    assert (case.case_id, case.text) == ("7", "Kein Erguss.")
    assert case.provenance == cases.Provenance("", "t", "https://example.org")


def test_that_one_array_of_a_file_is_one_image(tmp_path: Path, reading: sources.Reading) -> None:
    (tmp_path / "a.npz").write_bytes(b"")
    table = tmp_path / "t.csv"
    table.write_text("path,item_id\na.npz#images[7],x\n", "utf-8")
    (case,) = _read(table, reading)
    assert isinstance(case, cases.Case)
    assert case.images[0].ref.path == f"{tmp_path}/a.npz#images[7]"


def test_that_a_dicom_folder_and_a_volume_stand_for_their_slices(
    tmp_path: Path, reading: sources.Reading
) -> None:
    phantoms.write_ct_series(tmp_path / "ct", slices=6)
    phantoms.write_nifti(tmp_path / "mr.nii.gz", (20, 24, 40))
    table = tmp_path / "t.csv"
    table.write_text("path,item_id\nct,a\nmr.nii.gz,b\n", "utf-8")
    found = _read(table, reading)
    assert [len(c.images) for c in found if isinstance(c, cases.Case)] == [6, 24]


def test_that_a_missing_file_is_skipped_and_the_rest_is_read(
    tmp_path: Path, reading: sources.Reading
) -> None:
    phantoms.write_picture(tmp_path / "b.png")
    table = tmp_path / "t.csv"
    table.write_text("path,item_id\na.png,a\nb.png,b\n", "utf-8")
    missing, case = _read(table, reading)
    assert missing == sources.Skipped(str(tmp_path / "a.png"), "There is no such file or folder.")
    assert isinstance(case, cases.Case)


def test_that_a_row_with_too_few_or_too_many_fields_is_skipped_with_its_line(
    tmp_path: Path, reading: sources.Reading
) -> None:
    table = tmp_path / "t.csv"
    table.write_text('item_id,text\na\nb,"two\nlines"\nc,x,y\n\n', "utf-8")
    short, case, long = _read(table, reading)
    assert short == sources.Skipped(f"{table}:2", "The row has 1 fields, the header 2.")
    assert isinstance(case, cases.Case)
    assert long == sources.Skipped(f"{table}:5", "The row has 3 fields, the header 2.")


@pytest.mark.parametrize(
    ("content", "columns", "reason"),
    [
        (b"", "", "no header"),
        (b"colour,size\nred,3\n", "", "none of its columns"),
        (b"path,path\na,b\n", "", "more than once"),
        (b"path,text\na,b\n", "id=number", "no column 'number'; it has path, text"),
        (b"text\n\xff\xfe\n", "", "not UTF-8"),
        (b'text\n"' + b"x" * 4_100_000 + b'"\n', "", "field limit"),
    ],
)
def test_that_a_table_which_cannot_be_used_is_refused_with_the_reason(
    tmp_path: Path, reading: sources.Reading, content: bytes, columns: str, reason: str
) -> None:
    table = tmp_path / "t.csv"
    table.write_bytes(content)
    with pytest.raises(errors.TableError, match=reason):
        _read(table, reading, columns)


@pytest.mark.parametrize("mapping", ["path", "path=", "colour=red", "=x"])
def test_that_a_mapping_which_is_not_understood_is_refused(mapping: str) -> None:
    with pytest.raises(errors.QuerySyntaxError, match="--columns"):
        tables.columns(mapping)


@given(st.binary(max_size=300) | st.text(st.sampled_from('a,;"\n\r\t|path#\0é'), max_size=80))
def test_that_any_file_gives_rows_reasons_or_a_sentence(content: bytes | str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "t.csv"
        plain = content if isinstance(content, bytes) else content.encode()
        table.write_bytes(b"path,text,labels\n" + plain)
        with contextlib.suppress(errors.TableError):
            for row in tables.rows(table, {}):
                assert isinstance(row, tables.Row | sources.Skipped)


def test_that_a_field_may_be_called_as_its_column_is():
    assert tables.columns("item_id=a, patient_id=b,study_id=c") == tables.columns(
        "id=a,patient=b,study=c"
    )
