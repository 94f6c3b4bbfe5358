"""Words of demo images: true by the header, and they name no one."""

from __future__ import annotations

from pydicom.dataset import Dataset

from indexer import demo_images, demo_words


def header(**values: object) -> Dataset:
    found = Dataset()
    for keyword, value in values.items():
        setattr(found, keyword, value)
    return found


def test_that_a_radiograph_is_described_by_part_view_and_voltage() -> None:
    words = demo_words.of_header(
        header(
            Modality="CR", BodyPartExamined="CHEST", ViewPosition="PA", KVP="150", Laterality="R"
        ),
        demo_words.Given(),
    )
    assert words.title == "Radiograph of the chest, PA"
    assert words.text == (
        "Radiograph (X-ray) of the chest, PA view. Side: right. Tube voltage 150 kV."
    )
    assert (words.facets.modality, words.facets.body_part, words.facets.view) == (
        "CR",
        "chest",
        "PA",
    )
    assert words.facets.modality == "CR"


def test_that_an_mr_series_says_its_weighting_sequence_and_contrast_agent() -> None:
    words = demo_words.of_header(
        header(
            Modality="MR",
            BodyPartExamined="ABDOMEN",
            ScanningSequence="GR",
            RepetitionTime="5.53",
            EchoTime="2.81",
            ProtocolName="t1_vibe_fs_tra",
            ContrastBolusAgent="a gadolinium agent",
            ScanOptions=["SAT2", "FS"],
            MagneticFieldStrength="1.494",
        ),
        demo_words.Given(),
    )
    assert "T1-weighted. Gradient echo, TR 5.53 ms, TE 2.81 ms. 1.5 tesla." in words.text
    assert "With contrast agent. With fat suppression." in words.text
    assert "vibe" not in words.text, "a protocol is quoted only where our table says so"


def test_that_names_ids_dates_and_institutions_are_never_read() -> None:
    words = demo_words.of_header(
        header(
            Modality="US",
            PatientName="Sample^Name",
            PatientID="ID-4711",
            PatientBirthDate="19500102",
            StudyDate="20010203",
            InstitutionName="A hospital",
            ReferringPhysicianName="Doctor^Some",
            StudyDescription="Some Doctor",
            ImageType=["ORIGINAL", "PRIMARY", "CARDIOLOGY"],
        ),
        demo_words.Given(),
    )
    told = " ".join((words.title, words.text, repr(words.extra), repr(words.facets)))
    for word in ("Sample", "4711", "1950", "2001", "hospital", "Doctor"):
        assert word not in told
    assert "Cardiac examination (echocardiography)." in words.text


def test_that_an_age_of_zero_is_taken_as_removed() -> None:
    given = demo_words.Given()
    assert demo_words.of_header(header(PatientAge="000Y"), given).facets.age_years is None
    assert demo_words.of_header(header(PatientAge="058Y"), given).facets.age_years == 58


def test_that_quotes_are_made_readable() -> None:
    given = demo_words.Given(quotes=("StudyDescription", "SeriesDescription"))
    words = demo_words.of_header(
        header(Modality="MR", StudyDescription="SHOULDER", SeriesDescription="marked_lesion<MPR>"),
        given,
    )
    assert "Study: Shoulder. Series: marked lesion (MPR)." in words.text


def test_that_every_row_of_the_table_names_a_permissive_licence_and_an_address() -> None:
    known = ("MIT", "BSD-3-Clause", "Apache-2.0", "CC BY 3.0", "PDDL", "ICBM", "Matplotlib")
    for row in demo_images.rows():
        assert row.licence.startswith(known), row.path
        assert "NC" not in row.licence
        assert row.source_url.startswith("https://")
        assert row.given.title or row.path.endswith((".dcm", ".nii.gz"))
