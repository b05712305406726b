"""Markdown: tables, code, signed numbers."""

import re
from collections.abc import Sequence

from thaw.core.errors import one_line


def code(value: object) -> str:
    """Any text as code in Markdown, since a name may hold markup of Markdown, HTML or a table."""
    text = one_line(str(value))
    if text.strip() == text != "" and not re.search(r"[`|\\]", text):
        return f"`{text}`"
    escaped = "".join(c if c.isalnum() else f"&#{ord(c)};" for c in text)
    return f"<code>{escaped}</code>"


def place(value: object) -> object:
    """A path or file: address of this machine without its folders; all else as it is.

    Where pictures lie on somebody's disk is nothing that a report should tell.
    """
    text = str(value)
    if not isinstance(value, str) or not re.match(r"(file:|onnx:|[/~\\]|[A-Za-z]:[/\\])", text):
        return value
    name = re.split(r"[/\\]", text.rstrip("/\\"))[-1]
    return f"{'onnx:' if text.startswith('onnx:') else ''}…/{name}"


def signed(value: float, form: str = ".4f") -> str:
    """With + or −, so that the sign needs no colour."""
    text = f"{value:+{form}}"
    return text.replace("-", "−") if re.search("[1-9]", text) else text.lstrip("+-")


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [f"| {' | '.join(cells)} |" for cells in (columns, *rows)]
    return "\n".join([lines[0], "|---" * len(columns) + "|", *lines[1:]])
