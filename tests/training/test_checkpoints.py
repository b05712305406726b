"""`thaw.checkpoints`: a training that is broken off goes on to the same bytes, or starts anew."""

import thaw.networks.quiet  # noqa: F401

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

from thaw.core import environment, gpus
from thaw.networks import backbones, scratch
from thaw.training import checkpoints, choosing, classifiers, heads, loop, views
from thaw.training.views import Views

HEAD = heads.HeadSpec("average", (8,), 0.4, 0.01, "glorot_uniform", False)
EPOCHS, BATCHES = 3, 8
LABELS = np.arange(60) % 3
FEATURES = np.random.default_rng(0).normal(size=(60, 2, 4)).astype(np.float32)
PICTURES = np.random.default_rng(0).integers(0, 256, (60, 2, 32, 32, 3), np.uint8)


class BrokenOffError(Exception):
    pass


def head() -> keras.Model:
    return classifiers.head_alone(heads.layers(HEAD, 3), (4,))


def from_scratch() -> keras.Model:
    """With BatchNormalization and Dropout below the head too, both in training mode."""
    made = backbones.build("cifar10_cnn", 32, options=scratch.Options(batch_norm=True))
    maps = keras.layers.Dropout(0.3)(made.output)
    base = keras.Model(made.input, maps, name=made.name)
    spec = heads.HeadSpec("average", (8,), 0.4, 0.01, "he_uniform", False, batch_norm=True)
    whole = classifiers.classifier(base, heads.layers(spec, 3), "average", 32)
    top = classifiers.top(whole, base, None, "average", training_mode=True)
    return keras.Model(top.inputs, top.outputs)


def trained(
    path: Path,
    after: int | None = None,
    *,
    settings: str = "",
    optimizer: str = "adamw",
    make: Callable[[], keras.Model] = head,
    inputs: np.ndarray = FEATURES,
    show: Callable[[loop.Fitted], object] = lambda _: None,
    **more: object,
) -> tuple[list[bytes], loop.Fitted]:
    """Train, but break off after so many batches; the state and the history at the end."""
    keras.utils.set_random_seed(1)
    model = make()
    from_cache = views.from_cache(inputs)
    read = 0

    def batch(rows: np.ndarray, turns: np.ndarray) -> np.ndarray:
        nonlocal read
        read += 1
        if after is not None and read > after:
            raise BrokenOffError
        return from_cache(rows, turns)

    found = loop.fit(
        model,
        Views(batch, LABELS, batch_size=8, views=2, seed=1),
        Views(from_cache, LABELS, batch_size=8),
        loop.Optimization(optimizer, 0.01, "cosine", EPOCHS, ema=more.pop("ema", 0.0)),
        checkpoint=checkpoints.Checkpoint(path, checkpoints.key(settings, model, [])),
        show=show,
        **more,
    )
    variables = [*model.variables, *model.optimizer.variables]
    return [variable.numpy().tobytes() for variable in variables], found


def break_off(path: Path, after: int) -> None:
    with pytest.raises(BrokenOffError):  # and not what TensorFlow makes of it
        trained(path, after)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "rmsprop", "sgd"])
def test_broken_off_twice_it_ends_in_the_same_bytes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], optimizer: str
) -> None:
    undisturbed = trained(tmp_path / "whole.npz", optimizer=optimizer)
    for after in (BATCHES + 4, BATCHES + 3):  # Keras reads a batch more before it starts
        with pytest.raises(BrokenOffError):
            trained(tmp_path / "part.npz", after, optimizer=optimizer)
    capsys.readouterr()
    assert trained(tmp_path / "part.npz", optimizer=optimizer) == undisturbed
    assert "continues after epoch 2 of 3, where an earlier run stopped" in capsys.readouterr().out


