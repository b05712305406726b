"""Parameters against each other and against the base model's layers, before any work."""

from collections.abc import Iterable, Mapping

from thaw.core import graphs
from thaw.core.errors import ThawError, as_yaml
from thaw.core.params import RANDOM, Params

NETWORK = {"padding": "same", "l2": 0.0, "initializer": "glorot_uniform", "batch_norm": False}


def check(params: Params, place: str = "params.yaml") -> None:
    """Refuse what could only fail later, after hours maybe.

    Raises:
        ThawError: with a sentence for each contradiction, saying what would be right.
    """
    sentences = []
    for rule in (_network, _options, _head, _flatten, _trained, _decide):
        try:
            rule(params)
        except ThawError as error:
            sentences.append(str(error))
    if sentences:
        raise ThawError(f"{place}: " + "; ".join(sentences))


def check_weights(weights: str, base_model: str, entries: Iterable[str], file: str) -> None:
    """Refuse a value of `weights` that names none.

    Args:
        weights: the parameter.
        base_model: the network's name.
        entries: names of those that its file in `pretrained/` has.
        file: that file, for the error.

    Raises:
        ThawError: saying what would be right.
    """
    keras_own = [] if base_model in graphs.OWN else ["imagenet"]
    known = [*entries, *keras_own]
    if weights in known or weights.endswith(".weights.h5") or RANDOM.fullmatch(weights):
        return
    raise ThawError(
        f"weights: {weights}: {file} has none of that name; give "
        f"{', '.join([*known, 'random', 'random:1 (of seed 1)'])}, or the path of a "
        ".weights.h5 file"
    )


def layers(params: Params) -> tuple[graphs.Graph, int, int, int | None]:
    """The network; the last layer that is used, the cached one (0: pixels) and the first to thaw.

    Raises:
        ThawError: when there is no such network or layer.
    """
    graph = graphs.read(params.base_model, params.network.batch_norm, "base_model")
    if graphs.foreign(params.base_model):
        return _foreign(params, graph)
    last = len(graph.layers) - 1
    if params.feature_layer is not None:
        last = graphs.cut(graph, params.feature_layer, "feature_layer")
    kept, place = graph.layers[: last + 1], params.feature_layer

    def index(layer: int | str, name: str) -> int:
        return graphs.index(graph.name, kept, layer, name, place and graph.layers[last])

    cached = 0 if params.cache.layer == "pixels" else index(params.cache.layer, "cache.layer")
    at = params.fine_tune_at
    return graph, last, cached, None if at is None else index(at, "fine_tune_at")


def _foreign(params: Params, graph: graphs.Graph) -> tuple[graphs.Graph, int, int, None]:
    """An ONNX file is frozen as a whole, and gives features alone."""
    sentences = []
    if params.fine_tune_at is not None:
        sentences.append(
            f"fine_tune_at: {params.fine_tune_at}: an ONNX file can't be trained on; set "
            "fine_tune_at: null"
        )
    if params.cache.layer not in graph.layers:
        sentences.append(
            f"cache.layer: {params.cache.layer}: of an ONNX file only what it gives can be cached; "
            "set cache.layer: features, or pixels for live views"
        )
    if params.cache.bottleneck == "blocks":
        sentences.append(
            "cache.bottleneck: blocks: of an ONNX file no blocks are known; set cache.bottleneck: "
            "pooled, or full"
        )
    if sentences:
        raise ThawError("; ".join(sentences))
    return graph, 1, graph.layers.index(str(params.cache.layer)), None


def _network(params: Params) -> None:
    graph, last, _, at = layers(params)
    smallest = graphs.SMALLEST.get(params.base_model, 32)
    if params.image_size < smallest:
        raise ThawError(
            f"image_size: {params.image_size}: {params.base_model} takes no pictures below "
            f"{smallest} pixels; give a larger one"
        )
    if params.fine_tune.train == "all" or at is None:
        return
    if not {*graph.kinds[at : last + 1]} & {*graphs.SCALING}:
        raise ThawError(
            f"fine_tune.train: scales: {graph.name} has neither normalisations nor depthwise "
            f"convolutions from {params.fine_tune_at} on; set all, or a lower fine_tune_at"
        )


def _options(params: Params) -> None:
    check_options(params.base_model, params.network.model_dump())


def check_options(base_model: str, options: Mapping[str, object]) -> None:
    """Refuse options of `network` for a base model that doesn't have them.

    Raises:
        ThawError: naming the first that isn't at its default.
    """
    if base_model in graphs.OPTIONAL:
        return
    for name, default in NETWORK.items():
        if options[name] != default:
            raise ThawError(
                f"network.{name}: {as_yaml(options[name])}: {base_model} has no such option, only "
                f"{', '.join(graphs.OPTIONAL)}; give {as_yaml(default)}"
            )


def _head(params: Params) -> None:
    kind, hidden = params.head.classifier, params.head.hidden
    if hidden and kind != "dense":
        raise ThawError(
            f"head.hidden: {hidden}: head.classifier: {kind} has no hidden layers; "
            "set head.hidden: [] or head.classifier: dense"
        )


def _flatten(params: Params) -> None:
    if params.head.pooling != "flatten" or params.cache.bottleneck == "full":
        return
    if reads_bottlenecks(params) or params.cache.bottleneck == "blocks":
        raise ThawError(
            "head.pooling: flatten: a flattened head reads whole feature maps; "
            "set cache.bottleneck: full"
        )


def reads_bottlenecks(params: Params) -> bool:
    """Whether stage `train_head` reads the cached bottleneck features."""
    head = params.head
    return head.classifier != "dense" or head.epochs > 0 or head.standardize


def _trained(params: Params) -> None:
    head = params.head
    if head.classifier == "dense" and head.epochs == 0 and params.fine_tune_at is None:
        raise ThawError(
            "head.epochs: 0: with fine_tune_at: null nothing would be trained; give the head "
            "epochs, or fine_tune_at a layer"
        )


def _decide(params: Params) -> None:
    how = params.decide
    if how.threshold is not None and how.costs:
        raise ThawError(
            f"decide.threshold: {how.threshold}: decide.costs gives one already; set one of them "
            "to null"
        )
