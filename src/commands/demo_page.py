"""The page that `python src demo` serves."""

import io
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import streamlit as st
from PIL import Image

import workspace
from commands.demo import MEGABYTES
from thaw.core.errors import ThawError, one_line
from thaw.drawing import markdown
from thaw.evaluation.inference import Array, Classifier
from thaw.evaluation.record import Evaluation
from thaw.files import kinds, tables
from thaw.pictures import decoding
from thaw.review import heatmaps
from thaw.training import saving

SHOWN = 5  # classes
NAMED = 10  # classes
SAMPLES = 6  # pictures, one a class
THUMBNAIL = 96  # pixels
# Streamlit's own limit is not the page's; it would stand beside it.
WITHOUT_LIMIT = "<style>[data-testid=stFileUploaderDropzoneInstructions] { display: none }</style>"
FILES = 50  # at once


@dataclass(frozen=True)
class Given:
    """A file that somebody gave."""

    name: str
    content: bytes


@dataclass(frozen=True)
class Seen:
    """What the model says of a picture, and the picture as it takes it."""

    name: str
    pixels: decoding.Pixels
    shares: Array
    decided: int  # the number of the class that the model says
    doubt: str  # why it doesn't know; empty where it does


class RefusedError(Exception):
    """Why a file gets no class, in a sentence."""


# Both are loaded again when they were written again.
@st.cache_resource(max_entries=1, show_spinner="Loading the model")
def classifier(written: int) -> Classifier:  # noqa: ARG001
    return Classifier(workspace.MODELS / "model.onnx")


@st.cache_resource(max_entries=1, show_spinner="Loading TensorFlow, for the heat map")
def explainer(written: int) -> heatmaps.Explainer:  # noqa: ARG001
    return heatmaps.Explainer(saving.load(workspace.MODELS / "model.keras"))


def changed(name: str) -> int:
    """When a model was written, in nanoseconds.

    Raises:
        ThawError: when it's gone, as while `dvc repro` runs.
    """
    try:
        return (workspace.MODELS / name).stat().st_mtime_ns
    except OSError:
        raise ThawError(
            f"models/{name} is missing; run `dvc repro`, or wait until it has ended"
        ) from None


def plain(text: str) -> str:
    """Make any name harmless where Streamlit reads Markdown, which may fetch pictures."""
    return re.sub(r"([^\w\s])", r"\\\1", text)


def listed(names: Sequence[str]) -> str:
    """Names in a sentence, the first of many."""
    if len(names) > NAMED:
        return f"{', '.join(names[:NAMED])} and {len(names) - NAMED:,} more"
    return f"{', '.join(names[:-1])} and {names[-1]}"


def about(classes: Sequence[str]) -> str:
    """What the model is, tells apart, and how often it is right, as far as the run says."""
    base = str(markdown.place(workspace.read_params().base_model))
    sentences = [f"The model tells {len(classes):,} classes apart: {listed(classes)}."]
    try:
        tested = Evaluation.of(workspace.read_json(workspace.METRICS / "test.json"))
    except (OSError, ValueError, KeyError, TypeError):  # none, or of an older Thaw
        return " ".join([f"{base}.", *sentences])
    model = list(tested.compared)[-1]
    low, high = tested.intervals[model]["accuracy"]
    how = "fine-tuned" if tested.thawed else "frozen, with a head trained on it"
    return " ".join(
        [
            f"{base}, {how}.",
            *sentences,
            f"On {tested.pictures:,} test pictures {tested.scores[model]['accuracy']:.1%} of its "
            f"answers were right (95 % interval {low:.1%} to {high:.1%}).",
        ]
    )


def honest(model: Classifier) -> str:
    """What a class that it names is worth."""
    named = "The model always names one of its classes, also for a picture of something else"
    decision = model.decision
    if decision.unlike_above is None and not decision.reject_below:
        return f"{named}."
    return f"{named}; where it is in doubt, it says so."


def samples(classes: Sequence[str]) -> dict[str, Path]:
    """A validation picture of each class, where the dataset is here."""
    try:
        rows = tables.read(workspace.VALIDATION).drop_duplicates("label")
    except (OSError, ThawError):
        return {}
    found = zip(rows["label"], rows["path"], strict=True)
    paths = {label: workspace.IMAGES / path for label, path in found}
    return {name: paths[name] for name in classes if name in paths and paths[name].is_file()}


def readable(content: bytes) -> bytes:
    """The file, or a HEIC picture as PNG where its reader is installed."""
    if kinds.kind(content[: kinds.HEAD]) != "HEIC":
        return content
    try:
        import pi_heif
    except ImportError:  # the error then says what to do
        return content
    try:
        opened = pi_heif.open_heif(io.BytesIO(content))
        if opened.size[0] * opened.size[1] > decoding.MAX_PIXELS:
            raise RefusedError(decoding.TOO_LARGE)
        buffer = io.BytesIO()
        opened.to_pillow().convert("RGB").save(buffer, "PNG", compress_level=1)
    except (ValueError, OSError, SyntaxError, RuntimeError) as error:
        raise RefusedError(one_line(f"a damaged HEIC picture ({error})")) from None
    return buffer.getvalue()


