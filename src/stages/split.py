"""Stage `split`: check pictures, divide them into training, validation and test: data/split.csv."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict

import numpy as np

import workspace
from thaw.core import effects
from thaw.core.errors import ThawError, shortlist, some
from thaw.files import tables
from thaw.files.serialize import write_csv, write_json
from thaw.pictures.decoding import Pixels
from thaw.splitting import alike, corrections, groups, splits
from thaw.splitting.screening import screen

Pairs = list[tuple[str, str, float, str]]  # two paths, how like they are, and by what they differ


def look_for_copies(
    small: Mapping[str, Pixels], content: Mapping[str, str], do: str, dropped: Container[str]
) -> tuple[Pairs, Pairs]:
    """Pairs of near-duplicates; none where copies can't be told from others.

    Returns:
        All pairs, and those without a picture that is dropped, which are listed in a file.

    Raises:
        ThawError: where there are some and they are to be refused.
    """
    order = sorted(sorted(small, reverse=True), key=lambda path: path not in dropped)
    of = {content[path]: path for path in order}  # identical ones once, rather what is kept
    paths = [of[each] for each in sorted(of)]  # whatever files are called
    pairs: Pairs = []
    if do != "ignore":
        if len(paths) > alike.MANY:
            print(
                f"note: split.near_duplicates: of more than {alike.MANY:,} pictures, copies that "
                "were cropped aren't looked for"
            )
        try:
            found = alike.find(np.stack([small[path] for path in paths]), most(len(paths)))
            for pair in found:
                one, other = sorted((paths[pair.one], paths[pair.other]))
                pairs.append((one, other, pair.similarity, pair.how))
            pairs.sort()
        except alike.TooMuchAlikeError as error:
            print(
                f"note: split.near_duplicates: {do} does nothing here: {error.largest:,} of "
                f"{len(paths):,} pictures are each like the next, so copies can't be told from "
                "pictures that look alike; where you know what belongs together, set split.group"
            )
    kept = [pair for pair in pairs if pair[0] not in dropped and pair[1] not in dropped]
    write_csv(workspace.NEAR_DUPLICATES, ("path", "other", "similarity", "how"), kept)
    if kept and do == "refuse":
        listed = shortlist([f"{one} and {other} ({how})" for one, other, _, how in kept], 3)
        raise ThawError(
            f"{some(len(kept), 'pair')} of near-duplicates: {listed} (all in "
            f"{workspace.NEAR_DUPLICATES}); remove one of each, or set split.near_duplicates in "
            "params.yaml to together"
        )
    return pairs, kept


def most(count: int) -> int:
    """How many pictures, each like the next, may be copies: a tenth, and twenty in any case."""
    return max(20, count // 10)


def main() -> None:
    params = workspace.read_params()
    pictures = tables.read(workspace.LABELS)
    for line in effects.split_notes(params.split, {*pictures["part"]}):
        print(f"note: {line}")
    dataset = workspace.read_dataset()
    workspace.check_classes(params, dataset["classes"])  # of later stages: now, not at the end
    by_people = corrections.read(workspace.CORRECTIONS)
    place = str(workspace.CORRECTIONS)
    corrections.check(by_people, pictures["path"].tolist(), dataset["classes"], place)
    dropped = corrections.dropped(by_people)
    columns: tuple[str, ...] = splits.COLUMNS
    if params.split.group is not None:
        columns = (*columns, "group")
        pictures["group"] = groups.assign(pictures, params.split.group)
    content, bad, small = screen(
        *(pictures, workspace.IMAGES, params.on_bad_image, workspace.BAD_IMAGES),
        bit_depth=params.bit_depth,
        dropped=dropped,
    )
    tied, pairs = look_for_copies(small, content, params.split.near_duplicates, dropped)
    good = pictures[pictures["path"].isin(content)]
    usual, published = splits.usual_shares({*pictures["part"]}), dataset["split"]
    of = dict(zip(good["path"], good["group"], strict=True)) if "group" in good else None
    divided = splits.divide(
        good,  # by the labels that came, dropped ones too: a correction moves no other picture
        content,
        held_out=params.split.held_out or published["held_out"] or usual.held_out,
        test=params.split.test or published["test"] or usual.test,
        seed=params.split.seed,
        groups=of,
        alike=[(one, other) for one, other, *_ in tied],
    )
    labels = corrections.corrected(dict(zip(good["path"], good["label"], strict=True)), by_people)
    for path in dropped & {*labels}:
        del labels[path]
    side = {path: part for path, part in divided.split.items() if path not in dropped}
    table = good.assign(split=good["path"].map(side), label=good["path"].map(labels))
    table = table.dropna(subset="split")
    known = splits.counts(side, labels)
    refuse_empty(known, sorted({*good["label"], *labels.values()}))
    write_csv(workspace.SPLIT, columns, table[[*columns]].itertuples(index=False, name=None))
    counts = {
        part: {name: by_class[name] for name in dataset["classes"] if name in by_class}
        for part, by_class in known.items()
    }
    identical = len(labels) - len({content[path] for path in labels})
    left_out = [path for path in divided.left_out if path not in dropped]
    conflicts = splits.conflicts(labels, content)
    made = corrections.count(by_people, dict(zip(pictures["path"], pictures["label"], strict=True)))
    write_json(
        workspace.METRICS / "split.json",
        {
            "pictures": counts,
            "identical": identical,
            "identical_left_out": len(left_out),
            "identical_with_other_label": len(conflicts),
            "near_duplicates": len(pairs),
            "tied_left_out": len(divided.straddling),
            "bad": len(bad),
            **({"corrections": asdict(made)} if by_people else {}),
        },
    )
    for part, by_class in counts.items():
        print(f"{part:<11}", ", ".join(f"{count} {name}" for name, count in by_class.items()))
    if by_people:
        print(f"{workspace.CORRECTIONS}: {made}")
    if doubt := splits.doubt(sum(counts["test"].values())):
        print(f"note: {doubt}")
    print(
        f"{identical} pictures are identical to another "
        f"({len(left_out)} left out of training, {len(conflicts)} with two labels)"
    )
    if pairs:
        print(f"{some(len(pairs), 'pair')} of near-duplicates, kept together: ", end="")
        print(told(pairs, labels))
    if of is not None:
        print(splits.balance(side, labels, of))
    if divided.straddling:
        print(
            f"left out: {some(len(divided.straddling), 'picture')} of parts that the dataset "
            "brings, as others of their group, or near-duplicates, are in a later part, which "
            f"stays as it is: {shortlist(divided.straddling, 3)}"
        )


def refuse_empty(counts: Mapping[str, Mapping[str, int]], classes: Sequence[str]) -> None:
    """Refuse corrections that leave a split without a class: `divide` looked at all pictures."""
    for part, by_class in counts.items():
        if gone := [name for name in classes if not by_class.get(name)]:
            raise ThawError(
                f"{workspace.CORRECTIONS}: it leaves no picture of the class {shortlist(gone)} in "
                f"the {part} split; take some corrections back, or remove the class"
            )


def told(pairs: Pairs, labels: Mapping[str, str]) -> str:
    """The first pairs, and how many of all have two labels."""
    two = sum(labels[one] != labels[other] for one, other, *_ in pairs)
    listed = shortlist([f"{one} and {other} ({how})" for one, other, _, how in pairs], 3)
    return f"{listed}; {two} with two labels; all in {workspace.NEAR_DUPLICATES}"
