"""Pool feature maps to the features that a head reads."""

import thaw.networks.quiet  # noqa: F401

from collections.abc import Sequence

import keras


def pool(
    pooling: str, maps: Sequence[keras.KerasTensor], below: keras.KerasTensor | None = None
) -> keras.KerasTensor:
    """Feature maps, each (N, H, W, C), to (N, D): averages of all, then maxima of all.

    Args:
        pooling: average, max, average_max, or flatten (of one map, to (N, H W C)).
        maps: what the head reads.
        below: (N, 2, C) averages and maxima of maps before them, already pooled.
    """
    if pooling == "flatten":
        return keras.layers.Flatten(name="flatten")(maps[0])
    pooled = []
    for row, name, kind in (
        (0, "average", keras.layers.GlobalAveragePooling2D),
        (1, "max", keras.layers.GlobalMaxPooling2D),
    ):
        if pooling in (name, "average_max"):
            if below is not None:
                pooled.append(below[:, row])
            pooled += [kind(name=f"{name}_pooling_{i}")(each) for i, each in enumerate(maps)]
    return (
        pooled[0]
        if len(pooled) == 1
        else keras.layers.Concatenate(name=f"{pooling}_pooling")(pooled)
    )


def averages_and_maxima(maps: Sequence[keras.KerasTensor]) -> keras.KerasTensor:
    """Feature maps, each (N, H, W, C), to (N, 2, D): what the cache keeps of them for `pool`."""
    return keras.ops.stack([pool(kind, maps) for kind in ("average", "max")], axis=1)
