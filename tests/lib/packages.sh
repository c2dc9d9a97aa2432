# What the tests need beyond git, a C compiler and the Rust toolchain.
#
# Sets `have_tmux` to yes or no, and `skip_reasons` to one line for each thing that stays missing.

have_tmux=yes
skip_reasons=()

# One Debian package for each command the tests call.
need_commands() {
    local missing=()
    command -v tmux >/dev/null || missing+=(tmux)
    [ ${#missing[@]} -eq 0 ] && return 0
    install_packages "${missing[@]}"
    if ! command -v tmux >/dev/null; then
        have_tmux=no
        skip_reasons+=("tmux is missing: the terminal tests are skipped (Debian package: tmux)")
    fi
}

# Installs Debian packages when that is possible; says which are missing when it is not.
install_packages() {
    if [ "$(id -u)" -ne 0 ]; then
        echo "missing packages: $* (run as root to have them installed, or: apt-get install $*)"
    elif ! command -v apt-get >/dev/null; then
        echo "missing packages: $* (this is not a Debian system: install them by hand)"
    else
        echo "installing: $*"
        export DEBIAN_FRONTEND=noninteractive
        { apt-get update -qq && apt-get install -y -qq --no-install-recommends "$@"; } >/dev/null ||
            echo "apt-get could not install: $*"
    fi
}

# rustfmt and clippy belong to the toolchain, but a minimal one comes without.
need_components() {
    cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1 && return 0
    command -v rustup >/dev/null && rustup component add rustfmt clippy
}
