#!/bin/sh
# Post report/report.md to its pull request on GitHub, in one comment, written anew each time.
#
# The report was made by the pull request's code, so it is taken as text: the pull request is found by
# OWNER, BRANCH and COMMIT, which GitHub tells, and nothing in the report is run. A comment can't hold
# pictures: the report's drawings go to a branch of their own, reports/pull-NUMBER; its grids of
# pictures of the dataset do so where PICTURES is `yes` alone. Needs `gh`, GH_TOKEN, and
# GITHUB_SERVER_URL and GITHUB_REPOSITORY as GitHub Actions sets them.
set -eu

marker="<!-- thaw: report -->"
longest=60000 # bytes; GitHub takes 65,536 characters
drawings="confusion.png learning_curves.png reliability.png trend.png"
grids="added.png relabelled.png removed.png right_to_wrong.png wrong_to_another_wrong.png \
wrong_to_right.png"

cd "$(dirname "$0")/../report"
pulls="repos/$GITHUB_REPOSITORY/pulls"
number=$(
    gh api --method GET "$pulls" -f state=open -f "head=$OWNER:$BRANCH" \
        --jq ".[] | select(.head.sha == \"$COMMIT\") | .number" | head -n 1
)
if [ -z "$number" ]; then
    echo "no open pull request ends at $COMMIT: it was closed, or has newer commits"
    exit
fi

if [ "${PICTURES:-no}" = yes ]; then
    drawings="$drawings $grids"
fi
tree=$(
    for drawing in $drawings; do
        if [ -f "$drawing" ] && [ ! -L "$drawing" ]; then
            blob=$(git hash-object -w --no-filters "$drawing")
            printf '100644 blob %s\t%s\n' "$blob" "$drawing"
        fi
    done | git mktree
)
author="github-actions[bot]"
email="41898282+github-actions[bot]@users.noreply.github.com"
commit=$(
    GIT_AUTHOR_NAME=$author GIT_AUTHOR_EMAIL=$email \
        GIT_COMMITTER_NAME=$author GIT_COMMITTER_EMAIL=$email \
        git commit-tree "$tree" -m "Drawings of the report on pull request $number"
)
git push --quiet --force origin "$commit:refs/heads/reports/pull-$number"

address="$GITHUB_SERVER_URL/$GITHUB_REPOSITORY/raw/$commit"
body=$(mktemp)
trap 'rm -f "$body"' EXIT
{
    echo "$marker"
    sed "s#](\([a-z_]*\.png\))#]($address/\1)#" report.md |
        LC_ALL=C awk -v longest="$longest" '(bytes += length($0) + 1) > longest { exit } { print }'
    if [ "$(wc -c <report.md)" -gt "$longest" ]; then
        printf '\n\n%s\n' "The rest is too long for a comment: it is in the artifact \`report\`."
    fi
} >"$body"

mine=".[] | select(.user.type == \"Bot\" and (.body | startswith(\"$marker\"))) | .id"
comment=$(gh api --paginate "repos/$GITHUB_REPOSITORY/issues/$number/comments" --jq "$mine" | head -n 1)
if [ -n "$comment" ]; then
    gh api --method PATCH "repos/$GITHUB_REPOSITORY/issues/comments/$comment" -F "body=@$body"
else
    gh api --method POST "repos/$GITHUB_REPOSITORY/issues/$number/comments" -F "body=@$body"
fi >"$body.answer"
rm -f "$body.answer"
