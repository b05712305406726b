"""Predict each picture but the test ones by a model that didn't see it: folds/.

    make folds [K=5] [REPEATS=1] [FINE_TUNE=1]
    python src folds --k 5 --repeats 1 --fine-tune

Divides the training and validation pictures into K folds, stratified by class; what `split.group`
or near-duplicates tie lies in one fold. For each fold the head is trained on the others, from the
cache, as `params.yaml` says. Prints means, spreads and intervals; writes metrics/folds.json and
folds/predictions.csv. The test pictures are never read. A run that was killed goes on where it was.
With `engine: ray` and --fine-tune, folds are trained side by side on the nodes of a Ray cluster.
"""

import thaw.networks.quiet  # noqa: F401

import argparse
import contextlib
import hashlib
import io
import logging
import math
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnxruntime
import pandas as pd
import tensorflow as tf
from numpy.typing import NDArray
from tqdm import tqdm

import workspace
from stages import extract_features, fine_tune, train_head
from thaw.core import engines, places
from thaw.core.arguments import Parser, whole
from thaw.core.errors import ThawError, shortlist, some
from thaw.core.params import Params, plain
from thaw.core.progress import Lines
from thaw.evaluation import deciding, differences
from thaw.features import cache, stores
from thaw.features.extraction import Extractor, extract
from thaw.files import tables
from thaw.files.serialize import atomic
from thaw.networks import backbones
from thaw.networks.onnx_export import to_onnx
from thaw.pictures import augmentation, decoding, sessions
from thaw.review import folds
from thaw.review.folds import Joined, Numbers
from thaw.review.revisions import WORKSPACE, Revision, opened
from thaw.training import batches, classifiers, heads, loop
from thaw.training.choosing import Selection
from thaw.training.views import Reader, Views, from_cache, from_pictures, together

logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns where each fold has its model
KEPT = workspace.UNFINISHED / "folds"
BEFORE = ("download", "weights", "split", "freeze", "extract_features")  # what makes the cache
IN_MEMORY = 2**29  # bytes: what the head reads is read once where it is no more
AT_ONCE = 64  # steps in one call
BATCH = 256  # pictures that are predicted at once
Parts = list[NDArray[Any]]


@dataclass(frozen=True)
class Material:
    """What folds are made of: the cache's pictures, training ones first, then validation's."""

    params: Params
    facts: cache.Facts
    rows: pd.DataFrame  # of data/split.csv
    units: Numbers
    learn: dict[str, Parts]  # bottleneck and boundary of the views that are trained on
    predict: dict[str, Parts]  # and of those whose mean is predicted
    share: float  # of the pictures that are validated on
    session: onnxruntime.InferenceSession

    @property
    def labels(self) -> Numbers:
        """(pictures,) class numbers."""
        found: Numbers = self.rows["label"].map(self.facts.classes.index).to_numpy(np.int64)
        return found

    @property
    def symmetries(self) -> list[tuple[int, bool, bool]]:
        """What is averaged over."""
        averaged = self.facts.augmentation.symmetries
        return averaged if self.params.average_views else [(0, False, False)]


@dataclass(frozen=True)
class Source(batches.Source):
    """A fold's part of the cache, in the place of the cache's files."""

    arrays: dict[str, Any] = None  # type: ignore[assignment]

    def read(self, name: str) -> Any:
        """An array of the part, by its name in the cache."""
        return self.arrays[name]


def arguments() -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument(
        "--k", type=whole(2), default=5, metavar="K", help="folds (default: %(default)s)"
    )
    parser.add_argument(
        "--repeats",
        type=whole(1),
        default=1,
        metavar="R",
        help="divide so often, each time otherwise (default: %(default)s)",
    )
    parser.add_argument(
        "--fine-tune", action="store_true", help="fine-tune in each fold, too, which takes long"
    )
    parser.add_argument("--only", metavar="NAME", help="train this fold alone, as a cluster's node")
    return parser.read()


