"""What the page of a run shows, as plain values for its template, and the page itself."""

import base64
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import networkx
import numpy as np
import pandas as pd
import vl_convert
from PIL import Image

from thaw.drawing import markdown
from thaw.evaluation import metrics
from thaw.evaluation.differences import more_than_chance
from thaw.evaluation.record import LOWER_IS_BETTER, TITLES, Difference, whose
from thaw.review import recipes

TEMPLATES = Path(__file__).resolve().parent / "templates"
QUALITY = 70  # of WebP
BOX, TALL, ACROSS, DOWN = 150, 38, 190, 74  # of the drawing of the stages
HEIGHT = 290  # of a chart
NEARLY = 0.95  # an accuracy
MOST_PAIRS = 20  # of classes
FINE, COARSE, MANY = 200, 50, 100  # steps of thresholds; coarse for more than `MANY` classes
# A mouse drags the chart; a finger scrolls the page, and so does the wheel alone.
ZOOM = {
    "name": "zoom",
    "select": {
        "type": "interval",
        "translate": "[mousedown, window:mouseup] > window:mousemove!",
        "zoom": "wheel![event.ctrlKey || event.metaKey]",
    },
    "bind": "scales",
}


@dataclass(frozen=True)
class Drawing:
    """Where the boxes of a graph lie, and the paths of its edges, for an SVG."""

    nodes: list[dict[str, Any]]
    edges: list[str]
    width: int
    height: int
    box: int = BOX
    tall: int = TALL


def drawing(stages: Mapping[str, str], edges: Iterable[tuple[str, str]]) -> Drawing:
    """Lay stages out from top to bottom.

    Args:
        stages: what each does.
        edges: (earlier, later); an edge that follows from others is left out.
    """
    graph = networkx.DiGraph()
    graph.add_nodes_from(sorted(stages))
    graph.add_edges_from(sorted(edges))
    graph = networkx.transitive_reduction(graph)
    late = networkx.topological_generations(graph.reverse())  # each as near to the next as possible
    rows = [sorted(row) for row in late][::-1]
    width = ACROSS * max(len(row) for row in rows)
    places: dict[str, tuple[float, int]] = {}
    for level, row in enumerate(rows):
        for number, name in enumerate(row):
            x = width / 2 + (number - (len(row) - 1) / 2) * ACROSS
            places[name] = (x, 4 + level * DOWN)
    nodes = [
        {"name": name, "about": stages[name], "x": x, "y": y} for name, (x, y) in places.items()
    ]
    paths = []
    for earlier, later in sorted(graph.edges):
        (x1, y1), (x2, y2) = places[earlier], places[later]
        y1 += TALL
        bend = (y2 - y1) / 2
        paths.append(f"M{x1:g} {y1} C{x1:g} {y1 + bend:g} {x2:g} {y2 - bend:g} {x2:g} {y2}")
    return Drawing(nodes, paths, width, len(rows) * DOWN - DOWN + TALL + 8)


