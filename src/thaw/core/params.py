"""What `params.yaml` may hold, checked before any work is done."""

import dataclasses
import difflib
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from thaw.core.errors import ThawError, as_yaml

Plain = TypeVar("Plain")  # a dataclass


def _no_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("a truth value is not a number")
    return value


# A number in quotes is one too: programs that write YAML 1.1 put `1e-4` in quotes.
Number = Annotated[float, BeforeValidator(_no_bool), Field(strict=False, allow_inf_nan=False)]
RANDOM = re.compile(r"random(?::(\d{1,9}))?")  # the weights of a seed
Optimizer = Literal["adam", "adamw", "rmsprop", "sgd"]
Schedule = Literal["constant", "cosine"]
Initializer = Literal["glorot_uniform", "glorot_normal", "he_uniform", "he_normal"]
Name = Annotated[str, Field(min_length=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
SEED = "a whole number from 0 to 4294967295"
SPREAD = "the largest change, a number from 0 to below 1, or null for the preset's"


def _grouping(value: str) -> str:
    """Refuse what is no rule for `split.group`."""
    kind, _, rest = value.partition(":")
    sound = kind == "column" and rest.strip() == rest != ""
    sound |= kind == "folder" and re.fullmatch(r"-?[1-9]\d{0,8}", rest, re.ASCII) is not None
    if kind == "name":
        try:
            sound = re.compile(rest).groups == 1
        except (re.error, RecursionError):
            sound = False
    if not sound:
        raise ValueError("no rule for groups")
    return value


class Group(BaseModel):
    """A part of `params.yaml`. A field's description says what would be right; errors quote it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Split(Group):
    held_out: Number | None = Field(
        gt=0,
        lt=1,
        description="a share between 0 and 1 of the pictures to hold out of training, "
        "or null for the dataset's own (else 0.3, or 0.2 beside a part that it brings)",
    )
    test: Number | None = Field(
        gt=0,
        lt=1,
        description="a share between 0 and 1 of the held-out pictures to test on, "
        "or null for the dataset's own (else 0.5, or 0.2 beside a part that it brings)",
    )
    seed: Seed = Field(description=SEED)
    group: Annotated[str, AfterValidator(_grouping)] | None = Field(
        description="column: and a column of the dataset's table, folder: and a level of folders "
        "(1 for the outermost, -1 for the innermost), name: and a regular expression with one "
        "group in parentheses, as in 'name:^([0-9]+)_', or null"
    )
    near_duplicates: Literal["together", "refuse", "ignore"] = Field(
        description="together, refuse or ignore"
    )


class Augment(Group):
    preset: Literal["none", "symmetric", "photo"] = Field(description="none, symmetric or photo")
    views: int = Field(ge=1, le=64, description="a whole number of views of each picture, 1 to 64")
    flip: Literal["none", "horizontal", "vertical", "both"] | None = Field(
        description="none, horizontal, vertical or both, or null for the preset's"
    )
    quarter_turns: bool | None = Field(description="true or false, or null for the preset's")
    rotation: Number | None = Field(
        ge=0,
        le=0.5,
        description="the largest rotation as a share of a full turn, 0 to 0.5, or null for the "
        "preset's",
    )
    shift: Number | None = Field(
        ge=0,
        le=0.5,
        description="the largest shift as a share of the side, 0 to 0.5, or null for the preset's",
    )
    area: Number | None = Field(
        gt=0,
        le=1,
        description="the smallest share of the picture's area in a view, above 0 to 1, or null for "
        "the preset's",
    )
    brightness: Number | None = Field(ge=0, lt=1, description=SPREAD)
    contrast: Number | None = Field(ge=0, lt=1, description=SPREAD)
    saturation: Number | None = Field(ge=0, lt=1, description=SPREAD)
    noise: Number | None = Field(
        ge=0,
        le=64,
        description="the largest standard deviation of noise in grey levels, 0 to 64, or null for "
        "the preset's",
    )


def _rule(*names: str) -> AfterValidator:
    """Refuse a text that isn't one of these names, a colon, and a share above 0, up to 1."""

    def check(value: str) -> str:
        name, _, share = value.partition(":")
        if name not in names or not re.fullmatch(r"0?\.\d{1,6}|1(\.0{1,6})?", share, re.ASCII):
            raise ValueError("no such rule")
        if float(share) == 0:
            raise ValueError("a share of nothing")
        return value

    return AfterValidator(check)


Share = Annotated[Number, Field(gt=0, lt=1)]


class Decide(Group):
    calibrate: bool = Field(description="true or false")
    threshold: Share | Annotated[str, _rule("recall", "precision")] | None = Field(
        description="a probability between 0 and 1, recall:0.95 or precision:0.9 or alike, which "
        "finds one on validation, or null for the most probable class"
    )
    costs: dict[str, dict[str, Annotated[Number, Field(ge=0)]]] | None = Field(
        description="what a mistake costs, by the actual class and the one that is said, such as "
        "{sick: {healthy: 10}}, numbers from 0; or null"
    )
    reject_below: Share | Annotated[str, _rule("accuracy", "coverage")] | None = Field(
        description="a probability between 0 and 1, accuracy:0.95 or coverage:0.8 or alike, which "
        "finds one on validation, or null"
    )
    unlike: Share | None = Field(
        description="a share between 0 and 1 of the validation pictures, such as 0.99, or null"
    )


class Cache(Group):
    layer: int | Name = Field(
        description="a layer of the base model, by index or name, to cache the output of, or pixels"
    )
    bottleneck: Literal["pooled", "blocks", "full"] = Field(
        description="pooled (averages and maxima of the last layer's maps), blocks (of every "
        "block's) or full (the last layer's maps)"
    )
    store: Name | None = Field(
        description="a folder or an s3: address to keep the cache in, in parts, or null"
    )


class Network(Group):
    padding: Literal["same", "valid"] = Field(description="same or valid")
    l2: Number = Field(
        ge=0, le=1, description="a number from 0 to 1; training losses include the penalty"
    )
    initializer: Initializer = Field(
        description="glorot_uniform, glorot_normal, he_uniform or he_normal"
    )
    batch_norm: bool = Field(description="true or false")


class Onnx(Group):
    mean: list[Number] = Field(
        min_length=3, max_length=3, description="a list of three numbers: red's, green's, blue's"
    )
    std: list[Annotated[Number, Field(gt=0)]] = Field(
        min_length=3,
        max_length=3,
        description="a list of three numbers above 0: red's, green's, blue's",
    )


class Training(Group):
    optimizer: Optimizer = Field(description="adam, adamw, rmsprop or sgd")
    learning_rate: Number = Field(gt=0, le=10, description="a number above 0, such as 0.0001")
    schedule: Schedule = Field(description="constant or cosine")
    weight_decay: Number = Field(
        ge=0, lt=1, description="a number from 0 to below 1; it counts with optimizer adamw alone"
    )
    momentum: Number = Field(
        ge=0, lt=1, description="a number from 0 to below 1; it counts with sgd and rmsprop alone"
    )
    epochs: int = Field(ge=1, le=10_000, description="a whole number from 1 to 10000")


class Head(Training):
    ema: Number = Field(
        ge=0, lt=1, description="a number from 0 (no averaging) to below 1, such as 0.99"
    )
    classifier: Literal["dense", "svm", "logistic"] = Field(description="dense, svm or logistic")
    pooling: Literal["average", "max", "average_max", "flatten"] = Field(
        description="average, max, average_max or flatten"
    )
    hidden: list[Annotated[int, Field(ge=1, le=65_536)]] = Field(
        description="a list of the widths of dense hidden layers, such as [256], or []"
    )
    standardize: bool = Field(description="true or false")
    dropout: Number = Field(ge=0, lt=1, description="a number from 0 to below 1")
    l2: Number = Field(
        ge=0, le=1, description="a number from 0 to 1; training losses include the penalty"
    )
    initializer: Initializer = Field(
        description="glorot_uniform, glorot_normal, he_uniform or he_normal"
    )
    batch_norm: bool = Field(description="true or false")
    epochs: int = Field(
        ge=0,
        le=10_000,
        description="a whole number from 0 (fine_tune trains the head too) to 10000",
    )


class FineTune(Training):
    train: Literal["all", "scales"] = Field(description="all or scales")
    warmup: Number = Field(
        ge=0, le=1000, description="a number of epochs from 0, in which the rate rises"
    )
    layer_decay: Number = Field(
        gt=0, le=1, description="a number above 0, up to 1 (all layers learn at one rate)"
    )
    centralize: bool = Field(description="true or false")
    clip: Annotated[Number, Field(gt=0)] | None = Field(
        description="the largest norm of a step's gradient, a number above 0, or null"
    )
    ema: Number = Field(
        ge=0, lt=1, description="a number from 0 (no averaging) to below 1, such as 0.99"
    )
    label_smoothing: Number = Field(
        ge=0, lt=1, description="a number from 0 to below 1, such as 0.1"
    )
    mixup: Number = Field(ge=0, le=10, description="a number from 0 to 10, such as 0.2")
    batch_norm: Literal["frozen", "trained"] = Field(description="frozen or trained")
    precision: Literal["float32", "bfloat16"] = Field(description="float32 or bfloat16")


class Params(Group):
    dataset: str = Field(min_length=1, description="the name of a file of datasets/, without .yaml")
    source: str | None = Field(
        min_length=1,
        description="a path, or an https:, file: or pypi: address, to take the dataset from, "
        "or null for the entry's own",
    )
    on_bad_image: Literal["fail", "skip"] = Field(description="fail or skip")
    base_model: str = Field(
        min_length=1,
        description="the name of a network of keras.applications, EfficientNetLite0 to 2, "
        "cifar10_cnn, or onnx: and the path of an ONNX file",
    )
    weights: str = Field(
        min_length=1,
        description="pypi, imagenet, random, random:1 (of seed 1), or the path of a "
        ".weights.h5 file",
    )
    feature_layer: Annotated[int, Field(ge=1)] | Name | None = Field(
        description="the index or name of the layer whose output the head reads, or null for the "
        "last"
    )
    bit_depth: Literal["file", "data"] | Annotated[int, Field(ge=8, le=16)] = Field(
        description="file, data, or a whole number of bits from 8 to 16"
    )
    image_size: int = Field(ge=32, le=2048, description="a whole number of pixels from 32 to 2048")
    resize: Literal["stretch", "crop"] = Field(description="stretch or crop")
    fine_tune_at: Annotated[int, Field(ge=0)] | Name | None = Field(
        description="the index or name of the first layer to thaw, or null to keep all frozen"
    )
    average_views: bool = Field(description="true or false")
    positive: Name | None = Field(
        description="the name of the class whose precision, recall and F1 count (quoted where it "
        "looks like a number, yes or no), or null"
    )
    class_weight: Literal["none", "balanced"] | dict[str, Annotated[Number, Field(gt=0)]] = Field(
        description="none, balanced, or a number above 0 by class, such as {sick: 3}"
    )
    sampling: Literal["all", "balanced"] = Field(description="all or balanced")
    select: Literal["loss", "accuracy", "f1", "roc_auc", "last"] = Field(
        description="loss, accuracy, f1, roc_auc or last"
    )
    patience: Annotated[int, Field(ge=1)] | None = Field(
        description="a whole number of epochs from 1, or null"
    )
    batch_size: int = Field(ge=1, le=4096, description="a whole number from 1 to 4096")
    seed: Seed = Field(description=SEED)
    threads: int = Field(ge=1, le=256, description="a whole number of training threads, 1 to 256")
    tensorboard: bool = Field(description="true or false")
    cores: Annotated[int, Field(ge=1)] | None = Field(
        description="a whole number of processor cores from 1, or null for all there are"
    )
    engine: Literal["local", "ray"] = Field(description="local or ray")
    split: Split = Field(description="the group of split.held_out, split.group and so on")
    augment: Augment = Field(description="the group of augment.preset, augment.views and so on")
    onnx: Onnx = Field(description="the group of onnx.mean and onnx.std")
    network: Network = Field(description="the group of network.padding, network.l2 and so on")
    cache: Cache = Field(description="the group of cache.layer and cache.bottleneck")
    head: Head = Field(description="the group of head.pooling, head.dropout and so on")
    fine_tune: FineTune = Field(description="the group of fine_tune.learning_rate and so on")
    decide: Decide = Field(description="the group of decide.threshold and so on")


def parse(values: object, place: str = "params.yaml") -> Params:
    """Check parameters as read from YAML.

    Raises:
        ThawError: with a sentence for each wrong value, saying what would be right.
    """
    if not isinstance(values, Mapping):
        raise ThawError(f"{place} holds no parameters; restore it with `git checkout {place}`")
    try:
        return Params.model_validate(dict(values))
    except ValidationError as error:
        sentences: dict[str, None] = {}
        for problem in error.errors():
            sentences[_sentence(problem["loc"], problem["type"], values)] = None
        raise ThawError(f"{place}: " + "; ".join(sentences)) from None


def settings(params: Params) -> str:
    """All parameters that results may follow from, as text: all but `cores` and `engine`."""
    return str(dict(params) | {"cores": None, "engine": None})


def plain(kind: type[Plain], group: Group) -> Plain:
    """Make a dataclass of the library from a group whose fields have the same names.

    A field that the group hasn't keeps its default.
    """
    names = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in group if name in names})


def _sentence(location: tuple[int | str, ...], kind: str, values: Mapping[str, Any]) -> str:
    model: type[BaseModel] = Params
    value: Any = values
    names: list[str] = []
    description = ""
    for part in location:
        field = model.model_fields.get(str(part))
        if field is None:
            if kind == "extra_forbidden":
                close = difflib.get_close_matches(str(part), list(model.model_fields), n=1)
                known = (
                    f"did you mean {close[0]}?"
                    if close
                    else ("the parameters here are " + ", ".join(model.model_fields))
                )
                return f"{'.'.join([*names, str(part)])} is not a parameter ({known})"
            break  # an item of a list, or a branch of a union
        names.append(str(part))
        description = field.description or ""
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        elif kind == "missing":
            return f"{'.'.join(names)} is missing: give {description}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            model = field.annotation
    return f"{'.'.join(names)}: {as_yaml(value)}: give {description}"