def check(now: Revision, params: Params, given: argparse.Namespace) -> cache.Facts:
    """Refuse a cache that isn't there or is of other parameters, and a head that isn't trained."""
    if not (workspace.FEATURES / "features.json").is_file():
        raise ThawError(
            f"{workspace.FEATURES} is missing; run `make folds`, or `dvc repro extract_features`"
        )
    if changed := now.stale(BEFORE):
        raise ThawError(
            f"{workspace.FEATURES} was made before these changed in params.yaml: "
            f"{shortlist(changed)}; run `make folds`, or `dvc repro extract_features`"
        )
    if given.fine_tune and params.fine_tune_at is None:
        raise ThawError(
            "params.yaml: fine_tune_at: null: nothing is fine-tuned; leave out --fine-tune "
            "(FINE_TUNE=1), or set it"
        )
    if not given.fine_tune and params.head.classifier == "dense" and not params.head.epochs:
        raise ThawError(
            "params.yaml: head.epochs: 0: the head isn't trained by itself; add --fine-tune "
            "(FINE_TUNE=1), or set it"
        )
    bottleneck, boundary = (
        [cache.read(workspace.FEATURES, f"{name}_{kind}") for name in ("train", "validation")]
        for kind in ("bottleneck", "boundary")
    )
    read = boundary if given.fine_tune else []
    if sum(part.nbytes for part in bottleneck) > IN_MEMORY:
        read = [*read, *bottleneck]
    if any(isinstance(part, stores.Parts) and part.scattered for part in read):
        raise ThawError(
            f"params.yaml: cache.store: {params.cache.store}: folds read pictures in any order, "
            "which would fetch most parts for each batch; set a folder, or null"
        )
    return cache.read_facts(workspace.FEATURES)


def pictures() -> pd.DataFrame:
    """The rows of data/split.csv that the cache holds, in its order; test pictures aren't."""
    split = tables.read(workspace.SPLIT)
    rows = pd.concat([split[split["split"] == name] for name in ("train", "validation")])
    rows = rows.reset_index(drop=True)
    counts = [
        len(cache.read(workspace.FEATURES, f"{name}_labels")) for name in ("train", "validation")
    ]
    if counts != [int((rows["split"] == name).sum()) for name in ("train", "validation")]:
        raise ThawError(
            f"{workspace.FEATURES} holds other pictures than {workspace.SPLIT}; run `make folds`, "
            "or `dvc repro extract_features`"
        )
    return rows if "group" in rows else rows.assign(group="")


def material(params: Params, facts: cache.Facts, folder: Path) -> Material:
    """Gather what the cache holds; what it lacks is computed by the frozen layers, once.

    Of validation pictures the first view there is the picture itself, then it is turned and
    mirrored, where that is averaged: in other folds they are trained on.
    And where views are drawn at random, none of them is the picture as it is predicted.
    """
    rows = pictures()
    paths, drawn = rows["path"].tolist(), facts.augmentation
    first = int((rows["split"] == "train").sum())
    _, session = extract_features.load(workspace.FROZEN)
    symmetries = len(drawn.symmetries)

    def of(where: Path, name: str) -> dict[str, NDArray[Any]]:
        return {kind: cache.read(where, f"{name}_{kind}") for kind in ("bottleneck", "boundary")}

    def made(name: str, own: list[str], views: int, *, still: bool = False) -> Any:
        if not all(
            (folder / f"{name}_{kind}.npy").is_file() for kind in ("bottleneck", "boundary")
        ):
            extractor = Extractor(str(workspace.FROZEN), workspace.IMAGES, facts, views, still)
            extract(extractor, own, folder, name)
        return of(folder, name)

    cached = [of(workspace.FEATURES, name) for name in ("train", "validation")]
    if facts.live or (drawn.count == 1 and not drawn.endless):
        learn = [cached[0], {kind: part[:, :1] for kind, part in cached[1].items()}]
    else:
        learn = [cached[0], made("views", paths[first:], drawn.count)]
    alone = not params.average_views or symmetries == 1
    if cached[0]["bottleneck"].shape[1] == 1 and alone and (facts.live or not drawn.endless):
        predict = cached
    elif not facts.live and not drawn.endless and not alone and drawn.count == symmetries:
        predict = learn  # all symmetries, and each once
    else:
        predict = [made("predicted", paths, 1 if alone else symmetries, still=True)]

    def joined(parts: list[dict[str, NDArray[Any]]]) -> dict[str, Parts]:
        found = {kind: [part[kind] for part in parts] for kind in ("bottleneck", "boundary")}
        if sum(part.nbytes for part in found["bottleneck"]) <= IN_MEMORY:
            found["bottleneck"] = [np.array(part) for part in found["bottleneck"]]
        return found

    learned = joined(learn)
    as_predicted = learned if predict is learn else joined(predict)
    share = 1 - first / len(rows)
    units = tied(rows, as_predicted["bottleneck"])
    return Material(params, facts, rows, units, learned, as_predicted, share, session)


