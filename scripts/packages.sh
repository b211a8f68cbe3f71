# SPDX-License-Identifier: MIT
# Sourced by ./run and ./test: installs missing Debian packages, and configures and builds a build directory. Both are
# quiet and offline when nothing is to do. The caller has set ROOT and `set -euo pipefail`.

# What building and running needs, and what testing needs beyond that.
PACKAGES_RUN=(gcc libc6-dev pkg-config meson ninja-build libevent-dev libhiredis-dev libxxhash-dev libjansson-dev
    libcmocka-dev libyajl-dev libssl-dev libcrypt-dev redis-tools python3 xz-utils)
PACKAGES_TEST=(git openssl strace valgrind redis-server clang libclang-rt-14-dev clang-format clang-tidy python3-jsonschema)

say() { printf '%s\n' "$*"; }
fail() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# Runs a command as root: directly, or through sudo.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

# Prints those of the packages that are not installed.
packages_missing() {
    local installed package
    installed=$(dpkg-query -W -f='${db:Status-Status} ${Package}\n' "$@" 2>/dev/null | sed -n 's/^installed //p') || true
    for package in "$@"; do
        grep -qxF "$package" <<<"$installed" || printf '%s\n' "$package"
    done
}

# Without dpkg (another distribution) the build itself says what is missing.
packages_ensure() {
    command -v dpkg-query >/dev/null || return 0
    local missing
    mapfile -t missing < <(packages_missing "$@")
    [ ${#missing[@]} -gt 0 ] || return 0
    say "installing: ${missing[*]}"
    if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
        fail "these packages are missing, and there is neither root nor sudo to install them: ${missing[*]}"
    fi
    packages_install "${missing[@]}"
    mapfile -t missing < <(packages_missing "${missing[@]}")
    [ ${#missing[@]} -eq 0 ] || fail "these packages could not be installed: ${missing[*]}"
}

# Installs without starting services: a policy file forbids it for the time of the installation, and a redis-server that
# was not there before is not left enabled.
packages_install() {
    local log policy=/usr/sbin/policy-rc.d made_policy=no status=0
    log=$(mktemp)
    if [ ! -e "$policy" ]; then
        made_policy=yes
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
    fi
    { as_root apt-get -o DPkg::Lock::Timeout=300 update &&
        as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y \
            --no-install-recommends "$@"; } >"$log" 2>&1 </dev/null || status=$?
    if [ "$made_policy" = yes ]; then
        as_root rm -f "$policy"
    fi
    if [ "$status" -eq 0 ] && [[ " $* " == *" redis-server "* ]] && command -v systemctl >/dev/null; then
        as_root systemctl disable redis-server >/dev/null 2>&1 || true
    fi
    if [ "$status" -ne 0 ]; then
        tail -n 20 "$log" >&2
        rm -f "$log"
        fail "apt-get failed with status $status (see above); needed: $*"
    fi
    rm -f "$log"
}

# build_ensure DIR SETTING...: configures DIR when it is new or was configured differently, and builds it.
build_ensure() {
    local directory=$1 stamp="$1/.settings" log
    shift
    log=$(mktemp)
    if [ ! -f "$directory/build.ninja" ]; then
        say "configuring $directory"
        # What an interrupted setup left is of no use.
        rm -rf "$directory"
        meson setup "$directory" "$ROOT" "$@" >"$log" 2>&1 || build_failed "$log" "meson setup $directory"
        printf '%s\n' "$*" >"$stamp"
    elif [ "$(cat "$stamp" 2>/dev/null)" != "$*" ]; then
        meson configure "$directory" "$@" >"$log" 2>&1 || build_failed "$log" "meson configure $directory"
        printf '%s\n' "$*" >"$stamp"
    fi
    # A dry run tells whether there is anything to say.
    if ! ninja -C "$directory" -n 2>/dev/null | grep -q 'no work to do'; then
        say "building $directory"
    fi
    ninja -C "$directory" >"$log" 2>&1 || build_failed "$log" "ninja -C $directory"
    rm -f "$log"
}

build_failed() {
    tail -n 60 "$1" >&2
    rm -f "$1"
    fail "$2 failed (see above)"
}
