#!/bin/sh
# Builds the reference: Go's internal/trace under another import path (it is internal, so it cannot be imported where it lies), and main.go.
# usage: build.sh DIR        makes DIR/ref
set -e
here=$(cd "$(dirname "$0")" && pwd)
root=$(go env GOROOT)
dir=$1
mkdir -p "$dir/src"
cp -r "$root/src/internal/trace" "$dir/src/"
cd "$dir/src"
rm -rf trace/testdata trace/traceviewer trace/testtrace trace/raw trace/internal/testgen
find trace -name '*_test.go' -delete
chmod -R u+w .
find trace -name '*.go' -exec sed -i 's#"internal/trace#"ref/trace#' {} +
printf 'module ref\n\ngo 1.24\n' > go.mod
cp "$here/main.go" .
GOFLAGS=-mod=mod GOWORK=off go build -o ../ref .
