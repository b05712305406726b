import pandas as pd
import pytest

from thaw.core.errors import ThawError
from thaw.datasets import labels
from thaw.splitting import groups
from thaw.splitting.groups import assign

PICTURES = pd.DataFrame(
    {
        "path": ["train/ok/p1/7_a.png", "train/ok/p2/8_b.png", "test/nok/p1/7_c.png"],
        "part": ["train", "train", "test"],
        "subgroup": ["mono", "poly", "mono"],
        "column:patient": ["Ann", " Bob", "Ann "],
        "column:eye": ["left", "", "right"],
    }
)
PLAIN = PICTURES.drop(columns=["column:patient", "column:eye"]).assign(subgroup="")


@pytest.mark.parametrize(
    ("rule", "found"),
    [
        ("column:patient", ["Ann", "Bob", "Ann"]),
        ("column:subgroup", ["mono", "poly", "mono"]),
        ("folder:1", ["train", "train", "test"]),
        ("folder:3", ["p1", "p2", "p1"]),
        ("folder:-1", ["p1", "p2", "p1"]),
        ("folder:-2", ["ok", "ok", "nok"]),
        (r"name:^(\d+)_", ["7", "8", "7"]),
        (r"name:_(?:a|c|(b))", None),
        ("name:([abc])[.]png$", ["a", "b", "c"]),
    ],
)
def test_a_rule_gives_each_picture_its_group(rule: str, found: list[str] | None):
    if found is None:
        with pytest.raises(ThawError, match=r"2 of 3 pictures have a name that it doesn't fit"):
            assign(PICTURES, rule)
    else:
        assert assign(PICTURES, rule).tolist() == found


@pytest.mark.parametrize(
    ("pictures", "rule", "told"),
    [
        (
            PICTURES,
            "column:name",
            "column:name: the dataset's table has no further column name; give one of patient, "
            "eye, subgroup (the column that table.subgroup in its file names), or null",
        ),
        (
            PLAIN,
            "column:patient",
            "column:patient: this dataset has no table with further columns; give folder: and a "
            "level, name: and a pattern, or null",
        ),
        (
            PICTURES,
            "column:eye",
            "column:eye: 1 of 3 pictures have an empty cell there, such as train/ok/p2/8_b.png; "
            "mend them, give another rule, or null",
        ),
        (PICTURES, "folder:4", "folder:4: 3 of 3 pictures lie in fewer folders, such as train/ok"),
        (PICTURES, "folder:-4", "folder:-4: 3 of 3 pictures lie in fewer folders, such as train/"),
        (PICTURES, "name:^(x)", "name:^(x): 3 of 3 pictures have a name that it doesn't fit"),
        (PICTURES, "name:(png)$", "name:(png)$: all pictures are of the one group png; give anot"),
    ],
)
def test_a_rule_that_does_not_fit_is_refused(pictures: pd.DataFrame, rule: str, told: str):
    with pytest.raises(ThawError) as caught:
        assign(pictures, rule)
    assert str(caught.value).startswith(f"params.yaml: split.group: {told}")


def test_three_pictures_without_a_group_are_named():
    pictures = pd.DataFrame({"path": [f"{n}.png" for n in range(9)] + ["x_1.png"]})
    with pytest.raises(ThawError, match=r"9 of 10 pictures .* such as 0.png, 1.png, 2.png; mend"):
        assign(pictures, r"name:_(\d)")


def test_the_table_of_labels_names_further_columns_alike():
    """A name of its own, so that stage split doesn't run again for every change of datasets/."""
    assert groups.FURTHER == labels.FURTHER
