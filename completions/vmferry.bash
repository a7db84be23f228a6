# bash completion for vmferry. The program itself knows what may come next.
_vmferry() {
    local line word words=("${COMP_WORDS[@]:1:COMP_CWORD}") cur=${COMP_WORDS[COMP_CWORD]} cut=
    # bash breaks words at : and =; put together what belongs together.
    if declare -F _get_comp_words_by_ref >/dev/null; then
        local cword
        _get_comp_words_by_ref -n := -c cur -w words -i cword
        words=("${words[@]:1:cword}")
    fi
    [[ $cur == *[:=]* && $COMP_WORDBREAKS == *[:=]* ]] && cut=${cur%"${cur##*[:=]}"}
    COMPREPLY=()
    while IFS=$'\t' read -r word _; do
        if [[ $word == :file ]]; then
            compopt -o filenames 2>/dev/null
            while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -f -- "${cur##*=}")
        else
            [[ $word == "$cut"* ]] && COMPREPLY+=("${word#"$cut"}")
        fi
    done < <("${COMP_WORDS[0]/#\~/$HOME}" complete -- "${words[@]}" 2>/dev/null)
}
complete -F _vmferry vmferry
