# shellcheck shell=bash
# How a static Orlop is built for an architecture, as Debian names it: read by `build` and by the tests.

this_architecture() { dpkg --print-architecture; }

# static ARCHITECTURE: sets `target`, and in the environment the compilers for it: Orlop has parts in C and assembly.
static() {
  local machine compiler
  case $1 in
    amd64) machine=x86_64 compiler=x86_64-linux-gnu ;;
    arm64) machine=aarch64 compiler=aarch64-linux-gnu ;;
    *) echo "static binaries are built for amd64 and arm64, not for '$1'" >&2 && return 2 ;;
  esac
  target=$machine-unknown-linux-musl
  # For this machine, Rust and its build scripts find musl-gcc by themselves.
  [[ $1 != "$(this_architecture)" ]] || return 0
  command -v "$compiler-gcc" >/dev/null || {
    echo "$compiler-gcc is missing: apt-get install gcc-${compiler//_/-}" >&2
    return 2
  }
  local variable=${target//-/_}
  # Rust brings the C library (musl); of the compiler's own only headers are used.
  export "CC_$variable=$compiler-gcc" "AR_$variable=$compiler-ar"
  export "CARGO_TARGET_${variable^^}_LINKER=$compiler-gcc"
}
