import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from nmrtk.errors import SpectrumError
from nmrtk.peaklist import MAX_COUNT, clean_multiplicity, format_peaks, parse_peaks
from nmrtk.spectrum import Peak, Spectrum


def pairs(text, nucleus="13C"):
    return [(peak.ppm, peak.multiplicity) for peak in parse_peaks(text, nucleus).peaks]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("206.9S 30.9Q(2C)", [(30.9, "Q"), (30.9, "Q"), (206.9, "S")]),
        ("206.9, 30.9", [(30.9, ""), (206.9, "")]),
        ("206.9|30.9|", [(30.9, ""), (206.9, "")]),
        ("206.9 s; 30.9 q x2", [(30.9, "Q"), (30.9, "Q"), (206.9, "S")]),
        ("128.4D(6)", [(128.4, "D")] * 6),
        ("128.4 (2C) d", [(128.4, "D")] * 2),
        ("30,9; 206,9S", [(30.9, ""), (206.9, "S")]),
        ("30,9", [(9.0, ""), (30.0, "")]),
        ("\N{MINUS SIGN}0.5 .5 +7", [(-0.5, ""), (0.5, ""), (7.0, "")]),
        (" 12.\n", [(12.0, "")]),
    ],
)
def test_forms_that_people_write(text, expected):
    assert pairs(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the peak list is empty"),
        (" ; ", "the peak list is empty"),
        ("206.9 abc", "at character 7 of the peak list: 'abc' is not a peak"),
        ("1e9", "'1e9' the shift 1e.09 ppm is impossible"),
        ("nan", "'nan' is not a peak"),
        ("S 30.9", "at character 1 .*'S' follows no shift"),
        ("30.9S Q", "'Q' is a second letter"),
        ("30.9x2 (2C)", "'.2C.' is a second count"),
        ("30.9(0C)", "count outside 1 to 500"),
        ("30.9(99999999999C)", "count outside 1 to 500"),
        ("30.9(2H)", "counts H in a 13C spectrum"),
        ("10.5,20.5;30", "'10.5,20.5' is not a peak"),
        ("120-125", "'120-125' is not a peak"),
        ("17.6;0.0Q|x;3", "at character 11 .*'x' is not a peak"),
    ],
)
def test_faults_are_placed_and_explained(text, message):
    with pytest.raises(SpectrumError, match=message) as caught:
        parse_peaks(text, "13C")
    assert "206.9S 30.9Q(2C)" in str(caught.value)


def test_counts_of_other_elements():
    assert pairs("-5.3 (2P)", "31P") == [(-5.3, "")] * 2


peaks = st.builds(
    Peak,
    ppm=st.floats(-10_000, 10_000),
    multiplicity=st.sampled_from(["", "S", "D", "T", "Q"]),
)


@given(st.lists(peaks, min_size=1, max_size=30))
def test_round_trip(lines):
    spectrum = Spectrum("13C", tuple(lines))
    assert parse_peaks(format_peaks(spectrum), "13C") == spectrum


def test_round_trip_of_more_lines_than_one_count_holds():
    spectrum = Spectrum("31P", (Peak(1.5),) * (MAX_COUNT + 1))
    assert parse_peaks(format_peaks(spectrum), "31P") == spectrum


@given(st.text(max_size=40) | st.text("0123456789.,;|()xeSDTQC +-", max_size=40))
def test_any_text_is_read_or_refused(text):
    try:
        peaks = parse_peaks(text, "13C").peaks
    except SpectrumError as error:
        message = str(error)
        event("refused")
    else:
        message = "peak list"
        assert peaks
        event("read")
    assert "peak list" in message


def test_multiplicities_of_sources():
    assert [clean_multiplicity(t, "13C") for t in (" q", "CH", "CH3", "m", "SD", "")] == [
        *("Q", "D", "Q"),
        *("", "", ""),
    ]
    assert clean_multiplicity("br s", "1H") == "br s"
