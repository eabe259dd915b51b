# The repository's own virtual environment, .venv; sourced by the scripts in ops/.
#
#     program=ops/demo                 # the caller's name, put before every message
#     . "$root/ops/lib/environment.sh" # with $root, the repository's absolute path
#     prepare_environment run          # .venv has what `warrener` needs ($venv names it)
#     prepare_environment test         # .venv has what the tests need as well
#
# An installation is done again only when pyproject.toml, the repository's place or $PYTHON has
# changed: a stamp, written last, holds what it was made from. Messages go to stderr.

: "${root:?}" "${program:?}"
venv="$root/.venv"
python=""
log=""
trap 'exit 130' INT
unset PYTHONHOME PYTHONPATH
export PIP_USER=0 PIP_REQUIRE_VIRTUALENV=0 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1

say() { printf '%s: %s\n' "$program" "$*" >&2; }

die() {
    say "$*"
    exit 1
}

prepare_environment() {
    local extra="$1"
    is_current "$extra" && return
    [ -d "$root/warrener/domain" ] ||
        die "the links in warrener/ are missing: clone again on a file system with symbolic links (git config core.symlinks true)"
    [ -w "$root" ] || die "cannot write to $root: clone the repository to a folder of your own"
    exec 9<"$root"
    lock
    is_current "$extra" || install "$extra"
    exec 9<&-
}

# One installation at a time; where flock is missing, two at once are the user's to avoid.
lock() {
    command -v flock >/dev/null || return 0
    flock --nonblock 9 && return
    say "waiting for another installation into .venv ..."
    flock 9
}

is_current() {
    local stamp="$venv/stamp-$1"
    [ -r "$stamp" ] && [ "$(<"$stamp")" = "$(fingerprint)" ] && venv_fits &&
        "$venv/bin/python" -I -c \
            'import importlib.util as u, sys; sys.exit(u.find_spec("warrener") is None)' 2>/dev/null
}

fingerprint() {
    printf '%s\n' "$root"
    cat "$root/pyproject.toml"
}

# Whether .venv was made here, and with $PYTHON where that is set.
venv_fits() {
    local made_in="" made_with=""
    { read -r made_in && read -r made_with; } 2>/dev/null <"$venv/made-in-and-with" || return 1
    [ "$made_in" = "$root" ] || return 1
    [ -z "${PYTHON:-}" ] || [ "$made_with" = "$(interpreter "$PYTHON")" ]
}

install() {
    local extra="$1" target="$root" what="warrener and what it needs"
    # No stamp at all: an installation was cut off, and what it left is not to be trusted.
    if ! compgen -G "$venv/stamp-*" >/dev/null || ! venv_fits || ! has_module "$venv/bin/python" pip
    then
        make_venv
    fi
    rm -f "$venv"/stamp-*
    if [ "$extra" != run ]; then
        target="${root}[$extra]"
        what="warrener, what it needs and what its ${extra}s need"
    fi
    say "installing $what into .venv (a minute or so, once) ..."
    quietly "installing with pip failed (see above; it needs the Python package index, or a mirror set in pip's configuration)" \
        "$venv/bin/python" -m pip install --editable "$target"
    fingerprint >"$venv/stamp-run"
    [ "$extra" = run ] || fingerprint >"$venv/stamp-$extra"
}

make_venv() {
    find_python
    ensure_venv_module
    say "making the virtual environment .venv with $python ..."
    rm -rf "$venv"
    quietly "cannot make .venv with $python (see above)" "$python" -m venv "$venv"
    printf '%s\n' "$root" "$python" >"$venv/made-in-and-with"
}

# Sets $python: $PYTHON where that is set, else the first one on PATH that is new enough.
find_python() {
    if [ -n "${PYTHON:-}" ]; then
        python="$(interpreter "$PYTHON")"
        [ -n "$python" ] || die "PYTHON=$PYTHON is no Python 3.11 or newer: give the path of one"
        return
    fi
    local name
    for name in python3 python3.13 python3.12 python3.11 python3.14; do
        python="$(interpreter "$name")"
        [ -z "$python" ] || return 0
    done
    die "python3 3.11 or newer is needed: apt install python3 python3-venv (or name one with PYTHON=/path/to/python3)"
}

# Prints the real path of a command that is Python 3.11 or newer; otherwise nothing. It is run, not
# only looked up: a pyenv shim can be there without a Python behind it. Inside of a virtual
# environment (perhaps our own, about to be removed) the answer is the Python below it.
interpreter() {
    "$1" -I -c 'import sys
if sys.version_info >= (3, 11): print(sys._base_executable)' 2>/dev/null || true
}

has_module() { "$1" -I -c "import $2" 2>/dev/null; }

# Debian and Ubuntu ship the module ensurepip, and so a working `python3 -m venv`, on their own.
ensure_venv_module() {
    has_module "$python" venv && has_module "$python" ensurepip && return
    local package
    package="$(venv_package)"
    [ -n "$package" ] ||
        die "$python has no venv and ensurepip modules: name another Python with PYTHON=/path/to/python3"
    install_packages "$package" "apt install $package" "$package"
}

# The system's package that completes $python; nothing if $python is not the system's.
venv_package() {
    case "$python" in
    /usr/bin/* | /bin/*) ;;
    *) return 0 ;;
    esac
    if [ "$(readlink -f "$python")" = "$(readlink -f /usr/bin/python3)" ]; then
        echo python3-venv
    else
        "$python" -I -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'
    fi
}

# install_packages WHAT REMEDY PACKAGE...: with apt-get, for root; others are told the remedy.
install_packages() {
    local what="$1" remedy="$2"
    shift 2
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        die "$what is missing: $remedy"
    fi
    say "$what is missing: installing it with apt-get ..."
    quietly "$what is missing, and apt-get could not install it (see above): $remedy" \
        apt_install "$@"
}

# A fresh container has no package lists yet, hence the second try. A subshell, for its trap.
apt_install() (
    export DEBIAN_FRONTEND=noninteractive
    trap 'exit 130' INT
    trap 'exit 143' TERM
    forbid_starts
    local install=(apt-get -o DPkg::Lock::Timeout=120 install --yes --no-install-recommends "$@")
    "${install[@]}" || { apt-get update && "${install[@]}"; }
)

# Until the shell ends, no package starts its daemon: what is installed here is used by the tests
# alone, with settings of their own, and without systemd a start can fail or hang. policy-rc.d is
# Debian's way to say so. One that is there is put back; one that kill -9 left behind is ours.
forbid_starts() {
    local policy="${DPKG_ROOT:-}/usr/sbin/policy-rc.d"
    local mark="# by ops/test of Warrener, while it installs a package; remove it if none is running"
    if [ -e "$policy" ] && ! grep -qF "$mark" "$policy"; then
        mv -f "$policy" "$policy.kept"
    fi
    if [ -e "$policy.kept" ]; then
        trap "mv -f '$policy.kept' '$policy'" EXIT
    else
        trap "rm -f '$policy'" EXIT
    fi
    printf '#!/bin/sh\n%s\nexit 101\n' "$mark" >"$policy"
    chmod 755 "$policy"
}

# quietly SENTENCE COMMAND...: the command's output is shown only if it fails, and then the sentence.
quietly() {
    local sentence="$1"
    shift
    log="$(mktemp)"
    trap 'rm -f "$log"' EXIT
    "$@" >"$log" 2>&1 </dev/null || {
        tail -n 30 "$log" >&2
        die "$sentence"
    }
    rm -f "$log"
}
