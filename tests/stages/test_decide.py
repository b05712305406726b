"""What stage `decide` says in the terminal."""

from stages import decide


def found(temperature: float) -> dict[str, object]:
    return {
        "pictures": 800,
        "temperature": temperature,
        "cross_entropy": {"before": 0.0638, "after": 0.0601},
        "calibration_error": {"before": 0.0, "after": 0.0035},
        **dict.fromkeys(("threshold", "gains", "reject_below", "unlike_above")),
    }


def test_what_a_temperature_is_chosen_by_is_told() -> None:
    """The calibration error may be larger for it, by chance."""
    (line,) = decide.sentences(found(1.4371), calibrate=True)
    assert line == (
        "temperature 1.437: cross-entropy of 800 validation pictures 0.0638 before, 0.0601 after; "
        "calibration error 0.0000 and 0.0035"
    )


def test_no_temperature_has_its_reason() -> None:
    (line,) = decide.sentences(found(1.0), calibrate=True)
    assert "no other fits 800 validation pictures better by more than chance" in line
    (line,) = decide.sentences(found(1.0), calibrate=False)
    assert line.startswith("not calibrated (decide.calibrate); ")