def test_who_watches_sees_every_epoch_once_it_is_done_and_the_earlier_ones_first(
    tmp_path: Path,
) -> None:
    seen: list[loop.Rows] = []

    def show(found: loop.Fitted) -> None:
        seen.append(found.rows)

    history = trained(tmp_path / "whole.npz", show=show)[1].rows
    assert seen == [history[:1], history[:2], history]
    seen.clear()
    with pytest.raises(BrokenOffError):
        trained(tmp_path / "part.npz", BATCHES + 4, show=show)
    assert seen == [history[:1]]
    seen.clear()
    trained(tmp_path / "part.npz", show=show)
    assert seen == [history[:1], history[:2], history]


@pytest.mark.parametrize("select", ["loss", "accuracy", "f1", "roc_auc"])
def test_broken_off_it_takes_the_same_epoch(tmp_path: Path, select: str) -> None:
    """Averaged weights, the choice so far and the patience go on too."""
    options = {"selection": choosing.Selection(select, 3), "ema": 0.9, "from_start": True}
    undisturbed = trained(tmp_path / "whole.npz", **options)
    for after in (BATCHES + 4, BATCHES + 3):
        with pytest.raises(BrokenOffError):
            trained(tmp_path / "part.npz", after, **options)
    assert trained(tmp_path / "part.npz", **options) == undisturbed
    assert trained(tmp_path / "whole.npz", 0, **options) == undisturbed  # nothing is left to do


def test_broken_off_from_scratch_it_ends_in_the_same_bytes(tmp_path: Path) -> None:
    """Moving statistics go on from where they were, and so does what Dropout draws."""
    options = {"make": from_scratch, "inputs": PICTURES, "optimizer": "rmsprop"}
    undisturbed = trained(tmp_path / "whole.npz", **options)
    for after in (BATCHES + 4, BATCHES + 3):
        with pytest.raises(BrokenOffError):
            trained(tmp_path / "part.npz", after, **options)
    assert trained(tmp_path / "part.npz", **options) == undisturbed


def test_broken_off_after_the_last_epoch_nothing_is_trained_again(tmp_path: Path) -> None:
    undisturbed = trained(tmp_path / "a.npz")
    assert trained(tmp_path / "a.npz", after=2) == undisturbed


@pytest.mark.parametrize("damage", ["other settings", "cut short", "empty", "a byte changed"])
def test_what_is_not_this_trainings_or_not_whole_is_not_trusted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    path = tmp_path / "a.npz"
    undisturbed = trained(tmp_path / "whole.npz")
    break_off(path, BATCHES + 4)
    content = path.read_bytes()
    if damage == "cut short":
        path.write_bytes(content[:-100])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "a byte changed":
        place = content.index(b"\x93NUMPY") + 130  # in the first array's numbers
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    capsys.readouterr()
    settings = "x" if damage == "other settings" else ""
    assert trained(path, settings=settings) == undisturbed
    assert "continues" not in capsys.readouterr().out


def test_the_key_follows_all_that_a_result_depends_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = tmp_path / "inputs/a.png"
    picture.parent.mkdir()
    picture.write_bytes(b"one")
    keras.utils.set_random_seed(1)
    model = classifiers.head_alone(heads.layers(HEAD, 3), (4,))

    def key(settings: str = "") -> str:
        return checkpoints.key(settings, model, [picture.parent])

    keys = [key(), key("x")]
    assert key() == keys[0]
    picture.write_bytes(b"two")  # of the same size
    keys.append(key())
    picture.write_bytes(b"three")
    keys.append(key())
    model.layers[-1].bias.assign([0, 0, 1])
    keys.append(key())
    model.layers[-1].trainable = False
    keys.append(key())
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    keys.append(key())
    monkeypatch.setattr(gpus, "names", lambda: ("NVIDIA T4",))
    keys.append(key())
    monkeypatch.setattr(environment, "version", lambda name: f"{name} of tomorrow")
    keys.append(key())
    monkeypatch.setattr(checkpoints, "__file__", str(tmp_path / "thaw/checkpoints.py"))
    keys.append(key())  # other code
    assert len(set(keys)) == len(keys)


def test_nothing_is_left_at_the_end(tmp_path: Path) -> None:
    break_off(tmp_path / "a.npz", BATCHES + 4)
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]
    checkpoints.Checkpoint(tmp_path / "a.npz", "").remove()
    assert list(tmp_path.iterdir()) == []