def tied(rows: pd.DataFrame, predict: Parts) -> Numbers:
    """What must share a fold: groups, near-duplicates, and what looks the same to the network."""
    numbers = np.arange(len(rows))
    every = Joined(predict, numbers)
    keys = []
    for number, group in enumerate(rows["group"]):
        views = sorted(hashlib.sha256(view.tobytes()).hexdigest() for view in every[number])
        keys.append([f"views {' '.join(views)}", *([f"group {group}"] if group else [])])
    alike = tables.read(workspace.NEAR_DUPLICATES)
    place = {path: number for number, path in enumerate(rows["path"])}
    pairs = [
        (place[one], place[other])
        for one, other in zip(alike["path"], alike["other"], strict=True)
        if one in place and other in place
    ]
    return folds.clusters(keys, pairs)


class Told:
    """How far the folds are: a bar on a terminal, a line now and then in a log."""

    def __init__(self, epochs: int) -> None:
        terminal = sys.stderr.isatty()
        self._bar: Any = (
            tqdm(desc="folds", total=epochs, unit=" epochs", leave=False)
            if terminal
            else Lines("folds", epochs, "epochs")
        )

    def epoch(self, group: str, fitted: loop.Fitted) -> None:
        """An epoch more; a loss that is no number ends it all."""
        if fitted.rows and not all(map(math.isfinite, fitted.rows[-1])):
            raise ThawError(
                f"the loss of epoch {len(fitted.rows)} is no number; set a smaller "
                f"{group}.learning_rate in params.yaml"
            )
        self._bar.update(1)

    def close(self) -> None:
        """The last of it."""
        self._bar.close()


class Quick(keras.Model):
    """A small model, whose `fit` takes many steps in one call of TensorFlow.

    Keras's own needs longer to begin and end an epoch than a head takes to learn in it.
    """

    def fit(
        self,
        train: Views,
        epochs: int,
        initial_epoch: int,
        callbacks: list[keras.callbacks.Callback],
        **_: object,
    ) -> keras.callbacks.History:
        """As Keras's, with as many numbers after each epoch, and none after a step."""
        history = keras.callbacks.History()
        told = keras.callbacks.CallbackList(
            [*callbacks, history], model=self, epochs=epochs, steps=len(train)
        )
        size = len(train[0][1])
        self.test_on_batch(*train[0])  # makes the variables of metrics
        self.optimizer.build(self.trainable_variables)

        def steps(one: Callable[[Any], Any]) -> Callable[..., None]:
            def run(*batch: tf.Tensor) -> None:
                for start in tf.range(0, tf.shape(batch[1])[0], size):
                    one(tuple(each[start : start + size] for each in batch))

            made: Callable[..., None] = tf.function(run, reduce_retracing=True)
            return made

        learn = steps(self.train_step)

        def once() -> dict[str, float]:
            self.reset_metrics()
            for start in range(0, len(train), AT_ONCE):
                found = [train[at] for at in range(start, min(start + AT_ONCE, len(train)))]
                arrays = (np.concatenate(each) for each in zip(*found, strict=True))
                learn(*map(tf.convert_to_tensor, arrays))
            return {name: float(each) for name, each in self.get_metrics_result().items()}

        self.stop_training = False
        train.on_epoch_end()  # as Keras does once it has built a model
        told.on_train_begin()
        for epoch in range(initial_epoch, epochs):
            told.on_epoch_begin(epoch)
            logs = once()
            train.on_epoch_end()
            told.on_epoch_end(epoch, logs)
            if self.stop_training:
                break
        told.on_train_end()
        return history


def parts(of: Material, learn: Numbers, validate: Numbers) -> Source:
    """The cache as stages would see it, were `learn` to train and `validate` to validate on."""
    arrays: dict[str, Any] = {}
    for kind in ("bottleneck", "boundary"):
        arrays[f"train_{kind}"] = Joined(of.learn[kind], learn)
        arrays[f"validation_{kind}"] = Joined(of.predict[kind], validate)
    arrays["train_labels"], arrays["validation_labels"] = of.labels[learn], of.labels[validate]
    params, paths = of.params, of.rows["path"]
    return Source(
        workspace.FEATURES,
        workspace.IMAGES,
        {"train": paths[learn].tolist(), "validation": paths[validate].tolist()},
        of.facts,
        params.batch_size,
        params.class_weight,
        params.sampling,
        params.seed,
        arrays=arrays,
    )


