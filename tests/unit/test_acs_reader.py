import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmrtk.acs import acs_text
from nmrtk.acs_reader import parse_acs, parse_spectrum
from nmrtk.errors import SpectrumError
from nmrtk.spectrum import Peak, Spectrum


def pairs(text):
    return [(peak.ppm, peak.multiplicity) for peak in parse_spectrum(text, "13C").peaks]


TWO = [(30.9, ""), (206.9, "")]


@pytest.mark.parametrize(
    "text",
    [
        "13C NMR (101 MHz, CDCl3) δ 206.9, 30.9",
        "13C NMR (CDCl3, 101 MHz) δ 206.9, 30.9.",
        "¹³C NMR (CDCl₃, 101 MHz): δ = 206.9, 30.9 ppm",
        "13C{1H} NMR (101 MHz, CDCl3): δ 206.9; 30.9",
        "13C{¹H} NMR (101 MHz, CDCl3) delta 206.9 and 30.9",
        "13C-NMR 101 MHz, CDCl3, δ (ppm): 206.9, 30.9",
        "C-13 NMR 101 MHz CDCl3 206.9, 30.9",
        "13C NMR (101 MHz, Chloroform-d) δC 206.9, 30.9",
        "13C NMR (101 MHz, CDCl3, δ ppm) 206.9, 30.9",
        "13C NMR (101 MHz, CDCl3) δ 206,9; 30,9",
        "^13C NMR (101\N{NO-BREAK SPACE}MHz, CDCl3) δ 206.9,\N{THIN SPACE}30.9",
        "1H NMR (400 MHz, CDCl3) δ 2.17 (s, 6H). 13C NMR (101 MHz, CDCl3) δ 206.9, 30.9. "
        "HRMS (ESI) calcd for C3H6O 58.0419, IR 1715 cm-1",
        "13C NMR (101 MHz, CDCl3) δ 206.9, 30.9; 1H NMR (400 MHz, CDCl3) δ 2.17",
    ],
)
def test_heads_of_journals(text):
    spectrum = parse_spectrum(text, "13C")
    assert [(p.ppm, p.multiplicity) for p in spectrum.peaks] == TWO
    assert (spectrum.solvent, spectrum.field_mhz) == ("CDCl3", 101.0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("δ 206.9, 30.9", TWO),
        ("δ(C) = 206.9, 30.9", TWO),
        ("206.9, 30.9 ppm", TWO),
        ("206.9S 30.9Q(2C)", [(30.9, "Q"), (30.9, "Q"), (206.9, "S")]),
        ("δ 30.9 (2 × C)", [(30.9, ""), (30.9, "")]),
        ("δ 30.9 (2 x CH3), 1.0", [(1.0, ""), (30.9, "Q"), (30.9, "Q")]),
        ("δ 30.9 (CH3 × 2)", [(30.9, "Q"), (30.9, "Q")]),
        ("δ 30.9 (2CH₃)", [(30.9, "Q"), (30.9, "Q")]),
        ("δ 30.9 (CH2, 2C)", [(30.9, "T"), (30.9, "T")]),
        ("δ 30.9 (q), 206.9 (s)", [(30.9, "Q"), (206.9, "S")]),
        ("δ 140.1 (Cq)", [(140.1, "S")]),
        ("δ 30.9 × 2", [(30.9, ""), (30.9, "")]),
        ("δ 162.5 (d, J = 245.3 Hz)", [(162.5, "")]),
        ("δ 115.4 (d, J = 21.8 Hz, 2C)", [(115.4, ""), (115.4, "")]),
        ("δ 115.4 (d, ²JC–F = 21.8 Hz, CH)", [(115.4, "D")]),
        ("δ 170.1 (C-5), 55.2 (OCH3)", [(55.2, ""), (170.1, "")]),
        ("δ 170.1 (C-5'), 55.2 (C-2/6)", [(55.2, ""), (170.1, "")]),
        ("δ 170.1 (C=O), 55.2 (C1)", [(55.2, ""), (170.1, "")]),
        ("δ 128.4–128.8 (m, 3C)", [(128.4, ""), (128.6, ""), (128.8, "")]),
        ("δ 128.4-128.8", [(128.6, "")]),
        ("δ 30.9, −5.3", [(-5.3, ""), (30.9, "")]),
        ("δ 30.9, – 5.3", None),
    ],
)
def test_lines_of_journals(text, expected):
    if expected is None:
        with pytest.raises(SpectrumError):
            pairs(text)
    else:
        assert pairs(text) == expected


def test_conditions():
    spectrum = parse_acs("13C NMR (75 MHz, acetone-d6, 298 K): δ = 206.2, 170.1 ppm", "13C")
    assert (spectrum.solvent, spectrum.field_mhz) == ("acetone-d6", 75.0)
    assert spectrum.temperature_k == 298.0
    warm = parse_acs("13C NMR (DMSO-d6, 60 °C) δ 1.0", "13C")
    assert (warm.solvent, warm.temperature_k) == ("DMSO-d6", pytest.approx(333.15))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1H NMR (400 MHz) δ 7.2", "the text is of 1H, but 13C lines are needed"),
        ("13C NMR (CDCl3) δ foo", "at character 19 of the text: 'foo' is not a shift"),
        ("13C NMR (CDCl3) δ 30.9, 1e6", "at character 25 of the text: '1e6'"),
        ("13C NMR", "the text holds no shift"),
        ("δ 12.0 (1000C)", "count 1000 of the line at 12 is outside"),
        ("δ 12.0 (0C)", "count 0"),
        ("δ 99999.0", "shift 99999 ppm is impossible"),
        ("δ 12.0 (2C", "is not a shift"),
    ],
)
def test_faults_are_placed(text, message):
    with pytest.raises(SpectrumError, match=message):
        parse_spectrum(text, "13C")


lines = st.lists(
    st.tuples(
        st.integers(-200, 2300).map(lambda n: n / 10), st.sampled_from(["", "S", "D", "T", "Q"])
    ),
    min_size=1,
    max_size=12,
)


@given(lines, st.sampled_from(["", "CDCl3", "DMSO-d6", "C6D6"]), st.sampled_from([None, 101.0]))
def test_what_is_written_is_read(peaks, solvent, field):
    spectrum = Spectrum(
        "13C",
        tuple(
            sorted(
                (Peak(p, multiplicity=m) for p, m in peaks), key=lambda p: (p.ppm, p.multiplicity)
            )
        ),
        solvent=solvent,
        field_mhz=field,
    )
    read = parse_spectrum(acs_text(spectrum), "13C")
    assert sorted((p.ppm, p.multiplicity) for p in read.peaks) == sorted(peaks)
    assert (read.solvent, read.field_mhz) == (solvent, field)


@given(st.text("13C NMRδ0123456789.,;()–−×dJ=HzCH+- ", max_size=60) | st.text(max_size=30))
def test_any_text_is_read_or_refused(text):
    try:
        peaks = parse_spectrum(text, "13C").peaks
    except SpectrumError as error:
        peaks = (str(error),)
    assert peaks
