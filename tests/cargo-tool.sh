# shellcheck shell=bash
# Programs written in Rust that the tests use, built from crates.io at an exact version: read by the scripts that need
# one. They go to `bin`, and what they are built from stays there for the next one.

tools=$(realpath -m "${ORLOP_TOOLS:-$(dirname "${BASH_SOURCE[0]}")/../target/tools}")
export PATH="$tools/bin:$PATH"

# cargo_tool NAME VERSION: installs it, unless it is there. Without optimisation: compiling it takes longer than all it does.
cargo_tool() {
  [[ ! -x $tools/bin/$1 || $(cat "$tools/bin/$1.version" 2>/dev/null) != "$2" ]] || return 0
  # No flags that are meant for another build.
  env -u RUSTFLAGS -u CARGO_BUILD_TARGET nice cargo install "$1" --version "$2" --locked --debug --force --root "$tools" \
    --target-dir "$tools/build"
  echo "$2" >"$tools/bin/$1.version"
}