def look(given: Given, model: Classifier) -> Seen:
    """Classify a file.

    Raises:
        RefusedError: when it is too large, or no picture.
    """
    if len(given.content) > MEGABYTES * 2**20:
        raise RefusedError(f"{given.name} is larger than {MEGABYTES} MB. Give a smaller picture.")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "uploaded"
        try:
            path.write_bytes(readable(given.content))
            pixels = model.look(path)
        except decoding.BadImageError as error:
            reason = error.reason
        except RefusedError as error:
            reason = str(error)
        else:
            found = model.judge(pixels)
            assert found.probabilities is not None
            return Seen(given.name, pixels, found.probabilities, found.decided, found.doubt)
    raise RefusedError(f"{given.name} can't be read: {reason}. Give another picture.")


def row(seen: Seen, classes: Sequence[str]) -> None:
    """One of several pictures."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.image(Image.fromarray(seen.pixels), width=THUMBNAIL)
        says = f"**{plain(classes[seen.decided])}**, {seen.shares[seen.decided]:.1%}"
        doubt = f"  \n{plain(f'In doubt: {seen.doubt}.')}" if seen.doubt else ""
        st.write(f"{says}{doubt}  \n{plain(seen.name)}")


def closer(seen: Seen, model: Classifier) -> None:
    """One picture with its class, confidence and heat map."""
    shares, best = seen.shares, seen.decided
    left, right = st.columns(2)
    left.metric("class", model.classes[best])
    right.metric("confidence", f"{shares[best]:.1%}")
    if seen.doubt:
        st.warning(plain(f"The model is in doubt: {seen.doubt}."))
    left, right = st.columns(2)
    left.image(Image.fromarray(seen.pixels), "as the network sees it", width="stretch")
    asked = st.selectbox(
        "Heat map of", model.classes, index=best, help="Grad-CAM: brighter speaks more for it"
    )
    for label in sorted(shares.argsort()[::-1][:SHOWN].tolist()):
        st.progress(float(shares[label]), f"{plain(model.classes[label])}: {shares[label]:.1%}")
    with right, st.spinner("drawing the heat map"):
        label = model.classes.index(asked)
        try:
            explained = explainer(changed("model.keras"))
        except ThawError as error:
            right.info(plain(f"{error}."))
            return
        heat = explained.heat(seen.pixels, label, model.symmetries)
        overlaid = Image.fromarray(heatmaps.overlay(seen.pixels, heat))
        st.image(overlaid, f"what speaks for {plain(asked)}", width="stretch")
        st.image(Image.fromarray(heatmaps.scale()), "nothing … most", width="stretch")
    if not heat.any():
        right.info(f"Nothing in the picture speaks for {plain(asked)}.")


def show(given: Sequence[Given], model: Classifier) -> None:
    """All results, those that were refused first."""
    found = []
    for each in given[:FILES]:
        try:
            found.append(look(each, model))
        except RefusedError as error:
            st.error(plain(str(error)))
    if len(given) > FILES:
        st.warning(
            f"{len(given)} files are more than {FILES}: the first {FILES} are shown. For a folder, "
            "run `python src predict`."
        )
    if len(found) > 1:
        for seen in found:
            row(seen, model.classes)
        names = [f"{number}. {seen.name}" for number, seen in enumerate(found, start=1)]
        at = st.selectbox("Look closer at", range(len(found)), format_func=names.__getitem__)
        found = [found[at]]
    if found:
        closer(found[0], model)


def take(key: str) -> None:
    """What was dropped takes the place of what was there, and the next one the place of that."""
    files = st.session_state[key]
    if files:
        st.session_state["given"] = [Given(each.name, each.getvalue()) for each in files]
        st.session_state["round"] = st.session_state.get("round", 0) + 1


def take_sample(path: Path) -> None:
    st.session_state["given"] = [Given(path.name, path.read_bytes())]


@st.cache_data(max_entries=10 * SAMPLES, show_spinner=False)
def thumbnail(path: str, written: int) -> decoding.Pixels:  # noqa: ARG001
    return decoding.load(Path(path), THUMBNAIL, "crop")


def offer(found: dict[str, Path]) -> None:
    """A picture of each class, a click away."""
    st.caption("No picture at hand? Try one of the validation pictures:")
    with st.container(horizontal=True):
        for name, path in list(found.items())[:SAMPLES]:
            with st.container(width=THUMBNAIL + 24):
                st.image(thumbnail(str(path), path.stat().st_mtime_ns), width=THUMBNAIL)
                st.button(plain(name), key=f"sample {name}", on_click=take_sample, args=(path,))


def main() -> None:
    st.set_page_config("Thaw: try the model", page_icon="❄️")
    st.title("Try the model")
    try:
        model = classifier(changed("model.onnx"))
        st.write(plain(about(model.classes)))
        st.write(f"Drop pictures. They stay on this machine. {honest(model)}")
        st.html(WITHOUT_LIMIT)
        key = f"files {st.session_state.get('round', 0)}"
        st.file_uploader(
            f"Pictures, up to {MEGABYTES} MB each",
            accept_multiple_files=True,
            key=key,
            on_change=take,
            args=(key,),
        )
        if found := samples(model.classes):
            offer(found)
        if given := st.session_state.get("given"):
            show(given, model)
    except ThawError as error:
        st.error(plain(str(error)))


if __name__ == "__main__":
    main()
