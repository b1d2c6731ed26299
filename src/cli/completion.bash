# Completion of gander for bash. Verbs and options are those that gander itself lists with --help, so nothing is said twice.

_gander() # COMMAND WORD-BEFORE WORD
{
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} verb=("${COMP_WORDS[@]:1:COMP_CWORD - 1}") words='' word

	COMPREPLY=()
	for word in "${verb[@]}"; do
		[[ $word == -- ]] && return # behind it stands a command: files
	done
	[[ ${verb[0]-} == help ]] && verb=("${verb[@]:1}")
	[[ ${verb[0]-} == go ]] && verb=("${verb[@]:0:2}") || verb=("${verb[@]:0:1}")
	if [[ $prev == -p || $prev == --pid ]]; then
		# a program calls itself what it likes, and compgen expands its words: no name that says anything to a shell
		words=$("$1" list 2>/dev/null | LC_ALL=C awk '$1 ~ /^[0-9]+$/ { print $1; if ($2 ~ /^[A-Za-z0-9_][A-Za-z0-9_.+-]*$/) print $2 }')
	elif [[ $cur == -* || -z ${verb[*]-} || ${verb[*]-} == go ]]; then
		words=$("$1" "${verb[@]}" --help 2>/dev/null | sed -nE 's/^  ([a-z][a-z0-9-]*)  +.*/\1/p; s/^ +(-[a-zA-Z], )?(--[a-z][a-z0-9-]*).*/\2/p')
	fi
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}

complete -o default -F _gander gander
