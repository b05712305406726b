"""Make .dvc/plots/page.html, which DVC fills with its charts: plots_page.html with Vega inside.

Run it after a change of that file or of the pinned vl-convert: python tools/plots_page.py
"""

from pathlib import Path

import vl_convert

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / ".dvc/plots/page.html"
LICENCES = HERE.parent / "src/thaw/review/templates/licences.html"


def page() -> str:
    skeleton = (HERE / "plots_page.html").read_text(encoding="utf-8")
    bundle = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    licences = LICENCES.read_text(encoding="utf-8").rstrip("\n")
    return skeleton.replace("{licences}", licences).replace("{vega}", bundle)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8", newline="\n")
