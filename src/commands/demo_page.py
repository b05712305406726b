"""The page that `python src demo` serves."""

import re
import tempfile
from io import BytesIO
from pathlib import Path

import streamlit as st
from PIL import Image

import workspace
from commands.demo import MEGABYTES
from thaw.core.errors import ThawError
from thaw.evaluation.inference import Classifier
from thaw.pictures import decoding
from thaw.review import heatmaps
from thaw.training import saving

SHOWN = 5  # classes


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


def pixels(content: BytesIO, model: Classifier) -> decoding.Pixels:
    """What the network sees of an uploaded file.

    Raises:
        BadImageError: when it is no picture.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "uploaded"
        path.write_bytes(content.getbuffer())
        return decoding.load(path, model.image_size, model.resize, model.bit_depth)


def show(name: str, content: BytesIO) -> None:
    if content.getbuffer().nbytes > MEGABYTES * 2**20:
        st.error(f"{plain(name)} is larger than {MEGABYTES} MB. Give a smaller picture.")
        return
    model = classifier(changed("model.onnx"))
    try:
        seen = pixels(content, model)
    except decoding.BadImageError as error:
        st.error(f"{plain(name)} can't be read: {plain(error.reason)}. Give another picture.")
        return
    shares = model.judge(seen).probabilities
    assert shares is not None
    order = shares.argsort()[::-1]
    best = int(order[0])
    left, right = st.columns(2)
    left.metric("class", model.classes[best])
    right.metric("confidence", f"{shares[best]:.1%}")
    left, right = st.columns(2)
    left.image(Image.fromarray(seen), "as the network sees it", width="stretch")
    asked = st.selectbox(
        "Heat map of", model.classes, index=best, help="Grad-CAM: brighter speaks more for it"
    )
    for label in sorted(order[:SHOWN].tolist()):
        st.progress(float(shares[label]), f"{plain(model.classes[label])}: {shares[label]:.1%}")
    with right, st.spinner("drawing the heat map"):
        label = model.classes.index(asked)
        try:
            explained = explainer(changed("model.keras"))
        except ThawError as error:
            right.info(plain(f"{error}."))
            return
        heat = explained.heat(seen, label, model.symmetries)
        overlaid = Image.fromarray(heatmaps.overlay(seen, heat))
        st.image(overlaid, f"what speaks for {plain(asked)}", width="stretch")
    if not heat.any():
        right.info(f"Nothing in the picture speaks for {plain(asked)}.")


st.set_page_config("Thaw: try the model", page_icon="❄️")
st.title("Try the model")
st.write(
    "Drop a picture. It stays on this machine. The model always names one of its classes, "
    "also for a picture of something else."
)
uploaded = st.file_uploader(f"Picture, up to {MEGABYTES} MB")
if uploaded:
    try:
        show(uploaded.name, uploaded)
    except ThawError as error:
        st.error(plain(str(error)))
