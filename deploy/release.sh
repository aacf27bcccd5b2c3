#!/usr/bin/env bash
# Everything of a release but the upload: `make release`. Usage: deploy/release.sh BIN_OF_THE_ENVIRONMENT PYTHON
# Builds what is committed and nothing else, so that no file of this folder gets in that a clone would not have.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$(cd "$1" && pwd)
python=$2
version=$("$bin/python" -c 'import tomllib; print(tomllib.load(open("pyproject.toml", "rb"))["project"]["version"])')

rm -rf dist
mkdir dist
awk -v start="## $version - " 'index($0, "## ") == 1 { on = index($0, start) == 1; next } on' CHANGELOG.md > dist/release-notes.md
[ -s dist/release-notes.md ] || { echo "CHANGELOG.md has no section '## $version - YYYY-MM-DD': cut it first."; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/source"
git archive HEAD | tar -x -C "$work/source"
"$bin/python" -m build --quiet --outdir dist "$work/source"
"$bin/twine" check --strict dist/*.whl dist/*.tar.gz

for made in dist/*.whl dist/*.tar.gz; do
  echo "Checking $made in an empty environment ..."
  rm -rf "$work/venv" "$work/empty"
  mkdir "$work/empty"
  "$python" -m venv "$work/venv"
  "$work/venv/bin/pip" install --quiet --disable-pip-version-check --constraint constraints.txt "$made"
  (
    cd "$work/empty"
    "$work/venv/bin/mg-lakehouse" --help > /dev/null
    "$work/venv/bin/python" -c 'import dagster as dg, mg_lakehouse; dg.Definitions.validate_loadable(mg_lakehouse.build_definitions())'
    installed=$("$work/venv/bin/python" -c 'import mg_lakehouse; print(mg_lakehouse.__version__)')
    [ "$installed" = "$version" ] || { echo "$made installs version $installed, not $version."; exit 1; }
  )
done
ls -l dist
