#!/bin/bash
# What `make install` leaves is enough to build a program with events, in C11 and C++17, with gcc and clang, static and shared, without a warning.
set -u
build=$1 source=$2
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
passed=0 failed=0 skipped=0

check() # TEXT COMMAND...
{
	local text=$1
	shift
	if out=$("$@" 2>&1) && [ -z "$out" ]; then
		echo "ok   $text"
		passed=$((passed + 1))
	else
		echo "FAIL $text: $out"
		failed=$((failed + 1))
	fi
}

DESTDIR=$tmp/root meson install -C "$build" --no-rebuild --quiet >"$tmp/log" 2>&1 || { cat "$tmp/log"; exit 1; }
root=$tmp/root$(sed -n 's/^prefix=//p' "$(find "$tmp/root" -name gander.pc)")
pc=$(dirname "$(find "$tmp/root" -name gander.pc)")
lib=$(dirname "$(find "$tmp/root" -name libgander.so)")
export PKG_CONFIG_PATH=$pc
read -ra flags < <(pkg-config --define-variable=prefix="$root" --cflags --libs gander)
read -ra static < <(pkg-config --define-variable=prefix="$root" --cflags gander)

check "gander runs" bash -c "'$root/bin/gander' --version | grep -q '^gander [0-9]' && exit 0; echo no"
completes() # WANTED WORD...: what the last word, which may be empty, may become
{
	(
		wanted=$1
		shift
		# shellcheck source=/dev/null
		. "$root/share/bash-completion/completions/gander" || exit
		COMP_WORDS=("$root/bin/gander" "$@") COMP_CWORD=$#
		_gander "$root/bin/gander"
		[[ " ${COMPREPLY[*]} " == *" $wanted "* ]] || echo "not $wanted: ${COMPREPLY[*]}"
	)
}

names() # of programs, one of which calls itself something that a shell would run
{
	(
		# shellcheck source=/dev/null
		. "$root/share/bash-completion/completions/gander" || exit
		printf '%s\n' '#!/bin/sh' "echo 1 shop" "echo '2 \$(>$tmp/ran)'" >"$tmp/lists"
		chmod +x "$tmp/lists"
		COMP_WORDS=("$tmp/lists" record -p "") COMP_CWORD=3
		_gander "$tmp/lists"
		[[ ${COMPREPLY[*]} == "1 shop 2" && ! -e $tmp/ran ]] || echo "$(ls "$tmp/ran"): ${COMPREPLY[*]}"
	)
}

check "bash completes a verb" completes record rec
check "... all verbs" completes "go why" ""
check "... a verb of gander go" completes sched go sch
check "... an option" completes --snapshot-when record -o out --snap
check "... an option of a verb of gander go" completes --stacks go blocked trace.out --st
check "... behind help" completes goroutines help go goro
check "... a program's name, and runs none" names
for page in gander.1 gander-go.1; do
	check "manual page $page" find "$root/share/man/man1/$page" -prune -false
done
[ -d "$root/share/man/man1" ] || { echo "skip: no scdoc, so no manual pages"; skipped=$((skipped + 2)) failed=$((failed - 2)); }
sed 's/GANDER_EVENT(hello/GANDER_EVENT(another, "other", GANDER_DEBUG)\n&/' "$source/examples/hello/hello.c" >"$tmp/hello.c"
cp "$tmp/hello.c" "$tmp/hello.cpp"
for cc in gcc clang; do
	command -v $cc >/dev/null || { echo "skip: no $cc"; skipped=$((skipped + 4)); continue; }
	cxx=${cc/gcc/g++}; cxx=${cxx/clang/clang++}
	check "$cc, C11, shared" $cc -std=gnu11 -O2 -Wall -Wextra -Werror -o "$tmp/shared" "$tmp/hello.c" "${flags[@]}"
	check "$cc, C11, static" $cc -std=gnu11 -O2 -Wall -Wextra -Werror -o "$tmp/static" "$tmp/hello.c" "${static[@]}" "$lib/libgander.a" -pthread
	check "$cxx, C++17, shared" "$cxx" -std=gnu++17 -O2 -Wall -Wextra -Werror -o "$tmp/cxx" "$tmp/hello.cpp" "${flags[@]}"
	check "$cc's programs run" bash -c "export LD_LIBRARY_PATH=$lib; $tmp/shared 1000 3 && $tmp/static 1000 3 && $tmp/cxx 1000 3"
done
read -ra reader < <(pkg-config --define-variable=prefix="$root" --cflags --libs gander-reader)
for example in netblock read-events read-recording; do
	check "$example with libgander-reader" gcc -std=gnu11 -O2 -Wall -Wextra -Werror -o "$tmp/$example" "$source/examples/$example/$example.c" "${reader[@]}"
done
check "libgander-reader shows gander_* alone" bash -c "nm -D --defined-only $lib/libgander-reader.so | grep -v -e ' [TDR] gander_' -e ' A GANDER_READER_0' || true"
module=$(find "$tmp/root" -name gander.py)
if [ -n "$module" ]; then
	check "the Python module finds its library" bash -c "cd /; PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$(dirname "$module") python3 -c 'import gander; assert gander.version()[0].isdigit()'"
else
	echo "skip: no python3 that meson knows, so no module"
	skipped=$((skipped + 1))
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