def head_of(of: Material, source: Source, told: Told) -> list[keras.Layer]:
    """A head, trained as stage `train_head` trains one."""
    params, facts = of.params, of.facts
    select = heads.selector(params.head.pooling, facts.bottleneck)
    moments: Any = (None, None)
    if params.head.standardize or params.head.classifier != "dense":
        moments = heads.moments(source.read("train_bottleneck"), select)
    head = heads.layers(plain(heads.HeadSpec, params.head), len(facts.classes), *moments)
    if params.head.classifier != "dense":
        train, validation = (
            (source.read(f"{name}_bottleneck"), source.read(f"{name}_labels"))
            for name in ("train", "validation")
        )
        train_head.fit_linear(params, facts.classes, head, select, train, validation)
    elif params.head.epochs:
        frozen = of.session if facts.live else None
        train_views, validation_views = batches.bottlenecks(source, select, frozen)
        alone = classifiers.head_alone(head, train_views[0][0].shape[1:])
        loop.fit(
            Quick(alone.inputs, alone.outputs),
            train_views,
            validation_views,
            plain(loop.Optimization, params.head),
            show=partial(told.epoch, "head"),
            selection=Selection(params.select, params.patience),
        )
    return head


def predicted(model: keras.Model, read: Reader, rows: Numbers, views: int) -> NDArray[np.float64]:
    """(rows, classes) probabilities, the mean over the views."""
    found = []
    for start in range(0, len(rows), BATCH):
        some_rows = rows[start : start + BATCH]
        found.append(
            np.mean(
                [
                    deciding.probabilities(
                        np.asarray(model(read(some_rows, np.full(len(some_rows), view))))
                    )
                    for view in range(views)
                ],
                axis=0,
            )
        )
    return np.concatenate(found)


def by_head(of: Material, head: Sequence[keras.Layer], rows: Numbers) -> NDArray[np.float64]:
    """What a trained head says of pictures."""
    select = heads.selector(of.params.head.pooling, of.facts.bottleneck)
    every = Joined(of.predict["bottleneck"], rows)
    read = from_cache(every, select)  # type: ignore[arg-type]
    numbers = np.arange(len(rows))
    shape = read(numbers[:1], numbers[:1] * 0).shape[1:]
    return predicted(classifiers.head_alone(head, shape), read, numbers, every.shape[1])


def by_fine_tuning(
    of: Material, head: Sequence[keras.Layer], source: Source, rows: Numbers, told: Told
) -> NDArray[np.float64]:
    """What a head says of pictures after the layers below were tuned as stage `fine_tune` does."""
    params, facts, how = of.params, of.facts, of.params.fine_tune
    assert params.fine_tune_at is not None
    base = train_head.base_model(params, facts)
    if facts.bottleneck == "blocks":
        base = backbones.with_blocks(base)
    classifier = classifiers.classifier(base, head, params.head.pooling, facts.image_size)
    thawed = backbones.layer_index(base, params.fine_tune_at, "fine_tune_at", facts.feature_layer)
    backbones.freeze_below(base, thawed, scales_alone=how.train == "scales")
    source = replace(source, smoothing=how.label_smoothing, mixup=how.mixup)
    began = fine_tune.head_epochs(params)
    read: Reader
    if 0 < facts.boundary < thawed:
        boundary = facts.boundary
        width = classifiers.width_below(base, boundary)
        cached = {name: source.read(f"{name}_boundary") for name in ("train", "validation")}
        train, validation = batches.boundaries(source, cached, width)
        maps = Joined(of.predict["boundary"], rows)
        readers = {"boundary": from_cache(maps)}  # type: ignore[arg-type]
        if width:
            pooled = Joined(of.predict["bottleneck"], rows)[..., :width]
            readers["below"] = from_cache(pooled)
        read, views = together(readers), maps.shape[1]
    else:
        boundary = backbones.boundary(base, thawed - 1) if thawed else 0
        bottom = classifiers.bottom(classifier, base, boundary) if boundary else None
        frozen = bottom and sessions.session(to_onnx(bottom))
        train, validation = batches.pictures(source, frozen, began)
        names = ("boundary", "below")[: len(frozen.get_outputs())] if frozen else ["pictures"]
        read, views = from_pictures(looked_at(of, rows), names, frozen), len(of.symmetries)
    if how.batch_norm == "trained":
        classifiers.fit_momentum(base, len(train), how.epochs)
    top, shipped = fine_tune.tops(params, classifier, base, boundary)
    loop.fit(
        top,
        train,
        validation,
        plain(loop.Optimization, how),
        first_epoch=began,
        show=partial(told.epoch, "fine_tune"),
        selection=Selection(params.select, params.patience),
        from_start=began > 0,
        steps=classifiers.steps(top, base, how.layer_decay, centralize=how.centralize),
        shipped=shipped,
    )
    return predicted(shipped, read, np.arange(len(rows)), views)


