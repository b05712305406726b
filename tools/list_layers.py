"""Write src/thaw/core/layers/: the layers of each base model, which parameters are checked against.

    python tools/list_layers.py [NAME ...]

To be run when another version of Keras is pinned.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

import keras

from thaw.core import graphs
from thaw.files.serialize import write_csv, write_text
from thaw.networks import backbones, scratch

SIZE = 96  # every network takes that; layers don't follow from it
BATCH_NORM = scratch.Options(batch_norm=True)


def rows(base: keras.Model) -> list[tuple[str, str, int]]:
    passed = set(backbones.bottlenecks(base))
    return [
        (layer.name, type(layer).__name__, int(index in passed))
        for index, layer in enumerate(base.layers)
    ]


def main() -> None:
    ours = [name for name in graphs.OWN if name not in graphs.OPTIONAL]
    for name in sys.argv[1:] or [*backbones.names(), *ours]:
        write_csv(graphs.LAYERS / f"{name}.csv", graphs.COLUMNS, rows(backbones.build(name, SIZE)))
        print(name, flush=True)
        keras.utils.clear_session()
    for name in scratch.NAMES:
        for options in (scratch.DEFAULT, BATCH_NORM):
            network = backbones.build(name, SIZE, options=options)
            path = graphs.path(name, options.batch_norm)
            write_csv(path, graphs.COLUMNS, rows(network))
    write_text(graphs.LAYERS / "keras.txt", f"{keras.__version__}\n")


if __name__ == "__main__":
    main()