def grouped(params: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Parameters by group; those without a group come first."""
    single = {name: value for name, value in params.items() if not isinstance(value, dict)}
    groups = [("general", single)]
    groups += [(name, value) for name, value in params.items() if isinstance(value, dict)]
    return [
        (name, [(leaf, _plain(markdown.place(value))) for leaf, value in recipes.leaves(group)])
        for name, group in groups
    ]


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def scores(
    values: Sequence[Mapping[str, float]],
    intervals: Sequence[Mapping[str, Sequence[float]]],
    positive: str | None,
    apart: Mapping[str, Difference] | None = None,
) -> list[dict[str, Any]]:
    """A row for each metric: each model's value and interval, and both in percent of a bar.

    Args:
        values: of each model.
        intervals: of each model.
        positive: the class that precision, recall and the like are of; None: the mean over all.
        apart: how the second model differs from the first; None where there is one model.
    """
    told = more_than_chance(apart) if apart else {}
    rows = []
    for name, title in TITLES.items():
        longest = max(1.0, *(each[name][1] for each in intervals))
        cells = []
        for value, within in zip(values, intervals, strict=True):
            low, high = within[name]
            cells.append(
                {
                    "value": f"{value[name]:.4f}",
                    "interval": f"[{low:.4f}, {high:.4f}]",
                    "low": _percent(low, longest),
                    "wide": _percent(high - low, longest),
                    "at": _percent(value[name], longest),
                }
            )
        better = "lower is better" if name in LOWER_IS_BETTER else ""
        ends = f"bar ends at {longest:.2f}" if longest > 1 else ""
        note = ", ".join(filter(None, (whose(name, positive), better, ends)))
        difference = _difference(name, apart[name], told[name]) if apart else None
        rows.append({"title": title, "note": note, "cells": cells, "difference": difference})
    return rows


def _difference(name: str, found: Difference, more: bool) -> dict[str, str]:
    better = (found.value > 0) != (name in LOWER_IS_BETTER)
    word = ("better" if better else "worse") if more else "can be chance"
    low, high = markdown.signed(found.low), markdown.signed(found.high)
    return {
        "value": markdown.signed(found.value),
        "interval": f"[{low}, {high}]",
        "word": "the same" if found.value == found.low == found.high == 0 else word,
    }


def _percent(part: float, whole: float) -> float:
    return round(100 * part / whole, 2)


def confusion(
    labels: metrics.Labels, decided: metrics.Labels, classes: int
) -> list[list[dict[str, int]]]:
    """Rows of actual classes, columns of predicted ones: pictures, and percent of the row."""
    counts = metrics.confusion(labels, decided, classes)
    return [
        [{"count": int(n), "share": round(100 * int(n) / max(int(row.sum()), 1))} for n in row]
        for row in counts
    ]


def confused(labels: metrics.Labels, decided: metrics.Labels, classes: int) -> list[dict[str, int]]:
    """The most confused pairs of classes: pictures, and of how many of the actual class."""
    counts = metrics.confusion(labels, decided, classes)
    return [
        {
            "actual": actual,
            "predicted": predicted,
            "count": int(counts[actual, predicted]),
            "of": int(counts[actual].sum()),
        }
        for actual, predicted in metrics.confused(counts)[:MOST_PAIRS]
    ]


@dataclass(frozen=True)
class Judged:
    """What the slider of thresholds shows of some pictures."""

    name: str
    labels: metrics.Labels
    probabilities: metrics.Array


def thresholds(
    parts: Sequence[Judged], classes: Sequence[int], used: float | None
) -> dict[str, Any]:
    """What comes of each threshold: a picture is taken for a class whose share is no smaller.

    Args:
        parts: validation and test pictures.
        classes: those to choose from.
        used: the threshold in use; None where there is none.

    Returns:
        The thresholds, which of them is in use, and for each part and class how many pictures are
        of it, how many are not, and how many of both are taken for it at each threshold.
    """
    steps = FINE if len(classes) <= MANY else COARSE
    grid = np.linspace(0, 1, steps + 1).round(6)
    if used is not None:
        grid = np.union1d(grid, round(used, 6))
    found = []
    for part in parts:
        rows = []
        for label in classes:
            own = part.labels == label
            shares = part.probabilities[:, label].round(6)
            sides = [np.sort(shares[side]) for side in (own, ~own)]
            taken = [(len(side) - np.searchsorted(side, grid)).tolist() for side in sides]
            rows.append([*map(len, sides), *taken])
        found.append({"name": part.name, "classes": rows})
    at = None if used is None else int(np.searchsorted(grid, round(used, 6)))
    return {"grid": grid.tolist(), "used": at, "classes": list(classes), "parts": found}


def learning_curve(
    history: pd.DataFrame, starts: int | None, name: str, title: str
) -> dict[str, Any]:
    """A Vega-Lite chart of accuracy or loss by epoch.

    Args:
        history: with columns epoch, train_loss, validation_loss, train_accuracy,
            validation_accuracy; older runs have no `taken`, 1 for an epoch that was kept.
        starts: the last epoch of the head's training; None without fine-tuning.
        name: accuracy or loss.
        title: of the axis.
    """
    parts = {"train": "training", "validation": "validation"}
    rows = [
        {"epoch": int(epoch), "pictures": shown, title: value}
        for part, shown in parts.items()
        for epoch, value in zip(history["epoch"], history[f"{part}_{name}"], strict=True)
    ]
    ends = {}  # where padding would reach beyond what there can be
    if name == "loss":
        ends = {"domainMin": 0}
    elif rows and max(row[title] for row in rows) > NEARLY:
        ends = {"domainMax": 1}
    x = {
        "x": {
            "field": "epoch",
            "type": "quantitative",
            "axis": {"labelExpr": "datum.value % 1 ? '' : format(datum.value, 'd')"},
            "scale": {"zero": False, "nice": False, "padding": 8},
        }
    }
    encoding = {
        **x,
        "y": {
            "field": title,
            "type": "quantitative",
            "scale": {"zero": False, "padding": 10} | ends,
        },
        **_told_apart("pictures", list(parts.values())),
        "tooltip": [
            {"field": "epoch"},
            {"field": "pictures"},
            {"field": title, "format": ".4f"},
        ],
    }
    layers: list[dict[str, Any]] = [
        {
            "params": [ZOOM],
            "mark": {"type": "line", "point": {"size": 40}},
            "encoding": encoding,
        }
    ]
    if "taken" in history and (kept := history[history["taken"] == 1]).size:
        points = [
            {"epoch": int(epoch), title: value, "pictures": "validation"}
            for epoch, value in zip(kept["epoch"], kept[f"validation_{name}"], strict=True)
        ]
        ring = {"type": "point", "size": 160, "strokeWidth": 2}
        layers.append({"data": {"values": points}, "mark": ring, "encoding": encoding})
    if starts is not None:
        rule = {"values": [{"epoch": starts + 0.5}]}
        text = {"type": "text", "align": "right", "dx": -5, "text": "fine-tuning →"}
        place = {"expr": "height - 12"} if name == "accuracy" else 12  # where no curve is
        layers += [
            {"data": rule, "mark": {"type": "rule", "strokeDash": [2, 3]}, "encoding": x},
            {"data": rule, "mark": text, "encoding": {**x, "y": {"value": place}}},
        ]
    return _chart(rows, layers)


def curve(
    curves: Mapping[str, pd.DataFrame],
    x: str,
    y: str,
    titles: tuple[str, str],
    chance: Sequence[tuple[float, float]],
) -> dict[str, Any]:
    """A Vega-Lite chart of each model's ROC or precision-recall curve.

    Args:
        curves: by model, the points in order, with columns x, y and perhaps threshold.
        x: the column of the axis across.
        y: the column of the axis up.
        titles: of both axes.
        chance: both ends of the line that guessing gives.
    """
    rows = [
        {"model": model, "place": place, **point}
        for model, points in curves.items()
        for place, point in enumerate(points.to_dict("records"))
    ]
    scale = {"domain": [0, 1]}
    encoding = {
        "x": {"field": x, "type": "quantitative", "title": titles[0], "scale": scale},
        "y": {"field": y, "type": "quantitative", "title": titles[1], "scale": scale},
        "order": {"field": "place", "type": "quantitative"},
        **_told_apart("model", list(curves)),
    }
    tooltip = [
        {"field": "model"},
        *(
            {"field": field, "title": title, "format": ".4f"}
            for field, title in ((x, titles[0]), (y, titles[1]), ("threshold", "threshold"))
            if all(field in points for points in curves.values())
        ),
    ]
    hover = {"condition": {"param": "hover", "empty": False, "value": 1}, "value": 0}
    guessed = {"values": [dict(zip((x, y), point, strict=True)) for point in chance]}
    middle = {"values": [{x: 0.5, y: sum(up for _, up in chance) / 2}]}
    at = {name: encoding[name] for name in ("x", "y")}
    layers: list[dict[str, Any]] = [
        {
            "data": guessed,
            "mark": {"type": "line", "strokeDash": [2, 3], "strokeWidth": 1.5, "clip": True},
            "encoding": at | {"color": {"value": "grey"}},
        },
        {
            "data": middle,
            "mark": {"type": "text", "align": "left", "dx": 6, "dy": 12, "text": "guessing"},
            "encoding": at,
        },
        {"params": [ZOOM], "mark": {"type": "line", "clip": True}, "encoding": encoding},
        {
            "params": [
                {"name": "hover", "select": {"type": "point", "on": "pointerover", "nearest": True}}
            ],
            "mark": {"type": "point", "filled": True, "size": 60, "clip": True},
            "encoding": {
                **{name: encoding[name] for name in ("x", "y", "color")},
                "opacity": hover,
                "tooltip": tooltip,
            },
        },
    ]
    return _chart(rows, layers)


def _told_apart(field: str, names: list[str]) -> dict[str, Any]:
    """By colour and by dashes."""
    legend = {"orient": "top", "title": None, "symbolType": "stroke", "symbolSize": 400}
    return {
        "color": {"field": field, "type": "nominal", "scale": {"domain": names}, "legend": legend},
        "strokeDash": {
            "field": field,
            "type": "nominal",
            "scale": {"domain": names, "range": [[1, 0], [6, 3]]},
            "legend": legend,
        },
    }


def _chart(rows: list[dict[str, Any]], layers: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "width": "container",
        "height": HEIGHT,
        "autosize": {"type": "fit", "contains": "padding"},
        "data": {"values": rows},
        "layer": layers,
    }


def webp(image: Image.Image, side: int | None = None) -> str:
    """A picture as a `data:` address, made smaller where it is larger than `side`."""
    if side:
        image.thumbnail((side, side), Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=QUALITY)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def saved(text: str) -> str:
    """A text as a `data:` address."""
    return f"data:text/markdown;base64,{base64.b64encode(text.encode()).decode()}"


def render(
    context: Mapping[str, Any], data: Mapping[str, Any], audit: Mapping[str, Any] | None = None
) -> str:
    """The page: one file, which fetches nothing.

    Args:
        context: what `templates/page.html.j2` names.
        data: what `templates/page.js` reads: charts, classes, models, pictures.
        audit: what `templates/audit.js` reads; None where there is no section of an audit.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    found: str = environment.get_template("page.html.j2").render(
        **context,
        style=(TEMPLATES / "page.css").read_text(encoding="utf-8"),
        script=(TEMPLATES / "page.js").read_text(encoding="utf-8"),
        slider=(TEMPLATES / "thresholds.js").read_text(encoding="utf-8"),
        licences=(TEMPLATES / "licences.html").read_text(encoding="utf-8"),
        vega=vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"),
        data=embedded(data),
        audit_style=(TEMPLATES / "audit.css").read_text(encoding="utf-8"),
        audit_script=(TEMPLATES / "audit.js").read_text(encoding="utf-8"),
        audit_data=embedded(audit) if audit else "",
    )
    return found


def embedded(data: object) -> str:
    """JSON that can stand in a script element: no text in it can end the element."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
