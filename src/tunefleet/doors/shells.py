"""Shell scripts that bind Tab: `tunefleet completion bash|zsh|fish`, or Hydra's `-sc install=bash`."""

from __future__ import annotations

_BASH = r"""# Tab for tunefleet and for its train.py, in bash: eval "$(tunefleet completion bash)"
_tunefleet() {
    local line="${COMP_LINE:0:$COMP_POINT}" breaks="" candidate
    local word="${line##*[[:space:]]}" query=("${@:-tunefleet}")
    [[ $COMP_WORDBREAKS == *=* ]] && breaks+="="
    [[ $COMP_WORDBREAKS == *:* ]] && breaks+=":"
    local typed=""
    [[ -n $breaks && $word == *[$breaks]* ]] && typed="${word%"${word##*[$breaks]}"}"  # bash completes what follows it
    COMPREPLY=()
    while IFS= read -r candidate; do
        [[ $candidate == *[=./] ]] || candidate+=" "
        COMPREPLY+=("${candidate#"$typed"}")
    done < <(COMP_LINE="$line" "${query[@]}" 2>/dev/null)
}
_tunefleet_command() { _tunefleet "$1" completion query; }
_tunefleet_is_train() { [[ $1 == *train.py && -f $1 ]] && grep -q tunefleet.doors.train -- "$1"; }
_tunefleet_train() { if _tunefleet_is_train "$1"; then _tunefleet python3 "$1" -sc query=bash; fi; }
_tunefleet_python() {
    if _tunefleet_is_train "${COMP_WORDS[1]}" && ((COMP_CWORD > 1)); then
        _tunefleet "$1" "${COMP_WORDS[1]}" -sc query=bash
    elif [[ ${COMP_WORDS[1]} == -m && ${COMP_WORDS[2]} == tunefleet ]] && ((COMP_CWORD > 2)); then
        _tunefleet "$1" -m tunefleet completion query
    elif declare -F "${_tunefleet_before:-}" >/dev/null; then
        "$_tunefleet_before" "$@"
    else
        COMPREPLY=()
        compopt +o nospace 2>/dev/null
    fi
}
_tunefleet_before=$(complete -p python 2>/dev/null | sed -n 's/.*-F \([^ ]*\) .*/\1/p')
[[ $_tunefleet_before == _tunefleet_python ]] && _tunefleet_before=""
complete -o nospace -F _tunefleet_command tunefleet
complete -o nospace -o default -F _tunefleet_train train.py
complete -o nospace -o default -F _tunefleet_python python python3
"""

_ZSH = r"""#compdef tunefleet
# Tab for tunefleet and for its train.py, in zsh: eval "$(tunefleet completion zsh)", after compinit
_tunefleet_add() {
    local line="${(j: :)words[1,CURRENT-1]} $PREFIX" candidate
    local -a unfinished finished
    for candidate in "${(@f)$(COMP_LINE="$line" "$@" 2>/dev/null)}"; do
        [[ $candidate == *[=./] ]] && unfinished+=("$candidate")
        [[ $candidate == *[^=./] ]] && finished+=("$candidate")
    done
    (( $#unfinished )) && compadd -Q -S '' -a unfinished
    (( $#finished )) && compadd -Q -a finished
}
_tunefleet() { _tunefleet_add "${words[1]}" completion query; }
_tunefleet_is_train() { [[ $1 == *train.py && -f $1 ]] && grep -q tunefleet.doors.train -- "$1"; }
_tunefleet_train() { _tunefleet_is_train "${words[1]}" && _tunefleet_add python3 "${words[1]}" -sc query=zsh; }
_tunefleet_python() {
    if (( CURRENT > 2 )) && _tunefleet_is_train "${words[2]}"; then
        _tunefleet_add "${words[1]}" "${words[2]}" -sc query=zsh
    elif (( CURRENT > 3 )) && [[ ${words[2]} == -m && ${words[3]} == tunefleet ]]; then
        _tunefleet_add "${words[1]}" -m tunefleet completion query
    elif (( $+functions[_python] )) || autoload -Uz +X _python 2>/dev/null; then
        _python "$@"
    else
        _files
    fi
}
if [[ ${funcstack[1]-} == _tunefleet ]]; then
    _tunefleet "$@"
else
    compdef _tunefleet tunefleet
    compdef _tunefleet_train train.py
    compdef _tunefleet_python python python3
fi
"""

_FISH = r"""# Tab for tunefleet and for its train.py, in fish: tunefleet completion fish | source
function __tunefleet_complete
    set -lx COMP_LINE (commandline -cp)
    $argv 2>/dev/null
end
function __tunefleet_command
    set -l typed (commandline -cpo)
    __tunefleet_complete $typed[1] completion query
end
function __tunefleet_is_train
    set -l typed (commandline -cpo)
    test (count $typed) -ge 2; and string match -q '*train.py' -- $typed[2]
    and grep -q tunefleet.doors.train -- $typed[2] 2>/dev/null
end
function __tunefleet_is_module
    set -l typed (commandline -cpo)
    test (count $typed) -ge 3; and test $typed[2] = -m; and test $typed[3] = tunefleet
end
function __tunefleet_train
    set -l typed (commandline -cpo)
    __tunefleet_complete $typed[1] $typed[2] -sc query=fish
end
function __tunefleet_module
    set -l typed (commandline -cpo)
    __tunefleet_complete $typed[1] -m tunefleet completion query
end
complete -c tunefleet -f -a '(__tunefleet_command)'
for python in python python3
    complete -c $python -n __tunefleet_is_train -f -a '(__tunefleet_train)'
    complete -c $python -n __tunefleet_is_module -f -a '(__tunefleet_module)'
end
"""

SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}
REMOVALS = {
    "bash": "complete -r tunefleet train.py python python3\n",
    "zsh": "compdef -d tunefleet train.py python python3\n",
    "fish": "complete -e -c tunefleet; complete -e -c python; complete -e -c python3\n",
}
