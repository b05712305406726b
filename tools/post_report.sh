#!/bin/sh
# Post report/report.md to a pull request on GitHub, in one comment, written anew each time:
#     post_report.sh NUMBER
# A comment can't hold pictures: they go to a branch of their own, reports/pull-NUMBER. Needs `gh`,
# GH_TOKEN, and GITHUB_SERVER_URL and GITHUB_REPOSITORY as GitHub Actions sets them.
set -eu

number=$1
cd "$(dirname "$0")/../report"

tree=$(
    for picture in *.png; do
        printf '100644 blob %s\t%s\n' "$(git hash-object -w "$picture")" "$picture"
    done | git mktree
)
author="github-actions[bot]"
email="41898282+github-actions[bot]@users.noreply.github.com"
commit=$(
    GIT_AUTHOR_NAME=$author GIT_AUTHOR_EMAIL=$email \
        GIT_COMMITTER_NAME=$author GIT_COMMITTER_EMAIL=$email \
        git commit-tree "$tree" -m "Pictures of the report on pull request $number"
)
git push --quiet --force origin "$commit:refs/heads/reports/pull-$number"

address="$GITHUB_SERVER_URL/$GITHUB_REPOSITORY/raw/$commit"
sed "s#](\([a-z_]*\.png\))#]($address/\1)#" report.md |
    gh pr comment "$number" --edit-last --create-if-none --body-file -
