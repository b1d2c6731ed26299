#!/bin/bash
# A module that is not ours gets the agent with plain `go get` from the module proxy that make lays out, and runs; another the reader.
set -eu
top=$(cd "$(dirname "$0")/../.." && pwd)
minor=$(go env GOVERSION 2>/dev/null | sed -n 's/^go1\.\([0-9]*\).*/\1/p')
[ "${minor:-0}" -ge 21 ] || { echo "skip: no Go from 1.21 on"; exit 77; }
[ -e "$top/go/go.mod" ] || { echo "skip: no agent"; exit 77; }
theirs=$(go env GOMODCACHE)
tmp=$(mktemp -d)
trap 'chmod -R u+w "$tmp"; rm -rf "$tmp"' EXIT

"$top/tools/make-goproxy" "$tmp/proxy"
module=$(sed -n 's/^module //p' "$top/go/go.mod")
mkdir "$tmp/theirs" && cd "$tmp/theirs"
# Only this proxy, and an empty module cache: whatever else the agent needed would be missed here.
export GOPROXY=file://$tmp/proxy GONOSUMDB=${module%%/*} GOMODCACHE=$tmp/cache GOFLAGS=-mod=mod GOWORK=off GOTOOLCHAIN=local
cat >main.go <<EOF
package main

import (
	"fmt"

	"$module"
)

var ev = gander.NewEvent2[int, string]("theirs.event", gander.Info, "n", "text")

func main() {
	for i := 0; i < 1000; i++ {
		ev.Emit(i, "text")
	}
	fmt.Println("done", gander.Version, gander.Off())
}
EOF
go mod init example.com/theirs
go get "$module"
grep "$module v" go.mod
[ "$(grep -c 'v[0-9]' go.mod)" = 1 ] || { echo "the agent is not the only requirement"; cat go.mod; exit 1; }
go vet .
go build -o theirs .
out=$(./theirs)
echo "$out"
case $out in done*) ;; *) exit 1 ;; esac
# the licence is in what users get
[ -e "$(go list -m -f '{{.Dir}}' "$module")/LICENSE" ]

# The reader of all sources needs one module more, which is taken from the cache of the machine's own Go.
needs=$(sed -n 's/^go 1\.\([0-9]*\).*/\1/p' "$top/go/gotrace/go.mod")
exp=$(sed -n 's/.*golang.org\/x\/exp //p' "$top/go/gotrace/go.mod")
if [ "$minor" -lt "$needs" ]; then
	echo "skip: $module/gotrace needs Go 1.$needs"
elif [ ! -e "$theirs/cache/download/golang.org/x/exp/@v/$exp.zip" ]; then
	echo "skip: golang.org/x/exp $exp has not been fetched"
else
	mkdir "$tmp/merged" && cd "$tmp/merged"
	sed 1d "$top/examples/read-go-all/main.go" >main.go
	go mod init example.com/merged
	GOPROXY=file://$tmp/proxy,file://$theirs/cache/download GOSUMDB=off go get "$module/gotrace"
	grep "$module/gotrace v" go.mod
	go build -o merged .
	out=$(./merged "$tmp" 2>&1) && exit 1
	echo "$out"
	case $out in *"no trace is there"*) ;; *) exit 1 ;; esac
	echo "2 passed, 0 failed, 0 skipped"
	exit
fi
echo "1 passed, 0 failed, 1 skipped"
