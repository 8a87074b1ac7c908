"""`architect completion bash|zsh|fish`: the script that completes command lines in a shell.

The scripts call this command again with the line as it is typed, so that they know runs, workers and branches. They do
not change when a command is added.
"""

from __future__ import annotations

from typing import Annotated

import typer

from architect_parallel.cli.console import answer

BASH = r"""# bash completion of architect: eval "$(architect completion bash)"
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
"""
ZSH = r"""#compdef architect architect-parallel
# zsh completion of architect: eval "$(architect completion zsh)" after compinit
_architect() {
    local -a found
    local line value text
    local typed="${(j: :)words[1,CURRENT-1]} $PREFIX"
    while IFS=$'\t' read -r value text; do
        case $value in
            :files) _files; return ;;
            :directories) _files -/; return ;;
        esac
        found+=("${value//:/\\:}${text:+:$text}")
    done < <("$words[1]" completion zsh --line "$typed" 2>/dev/null)
    _describe -V architect found
}
if [[ $funcstack[1] == _architect ]]; then
    _architect "$@"
else
    compdef _architect architect architect-parallel
fi
"""
FISH = r"""# fish completion of architect: architect completion fish | source
function __architect_complete
    set -l words (commandline -opc)
    for candidate in ($words[1] completion fish --line (commandline -cp | string collect) 2>/dev/null)
        switch $candidate
            case ':files*'
                __fish_complete_path (commandline -ct)
            case ':directories*'
                __fish_complete_directories (commandline -ct)
            case '*'
                echo $candidate
        end
    end
end
complete -c architect -f -k -a '(__architect_complete)'
complete -c architect-parallel -f -k -a '(__architect_complete)'
"""
SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}
HOW = """Completion for the shell you use, once for each session:
  bash   eval "$(architect completion bash)"          in ~/.bashrc
  zsh    eval "$(architect completion zsh)"           in ~/.zshrc, after compinit
  fish   architect completion fish | source           in ~/.config/fish/config.fish"""


def completion(
    context: typer.Context,
    shell: Annotated[str | None, typer.Argument(metavar="SHELL", help="bash, zsh or fish.")] = None,
    line: Annotated[str | None, typer.Option("--line", hidden=True)] = None,
) -> None:
    """Print the completion script of a shell.

    It completes commands, options, runs, workers, backends, profiles, models and branches. bash: put
    eval "$(architect completion bash)" into ~/.bashrc.
    """
    from architect_parallel.text.suggest import require_known

    if shell is None:
        answer(HOW)
        return
    script = SCRIPTS[require_known("shell", shell, SCRIPTS, hint="architect completion")]
    if line is None:
        answer(script.rstrip("\n"))
        return
    from architect_parallel.cli.candidates import candidates_of
    from architect_parallel.text.sanitize import one_line

    candidates = candidates_of(context.find_root().command, line)
    if candidates:
        answer("\n".join(f"{value}\t{one_line(text, 80)}" for value, text in candidates))
