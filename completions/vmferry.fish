# fish completion for vmferry. The program itself knows what may come next.
function __vmferry_complete
    set -l words (commandline -opc) (commandline -ct)
    for line in ($words[1] complete -- $words[2..-1] 2>/dev/null)
        if string match -q ':file*' -- $line
            __fish_complete_path (commandline -ct)
        else
            echo $line
        end
    end
end
complete -c vmferry -f -a '(__vmferry_complete)'
