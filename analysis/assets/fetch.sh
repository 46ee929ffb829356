#!/usr/bin/env bash
# Fetches the two libraries that reports carry inside from their pinned npm packages; npm checks the packages' hashes.
# Then writes their SHA-256 into VERSIONS, which a test holds against the files.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm pack --silent d3@7.9.0 @observablehq/plot@0.6.17 > /dev/null
for package in *.tgz; do mkdir "${package%.tgz}" && tar -xzf "$package" -C "${package%.tgz}"; done
cp d3-7.9.0/package/dist/d3.min.js observablehq-plot-0.6.17/package/dist/plot.umd.min.js "$here"
cp d3-7.9.0/package/LICENSE "$here/LICENSE-d3"
cp observablehq-plot-0.6.17/package/LICENSE "$here/LICENSE-plot"
cd "$here"
sed -i '/^SHA-256$/q' VERSIONS
sha256sum d3.min.js plot.umd.min.js LICENSE-d3 LICENSE-plot >> VERSIONS
