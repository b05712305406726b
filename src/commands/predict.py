"""Classify pictures: print the class and confidence of each.

    python src predict photos/ more.jpg

A picture that the model is unsure of, or that is unlike those it was trained on, is told in doubt.
Exits with 1 when a picture can't be read; the others are classified all the same.
"""

import argparse
import csv
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from tqdm import tqdm

import workspace
from thaw.core import engines
from thaw.core.arguments import Parser
from thaw.core.errors import ThawError, one_line, some
from thaw.core.progress import track
from thaw.evaluation.inference import Classifier, Result
from thaw.files import kinds
from thaw.files.walking import walk


def arguments() -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument(
        "paths",
        nargs="+",
        type=Path,
        metavar="PATH",
        help="a picture or a folder; write ./-1.png where a name begins with a dash",
    )
    parser.add_argument("--model", type=Path, help="default: models/model.onnx")
    parser.add_argument(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="ray: on the cluster of RAY_ADDRESS (default: %(default)s, whatever params.yaml says)",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="a JSON list, for programs")
    form.add_argument("--csv", action="store_true", help="CSV, for programs and spreadsheets")
    return parser.read()


def pictures(paths: Iterable[Path]) -> list[Path]:
    """The pictures given, and those in the folders given, in order.

    Raises:
        ThawError: when a folder holds none.
    """
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        files = [*walk(path)]
        inside = [each for each in files if kinds.means_picture(each)]
        others = sorted({*files} - {*inside})
        beside = f"{some(len(others), 'file')} of other kinds ({kinds.said(others)})"
        if not inside:
            raise ThawError(
                f"{path} holds no picture{f', but {beside}' if others else ''}; give a folder of "
                f"{', '.join(kinds.READ[:-1])} or {kinds.READ[-1]}"
            )
        if others:
            print(
                one_line(f"{path}: {some(len(inside), 'picture')}; left out: {beside}"),
                file=sys.stderr,
            )
        found += inside
    return found


def record(result: Result, classes: list[str]) -> dict[str, object]:
    if result.probabilities is None:
        return {"path": str(result.path), "class": None, "confidence": None, "error": result.reason}
    by_class = dict(zip(classes, (round(float(p), 6) for p in result.probabilities), strict=True))
    said = classes[result.decided]
    found = {
        "path": str(result.path),
        "class": said,
        "confidence": by_class[said],
        "probabilities": by_class,
        "doubt": result.doubt or None,
    }
    return found if result.unlike is None else found | {"unlike": round(result.unlike, 4)}


def print_table(records: Iterator[dict[str, object]], width: int) -> None:
    for each in records:
        path = one_line(str(each["path"]))
        if each["class"] is None:
            tqdm.write(f"{path:<{width}}  can't be read: {each['error']}")
        else:
            doubt = f"  in doubt: {each['doubt']}" if each["doubt"] else ""
            tqdm.write(f"{path:<{width}}  {each['confidence']:>7.1%}  {each['class']}{doubt}")


def print_csv(records: Iterator[dict[str, object]], classes: list[str]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    own = ("path", "class", "confidence", "unlike", "doubt", "error")
    named = [f"class {name}" if name in own else name for name in classes]
    writer.writerow([*own[:3], *named, *own[3:]])
    for each in records:
        by_class = each.get("probabilities")
        shares = (
            [by_class[name] for name in classes]
            if isinstance(by_class, dict)
            else [""] * len(classes)
        )
        last = [each.get(name, "") for name in own[3:]]
        writer.writerow([each["path"], each["class"], each["confidence"], *shares, *last])


def main() -> None:
    given = arguments()
    engines.use(given.engine)
    here = workspace.MODELS / "model.onnx"
    home = workspace.HOME / here  # where the command is given from another folder
    classifier = Classifier(given.model or (home if not here.exists() and home.exists() else here))
    paths = pictures(given.paths)
    bad = 0

    def records() -> Iterator[dict[str, object]]:
        nonlocal bad
        results = classifier.classify(paths)
        for result in track(results, "classifying", len(paths)):
            bad += result.probabilities is None
            yield record(result, classifier.classes)

    if given.json:
        print(json.dumps(list(records()), indent=2, ensure_ascii=False))
    elif given.csv:
        print_csv(records(), classifier.classes)
    else:
        print_table(records(), max(len(one_line(str(path))) for path in paths))
    if bad:
        raise ThawError(f"{bad} of {len(paths)} pictures can't be read; they are listed above")
