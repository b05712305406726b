"use strict";
// The slider: what comes of each threshold, one class against the rest.
{
  const data = JSON.parse(document.getElementById("data").textContent);
  const { grid, used, classes, parts } = data.thresholds;
  const slider = document.getElementById("threshold-at");
  const chosen = document.getElementById("threshold-class");
  const back = document.getElementById("threshold-used");
  const middle = grid.findIndex((each) => each >= 0.5);
  const share = (part, whole) => (whole ? part / whole : NaN);
  const shown = (value) => (Number.isNaN(value) ? "–" : `${(100 * value).toFixed(1)}%`);

  function judge(part, k, at) {
    const [positives, others, right, wrong] = part.classes[k];
    const hits = right[at], alarms = wrong[at];
    return {
      cells: [hits, positives - hits, alarms, others - alarms],
      recall: share(hits, positives),
      precision: share(hits, hits + alarms),
      accuracy: share(hits + others - alarms, positives + others),
    };
  }

  function points(part, k, name) {
    return grid.map((x, at) => [100 * x, 100 - 100 * judge(part, k, at)[name]]).filter(([, y]) => !Number.isNaN(y)).map((xy) => xy.map((each) => each.toFixed(2)).join(",")).join(" ");
  }

  function drawLines() {
    const k = chosen.selectedIndex;
    for (const name of ["recall", "precision"]) document.getElementById(`line-${name}`).setAttribute("points", points(parts[0], k, name));
    show();
  }

  function show() {
    const k = chosen.selectedIndex, at = Number(slider.value), name = data.classes[classes[k]];
    document.getElementById("threshold-value").textContent = String(Math.round(grid[at] * 1e6) / 1e6);
    slider.setAttribute("aria-valuetext", `threshold ${grid[at]}`);
    const line = document.getElementById("line-at");
    for (const end of ["x1", "x2"]) line.setAttribute(end, 100 * grid[at]);
    for (const each of document.querySelectorAll(".threshold-name")) each.textContent = name;
    document.querySelectorAll(".judged").forEach((box, place) => {
      const found = judge(parts[place], k, at);
      box.querySelectorAll("td").forEach((cell, number) => { cell.textContent = found.cells[number]; });
      for (const each of ["recall", "precision", "accuracy"]) box.querySelector(`[data-score=${each}]`).textContent = shown(found[each]);
    });
    back.disabled = at === (used ?? middle);
  }

  slider.max = grid.length - 1;
  slider.value = used ?? middle;
  back.addEventListener("click", () => { slider.value = used ?? middle; show(); });
  slider.addEventListener("input", show);
  chosen.addEventListener("input", drawLines);
  drawLines();
}
