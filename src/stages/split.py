"""Stage `split`: check pictures, divide them into training, validation and test: data/split.csv."""

import workspace
from thaw.core import effects
from thaw.core.errors import shortlist
from thaw.files import tables
from thaw.files.serialize import write_csv, write_json
from thaw.splitting import groups, splits
from thaw.splitting.screening import screen


def main() -> None:
    params = workspace.read_params()
    pictures = tables.read(workspace.LABELS)
    for line in effects.split_notes(params.split, {*pictures["part"]}):
        print(f"note: {line}")
    dataset = workspace.read_dataset()
    workspace.check_positive(params, dataset["classes"])  # of stage evaluate: now, not at the end
    content, bad = screen(
        pictures, workspace.IMAGES, params.on_bad_image, workspace.BAD_IMAGES, params.bit_depth
    )
    good = pictures[pictures["path"].isin(content)]
    columns: tuple[str, ...] = splits.COLUMNS
    of: dict[str, str] | None = None
    if params.split.group is not None:
        good = good.assign(group=groups.assign(good, params.split.group))
        columns = (*columns, "group")
        of = dict(zip(good["path"], good["group"], strict=True))
    usual, published = splits.usual_shares({*pictures["part"]}), dataset["split"]
    divided = splits.divide(
        good,
        content,
        held_out=params.split.held_out or published["held_out"] or usual.held_out,
        test=params.split.test or published["test"] or usual.test,
        seed=params.split.seed,
        groups=of,
    )
    table = good.assign(split=good["path"].map(divided.split)).dropna(subset="split")
    write_csv(workspace.SPLIT, columns, table[[*columns]].itertuples(index=False, name=None))
    labels = dict(zip(good["path"], good["label"], strict=True))
    known = splits.counts(divided.split, labels)
    counts = {
        part: {name: by_class[name] for name in dataset["classes"] if name in by_class}
        for part, by_class in known.items()
    }
    write_json(
        workspace.METRICS / "split.json",
        {
            "pictures": counts,
            "identical": divided.duplicates,
            "identical_left_out": len(divided.left_out),
            "identical_with_other_label": len(divided.conflicts),
            "bad": len(bad),
        }
        | ({} if of is None else {"group_left_out": len(divided.straddling)}),
    )
    for part, by_class in counts.items():
        print(f"{part:<11}", ", ".join(f"{count} {name}" for name, count in by_class.items()))
    if doubt := splits.doubt(sum(counts["test"].values())):
        print(f"note: {doubt}")
    if of is not None:
        print(splits.balance(divided.split, labels, of))
    if divided.straddling:
        print(
            f"left out: {len(divided.straddling)} pictures of parts that the dataset brings, as "
            "others of their groups are in a later part, which stays as it is: "
            f"{shortlist(divided.straddling, 3)}"
        )
    print(
        f"{divided.duplicates} pictures are identical to another "
        f"({len(divided.left_out)} left out of training, {len(divided.conflicts)} with two labels)"
    )
