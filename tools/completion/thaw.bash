# SPDX-License-Identifier: Apache-2.0
# bash completion for thaw(1): source this file, or put it into
# /usr/share/bash-completion/completions/thaw

_thaw_state() {
	local i
	for ((i = 1; i < ${#COMP_WORDS[@]} - 1; i++)); do
		[ "${COMP_WORDS[i]}" = --state ] && { echo "${COMP_WORDS[i + 1]}"; return; }
	done
	echo /var/lib/thaw
}

_thaw_snapshots() {
	# Names are letters, digits, "-" and "_": words are safe to split.
	local dir
	dir=$(_thaw_state)/snapshots
	[ -d "$dir" ] && ls -- "$dir" 2>/dev/null
}

_thaw_functions() {
	# Those that have logs. The same letters.
	local account
	for account in "$(_thaw_state)"/logs/*/; do
		[ -d "$account" ] && ls -- "$account" 2>/dev/null
	done
}

_thaw() {
	local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
	local common="--state --verbose --json --help"
	local function="--runtime --code --layer --handler --event --name --memory --timeout --ephemeral
		--env --vcpus --kernel --cpu-template --network --console"
	local command="" verb="" i words=""

	for ((i = 1; i < COMP_CWORD; i++)); do
		case "${COMP_WORDS[i]}" in
		--state | --out | --event | --code | --layer | --mode | --network | --runtime | --data | --account | --since | \
			--until | --filter | --request-id | --stream) i=$((i + 1)) ;;
		-*) ;;
		*)
			if [ -z "$command" ]; then
				command=${COMP_WORDS[i]}
			elif [ -z "$verb" ]; then
				verb=${COMP_WORDS[i]}
			fi
			;;
		esac
	done
	case "$before" in
	--code | --layer)
		mapfile -t COMPREPLY < <(compgen -d -- "$word"; compgen -f -X '!*.zip' -- "$word")
		return
		;;
	--state | --out | --data)
		mapfile -t COMPREPLY < <(compgen -d -- "$word")
		return
		;;
	--event | --kernel)
		mapfile -t COMPREPLY < <(compgen -f -- "$word")
		return
		;;
	--network) words=$(cd /sys/class/net && ls -- 2>/dev/null) ;;
	--mode | --modes) words="map uring uffd eager" ;;
	--runtime) words="python3.11 nodejs18.x provided provided.al2 provided.al2023" ;;
	--cpu-template) words="auto host software-kvm" ;;
	*)
		case "$command" in
		"") words="doctor run snapshot invoke bench trust account logs top --version $common" ;;
		doctor) words=$common ;;
		run) words="$function $common" ;;
		snapshot)
			case "$verb" in
			"") words="create ls inspect rm" ;;
			create) words="-o --force --no-image $function $common" ;;
			inspect) words="$(_thaw_snapshots) --verify $common" ;;
			rm) words="$(_thaw_snapshots) $common" ;;
			*) words=$common ;;
			esac
			;;
		invoke)
			words="$(_thaw_snapshots) --event --count --parallel --keep --mode --network --record $common"
			;;
		bench)
			words="$(_thaw_snapshots) --n --cold-n --warm-n --evicted-n --modes --event --out
				--no-plot $common"
			;;
		trust) words="$(_thaw_snapshots) $common" ;;
		account)
			case "$verb" in
			"") words="create key ls disable enable --data --help" ;;
			create | key) words="--env --data --help" ;;
			*) words="--data --help" ;;
			esac
			;;
		top) words="--data --every --once $common" ;;
		logs)
			words="$(_thaw_functions) --data --account --since --until --follow --filter
				--request-id --stream $common"
			;;
		esac
		;;
	esac
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}

complete -F _thaw thaw
