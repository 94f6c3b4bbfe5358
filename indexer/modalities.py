"""Words for modalities -> DICOM codes."""

from __future__ import annotations

import re

# DICOM has CR (storage plates) and DX (digital detectors) for radiographs; a source that gives
# the very code is believed and keeps it. A caption that says "X-ray", "XR" or "radiograph" does
# not tell which, so such words are DX. Codes: DICOM PS3.3 C.7.3.1.1.1.
_RADIOGRAPH = "DX"

# The first pattern found in the words decides: "CT angiography" is CT, "MR angiography" is MR,
# "PET/CT" is PT, and a bare "angiography" is XA.
_PATTERNS: tuple[tuple[str, str], ...] = (
    (r"pet|positron|pt", "PT"),
    (r"spect|scintigra\w*|scintigram|nuclear|nm|bone scan", "NM"),
    (r"cta|cect|ncct|cbct|ct|cat scan|(computed|computerized|computerised) tomogra\w*", "CT"),
    (r"mra|mrv|mrcp|mri|mr|fmri|magnetic resonance|nmr", "MR"),
    (r"flair|dwi|adc|swi|stir|diffusion weighted|proton density|pdw|gadolinium", "MR"),
    (r"t1w?|t2w?|t1 weighted|t2 weighted|t2 star", "MR"),
    (r"ivus|intravascular ultrasound", "IVUS"),
    (r"us|ultrasound|ultrasonogra\w*|sonogra\w*|sonogram|doppler|echocardiogra\w*|echo", "US"),
    (r"mammo\w*|mg|tomosynthesis", "MG"),
    (r"xa|dsa|angio\w*|arteriogra\w*|venogra\w*", "XA"),
    (r"rf|fluoro\w*|barium|upper gi|ugi|swallow|enema|sbft|esophagogra\w*|videofluoro\w*", "RF"),
    (r"xr|x ray|xray|cxr|axr|kub|cr|dx|dr|radiogra\w*|roentgen\w*|plain film", _RADIOGRAPH),
    (r"pathology|histopathology|histology|sm|slide microscopy", "SM"),
    (r"endoscop\w*|es|colonoscop\w*|bronchoscop\w*", "ES"),
    (r"oct|optical coherence", "OCT"),
    (r"fundus\w*|op|ophthalmic photogra\w*", "OP"),
    (r"seg|segmentation", "SEG"),
    (r"ot|other", "OT"),
)
_COMPILED = tuple((re.compile(rf"\b(?:{words})\b"), code) for words, code in _PATTERNS)
# Codes that stand as they are; no sentence holds them by chance.
_CODES = frozenset(
    (
        "AU",
        "BI",
        "BMD",
        "CR",
        "DG",
        "DOC",
        "ECG",
        "EEG",
        "EPS",
        "FID",
        "GM",
        "HC",
        "HD",
        "IO",
        "IVOCT",
    )
    + ("KER", "KO", "LEN", "LS", "OAM", "OPM", "OPT", "OPTBSV", "OPTENF", "OPV", "OSS", "PLAN")
    + ("PR", "PX", "REG", "RESP", "RG", "RTDOSE", "RTIMAGE", "RTPLAN", "RTRECORD", "RTSTRUCT")
    + ("RWV", "SR", "SRF", "STAIN", "TG", "VA", "XC")
)


def code(words: str) -> str:
    """Return the DICOM code that words stand for, or "" where they name no modality.

    Case, hyphens and strokes make no difference: "chest x Ray", "X-ray", "CXR",
    "XR" and "radiograph" are "DX", "T2 weighted" is "MR"; the code "CR" stays "CR".
    """
    if words.strip().upper() in _CODES:
        return words.strip().upper()
    plain = " ".join(re.findall(r"[a-z0-9]+", words.casefold()))
    for pattern, found in _COMPILED:
        if pattern.search(plain):
            return found
    return ""
