# Sourced by scripts that look for more than one Python.

find_python() { # the interpreter of version $1, or nothing
    for candidate in "python$1" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python "/usr/local/bin/python$1"; do
        # A name on PATH may be a shim that only says it is not installed.
        if "$candidate" -c 'import sys; sys.exit("%d.%d" % sys.version_info[:2] != sys.argv[1])' "$1" 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
}
