# Completion of `tsg` for bash: on Debian copy it to /usr/share/bash-completion/completions/tsg, or read it in with
# `source`. Commands and options are those that the program's own help names. The ash of OpenWrt completes file names only.
# shellcheck shell=bash

_tsg() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command="" at commands options
    commands=$("${COMP_WORDS[0]}" help 2>/dev/null | sed -n 's/^  \([a-z]\{1,\}\) .*/\1/p')
    for ((at = 1; at < COMP_CWORD; at++)); do
        if grep -qxF -- "${COMP_WORDS[at]}" <<<"$commands"; then
            command=${COMP_WORDS[at]}
            break
        fi
    done
    case $before in
    -c | --config | --state | --run) mapfile -t COMPREPLY < <(compgen -d -- "$word") ;;
    --file) mapfile -t COMPREPLY < <(compgen -f -- "$word") ;;
    *)
        if [[ $word == -* ]]; then
            options=$("${COMP_WORDS[0]}" help ${command:+"$command"} 2>/dev/null | grep -oE -- '(^|[ [])--[a-z-]+' | tr -d ' [' | sort -u)
            mapfile -t COMPREPLY < <(compgen -W "$options" -- "$word")
        elif [[ -z $command || $command == help ]]; then
            mapfile -t COMPREPLY < <(compgen -W "$commands" -- "$word")
        else
            mapfile -t COMPREPLY < <(compgen -f -- "$word")
        fi
        ;;
    esac
}
complete -F _tsg tsg