def looked_at(of: Material, rows: Numbers) -> Callable[[int, int], decoding.Pixels]:
    """From a row's place and a view's number to pixels, as the model is given them."""
    paths, facts = of.rows["path"][rows].tolist(), of.facts

    def pixels(number: int, view: int) -> decoding.Pixels:
        one = decoding.load(
            workspace.IMAGES / paths[number], facts.image_size, facts.resize, facts.bit_depth
        )
        return augmentation.symmetric(one, *of.symmetries[view])

    return pixels


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what a training says of its epochs from a list of folds."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def fold(
    of: Material, held_out: Numbers, rest: Numbers, fine_tuned: bool, seed: int, told: Told
) -> dict[str, NDArray[np.float64]]:
    """Each model's probabilities of the pictures held out, trained on the rest."""
    learn, validate = folds.validation(of.labels, of.units, rest, of.share, seed, of.facts.classes)
    keras.utils.set_random_seed(of.params.seed)
    source = parts(of, learn, validate)
    with quiet():
        head = head_of(of, source, told)
        found = {"head": by_head(of, head, held_out)}
        if fine_tuned:
            found["fine_tuned"] = by_fine_tuning(of, head, source, held_out, told)
    keras.utils.clear_session(free_memory=True)
    return found


def epochs(params: Params, fine_tuned: bool) -> int:
    """Of one fold, at most."""
    head = params.head.epochs if params.head.classifier == "dense" else 0
    return head + (params.fine_tune.epochs if fine_tuned else 0)


def every(given: argparse.Namespace, folder: Path) -> dict[tuple[int, int], Path]:
    """Where the predictions of each fold lie, by repeat and number."""
    tuned = "-fine-tuned" if given.fine_tune else ""
    return {
        (repeat, number): folder / f"{given.k}-folds-{repeat + 1}-{number + 1}{tuned}.npz"
        for repeat in range(given.repeats)
        for number in range(given.k)
    }


def on_nodes(params: Params, given: argparse.Namespace, folder: Path) -> dict[Path, str]:
    """Train the folds that aren't there side by side on a cluster, each in a process of its own.

    Returns where each was trained.

    Raises:
        ThawError: when one fails, or is killed again and again.
    """
    where = places.find(None, params.cores or params.threads)
    words = (sys.executable, "src", "folds", f"--k={given.k}", f"--repeats={given.repeats}")

    def train(path: Path) -> str:
        command = [*words, "--fine-tune", f"--only={path.stem}"]
        log = path.with_suffix(".log")
        for _ in range(places.TRIES):
            ended = where.run(lambda: command, log)
            if path.is_file():
                log.unlink(missing_ok=True)
                return ended.node
            if ended.code >= 0 or where.closed:
                break
        said = log.read_text("utf-8", "replace").splitlines() if log.is_file() else []
        why = next((line for line in said if line.startswith("error: ")), "error: it was killed")
        raise ThawError(f"{path.stem}: {why.removeprefix('error: ')} ({log})")

    left = [path for path in every(given, folder).values() if not path.is_file()]
    if left:
        folder.mkdir(parents=True, exist_ok=True)
        print(f"{some(len(left), 'fold')}, {where}", flush=True)
    with contextlib.closing(
        places.side_by_side(where, {path: partial(train, path) for path in left})
    ) as done:
        nodes = {}
        for path, node in done:
            nodes[path] = f"on {node}"
            print(f"{path.stem} {nodes[path]}", flush=True)
    return nodes


