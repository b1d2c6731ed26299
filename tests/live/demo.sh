#!/bin/bash
# What `make demo` runs shows what it promises, leaves no process, and works a second time in the same place.
set -u
cd "$(dirname "$0")/../.." || exit 1
build=$1
[ -x "$build/shop" ] || { echo "skip: there is no $build/shop"; exit 77; }
command -v wrk >/dev/null || { echo "skip: no wrk"; exit 77; }
out=$(mktemp) both=$(mktemp) || exit 1
trap 'rm -f "$out" "$both"' EXIT
passed=0 failed=0

case_() # TEXT COMMAND...
{
	local text=$1
	shift
	if "$@" >/dev/null; then
		echo "ok   $text"
		passed=$((passed + 1))
	else
		echo "FAIL $text"
		failed=$((failed + 1))
	fi
}

for round in first second; do
	case_ "$round run succeeds" bash -c "tools/demo '$build' >'$out' 2>&1"
	cat "$out" >>"$both"
done
for text in 'shop.request.end' 'p50 .*p99 .*max' 'shop.query .*s  ' '^  nothing' 'shop\.[a-z.]*: { goid = ' 'Requests/sec' 'gander snapshot -p' '^Span shop.request (' "$build/demo/recording"; do
	case_ "shows /$text/" grep -e "$text" "$out"
done
# On a machine that is busy with something else the slowest request may once have been slow for that.
for text in 'waiting for mutex held by goroutine [0-9]* in main.(\*ledger)' 'in syscall fsync .* main.(\*ledger).save'; do
	case_ "shows in one of two runs /$text/" grep -e "$text" "$both"
done
pid=$(sed -n 's/^shop: pid \([0-9]*\),.*/\1/p' "$out")
case_ "its service is gone" bash -c "! kill -0 $pid 2>/dev/null"
[ $failed = 0 ] || cat "$both"
echo "$passed passed, $failed failed, 0 skipped"
[ $failed = 0 ]
