"""Words for modalities become DICOM codes."""

from __future__ import annotations

import pytest

from indexer import modalities


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("XR", "DX"),
        ("X-ray", "DX"),
        ("chest x Ray", "DX"),
        ("Xray - plain film", "DX"),
        ("CXR", "DX"),
        ("Radiograph", "DX"),
        ("CR", "CR"),
        ("CR chest", "DX"),
        ("DX", "DX"),
        ("MRI", "MR"),
        ("MRI/FLAIR", "MR"),
        ("T2 weighted", "MR"),
        ("T1", "MR"),
        ("Diffusion Weighted Imaging (DWI)", "MR"),
        ("MR angiography", "MR"),
        ("CT", "CT"),
        ("CT angiography", "CT"),
        ("Non-contrast CT", "CT"),
        ("computed tomography", "CT"),
        ("PET/CT", "PT"),
        ("ultrasound", "US"),
        ("Sonogram", "US"),
        ("us-d - doppler ultrasound", "US"),
        ("angiography", "XA"),
        ("mammogram", "MG"),
        ("mammography", "MG"),
        ("fluoroscopy", "RF"),
        ("barium swallow", "RF"),
        ("nuclear medicine", "NM"),
        ("SEG", "SEG"),
        ("rtdose", "RTDOSE"),
    ],
)
def test_that_words_for_a_modality_are_its_dicom_code(words: str, code: str) -> None:
    assert modalities.code(words) == code


@pytest.mark.parametrize("words", ["", "contrast", "with contrast", "PA", "Oral and IV", "yes"])
def test_that_words_which_name_no_modality_have_no_code(words: str) -> None:
    assert modalities.code(words) == ""


def test_that_a_code_stays_what_it_is() -> None:
    for code in (
        "DX",
        "CR",
        "CT",
        "MR",
        "US",
        "XA",
        "MG",
        "PT",
        "RF",
        "NM",
        "OT",
        "SEG",
        "SR",
        "IO",
    ):
        assert modalities.code(code) == code
        assert modalities.code(code.lower()) == code
