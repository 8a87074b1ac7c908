# fish completion of architect: architect completion fish | source
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
