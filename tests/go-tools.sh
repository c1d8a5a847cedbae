# shellcheck shell=bash
# Go programs that the tests drive, built with the Go module proxy alone: read by clients/install and peers/install.
# They go to `bin`, each with a NAME.version, so that nothing is built twice; one that could not be built leaves a
# NAME.failure with the reason.

bin=$(realpath -m "${ORLOP_TOOLS:-$(dirname "${BASH_SOURCE[0]}")/../target/tools}/bin")
export PATH="$bin:$PATH:/usr/local/go/bin:/usr/sbin:/sbin"
oldest_go=1.26 # what the newest of these programs asks for

find_go() {
  if ! command -v go >/dev/null; then
    apt-get update -qq </dev/null
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends golang-go </dev/null >/dev/null
  fi
  local version
  version=$(go env GOVERSION)
  version=${version#go}
  printf '%s\n' "$oldest_go" "${version%%[- ]*}" | sort -V -C || {
    echo "install: Go $version is too old: put Go $oldest_go or newer first in PATH" >&2
    exit 1
  }
}

# go_tool NAME PACKAGE@VERSION [OPTION...]: fails when it could not be built; the other programs are still wanted.
#   --module PATH --from REPOSITORY   its module calls itself PATH, and the proxy has it as REPOSITORY
#   --sums ZIP GOMOD                  of a module that the public checksum database does not know
#   --test                            the program is the tests of the package
#   --tags TAGS                       for the build
go_tool() {
  local name=$1 wanted=$2 module='' from='' sums=() command=(build) scratch
  shift 2
  while (($# > 0)); do
    case $1 in
      --module) module=$2 && shift 2 ;;
      --from) from=$2 && shift 2 ;;
      --sums) sums=("$2" "$3") && shift 3 ;;
      --test) command=(test -c) && shift ;;
      --tags) command+=(-tags "$2") && shift 2 ;;
      *) echo "install: go_tool has no option '$1'" >&2 && exit 2 ;;
    esac
  done
  [[ ! -x $bin/$name || $(cat "$bin/$name.version" 2>/dev/null) != "$wanted" ]] || return 0
  find_go
  echo "install: $wanted"
  mkdir -p "$bin"
  rm -f "$bin/$name" "$bin/$name.version"
  scratch=$(mktemp -d)
  if (go_build) >"$bin/$name.failure" 2>&1; then
    mv "$scratch/built" "$bin/$name"
    echo "$wanted" >"$bin/$name.version"
    rm -rf "$bin/$name.failure" "$scratch"
  else
    rm -rf "$scratch"
    tail -n 3 "$bin/$name.failure" >&2
    return 1
  fi
}

# The part of go_tool that may fail. In a module of its own, as `go install` would first ask which versions there are,
# and a proxy may refuse that list and still give the one that is wanted.
go_build() {
  local package=${wanted%@*} version=${wanted#*@}
  # No flags that are meant for another build.
  export GOFLAGS='-mod=mod -buildvcs=false' GOWORK=off
  cd "$scratch" && go mod init tool || return
  if ((${#sums[@]} > 0)); then
    # What go.sum names is held to it; only then may the database be left unasked.
    printf '%s\n' "$package $version ${sums[0]}" "$package $version/go.mod ${sums[1]}" >go.sum
    export GONOSUMDB=${GONOSUMDB:+$GONOSUMDB,}$package
  fi
  if [[ -n $module ]]; then
    go mod edit "-require=$module@$version" "-replace=$module=$from@$version" || return
  else
    nice go get "$wanted" || return
  fi
  # What only a debugger needs is a tenth of the work.
  nice go "${command[@]}" -gcflags=all=-dwarf=false -ldflags='-s -w' -o built "$package"
}
