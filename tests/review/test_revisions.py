"""What DVC knows of a run."""

from pathlib import Path

from dvc.repo import Repo

from thaw.review.revisions import WORKSPACE, Revision

PIPELINE = """
stages:
  one: {cmd: echo > one, params: [a, b.c], outs: [one]}
  two: {cmd: echo > two, params: [e], outs: [two]}
"""


def test_where_a_stage_never_ran_all_its_parameters_are_stale(tmp_path: Path) -> None:
    (tmp_path / "dvc.yaml").write_text(PIPELINE)
    (tmp_path / "params.yaml").write_text("a: 1\nb: {c: 2, d: 3}\ne: 4\n")
    with Repo.init(str(tmp_path), no_scm=True) as repo:
        now = Revision(WORKSPACE, repo)
        assert now.stale() == ["a", "b.c", "e"]
        assert now.stale(["two"]) == ["e"]
