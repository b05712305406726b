"""The tables of what models say."""

import pytest

from thaw.evaluation import predictions


@pytest.mark.parametrize("share", [0.0, 1.0, 0.5, 1e-5, 1.23456789e-7, 0.99999999, 0.000123456])
def test_shares_are_written_as_python_writes_six_digits(share: float) -> None:
    assert predictions.six_digits(share) == repr(float(f"{share:.6g}"))
