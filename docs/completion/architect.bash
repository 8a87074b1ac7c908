# bash completion of architect: eval "$(architect completion bash)"
_architect() {
    local line=${COMP_LINE:0:COMP_POINT} value text word=${COMP_WORDS[COMP_CWORD]} begin=
    # Bash splits words at : and =, and replaces only what comes after the last of them.
    local typed=${line##*[[:space:]]}
    [[ $typed == *[:=]* ]] && begin=${typed%"${typed##*[:=]}"}
    COMPREPLY=()
    while IFS=$'\t' read -r value text; do
        case $value in
            :files) compopt -o default; return ;;
            :directories) compopt -o dirnames; return ;;
        esac
        value=${value#"$begin"}
        [[ $value == *[^A-Za-z0-9_@%+=:,./-]* ]] && printf -v value %q "$value"
        # A list of several candidates (a second TAB) shows what each of them is.
        [[ -n $text && ( $COMP_TYPE == 63 || $COMP_TYPE == 64 ) ]] && value="$value  ($text)"
        COMPREPLY+=("$value")
    done < <("${COMP_WORDS[0]}" completion bash --line "$line" 2>/dev/null)
    if [[ ${#COMPREPLY[@]} == 1 ]]; then COMPREPLY[0]=${COMPREPLY[0]%%  (*}; fi
}
complete -o nosort -F _architect architect architect-parallel 2>/dev/null ||
    complete -F _architect architect architect-parallel
