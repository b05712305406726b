"""`thaw.pictures.sessions`: how many pictures a network gets at once."""

from types import SimpleNamespace

import numpy as np
import pytest

from thaw.pictures import sessions


class Network:
    """Gives each picture's mean and its first pixel, and notes how many it got at once."""

    def __init__(self, count: int | str) -> None:
        self.count = count
        self.got: list[int] = []

    def get_inputs(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name="pictures", shape=[self.count, 2, 2, 3])]

    def run(self, _: None, given: dict[str, np.ndarray]) -> list[np.ndarray]:
        (taken,) = given.values()
        assert taken.dtype == np.float32
        self.got.append(len(taken))
        return [taken.mean(axis=(1, 2, 3)), taken[:, 0, 0]]


@pytest.mark.parametrize(
    ("count", "pictures", "got"),
    [("n", 1, [1]), ("n", 2, [2]), ("n", 8, [2, 2, 2, 2]), ("n", 3, [2, 1]), (1, 3, [1, 1, 1])],
)
def test_memory_does_not_grow_with_the_views(
    count: int | str, pictures: int, got: list[int]
) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (pictures, 2, 2, 3), np.uint8)
    network = Network(count)
    mean, first = sessions.run(network, pixels)
    assert network.got == got
    np.testing.assert_allclose(mean, pixels.mean(axis=(1, 2, 3)), rtol=1e-6)
    np.testing.assert_array_equal(first, pixels[:, 0, 0])