def kept(path: Path) -> dict[str, NDArray[np.float64]] | None:
    """A fold that an earlier run ended; None where there is none."""
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as found:
        return dict(found)


def all_folds(
    of: Material, given: argparse.Namespace, folder: Path, elsewhere: Mapping[Path, str]
) -> folds.Folds:
    """Train and predict, or read what an earlier run left, or this one `elsewhere`."""
    tables_of, shares = [], []
    told = Told(given.k * given.repeats * epochs(of.params, given.fine_tune))
    width = len(str(given.k))
    paths = every(given, folder)
    for repeat in range(given.repeats):
        seed = of.params.split.seed + repeat
        place = folds.divide(of.labels, of.units, given.k, seed, of.facts.classes)
        for number in range(given.k):
            began = time.monotonic()
            path = paths[repeat, number]
            if given.only not in (None, path.stem):
                continue
            held_out, rest = np.flatnonzero(place == number), np.flatnonzero(place != number)
            found = kept(path)
            before = elsewhere.get(path, "of an earlier run") if found else ""
            if found is None:
                found = fold(of, held_out, rest, given.fine_tune, seed, told)
                with atomic(path) as part, part.open("wb") as file:
                    np.savez(file, allow_pickle=False, **found)
            right = {
                model: np.mean(each.argmax(axis=1) == of.labels[held_out])
                for model, each in found.items()
            }
            which = f"repeat {repeat + 1}, " if given.repeats > 1 else ""
            accuracy = ", fine-tuned ".join(f"{each:.4f}" for each in right.values())
            took = before or f"{time.monotonic() - began:.1f} s"
            tqdm.write(
                f"{which}fold {number + 1:>{width}} of {given.k}: accuracy {accuracy} of "
                f"{some(len(held_out), 'picture')}, {took}"
            )
            mine = of.rows.loc[held_out, ["path", "label", "subgroup", "group"]]
            names = of.rows["path"].to_numpy()[of.units[held_out]]
            tables_of.append(mine.assign(cluster=names, repeat=repeat + 1, fold=number + 1))
            shares.append(found)
    told.close()
    table = pd.concat(tables_of, ignore_index=True)
    order = table.sort_values(["repeat", "path"]).index
    return folds.Folds(
        tuple(of.facts.classes),
        table.loc[order].reset_index(drop=True),
        {model: np.concatenate([each[model] for each in shares])[order] for model in shares[0]},
        {},
    )


def main() -> None:
    given = arguments()
    params = workspace.read_params()
    with opened(WORKSPACE) as now:
        facts = check(now, params, given)
        settings = folds.settings(now, fine_tuned=given.fine_tune)
        cached = folds.cached(now)
    positive = workspace.check_positive(params, facts.classes)
    judged = params.positive or (facts.classes[1] if len(facts.classes) == 2 else None)
    loop.prepare(params.seed, params.threads)
    folder = KEPT / settings[:16]
    views = KEPT / f"views-{cached[:16]}-{params.average_views}"
    for other in KEPT.glob("*"):
        if other not in (folder, views):
            shutil.rmtree(other)
    names = [path.stem for path in every(given, folder).values()]
    if given.only not in (None, *names):
        raise ThawError(f"--only: {given.only}: give one of {shortlist(names)}")
    of = material(params, facts, views)
    # A fold's head takes seconds to train, no longer than a process to begin.
    clustered = given.fine_tune and not given.only and engines.current() == "ray"
    elsewhere = on_nodes(params, given, folder) if clustered else {}
    found = all_folds(of, given, folder, elsewhere)
    if given.only:
        return
    known = folds.judge(found, positive)
    fine_tuning = None
    if given.fine_tune:
        compared = differences.compare(
            found.labels,
            found.probabilities["head"].argmax(axis=1),
            found.probabilities["fine_tuned"].argmax(axis=1),
            found.table["cluster"].tolist(),
        )
        fine_tuning = asdict(compared)
    result = {
        "settings": settings,
        "dataset": params.dataset,
        "classes": facts.classes,
        "positive": judged,
        "k": given.k,
        "repeats": given.repeats,
        "pictures": len(of.rows),
        **known,
        "fine_tuning": fine_tuning,
    }
    folds.write(replace(found, result=result))
    print(f"\n{folds.text(result)}\n\nwritten: {folds.RESULT}, {folds.PREDICTIONS}")
