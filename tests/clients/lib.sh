# shellcheck shell=bash
# shellcheck disable=SC2034 # some variables are for the scripts that read this file
# What all client tests share: a registry of their own, images made without a network, checks
# that say what they expected, and a cleanup that leaves no process, mount or file behind.
#
# The registry under test is one of
#   REGISTRY=host:port   a registry that runs already (run --fleet starts one), or
#   ORLOP_BIN=path       a binary started as `path serve --addr 127.0.0.1:0 --data DIR`;
#                        without either, this repository's own build (release before debug).

set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
tools=$(realpath -m "${ORLOP_TOOLS:-$root/target/tools}/bin")
export PATH="$tools:$PATH:/usr/sbin:/sbin"

# ---------------------------------------------------------------------------------------------
# Saying what happens

step() { echo "== $*"; }

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

# For a reason found on this machine only, never for a result; `run` counts it apart.
skip() {
  echo "SKIPPED: $*" >&2
  exit 77
}

# For what a reader must not miss though all went well; `run` shows it.
note() { echo "NOTE: $*" >&2; }

# expect WHAT WANTED GOT: both must be equal.
expect() {
  [[ $3 == "$2" ]] || fail "$1: expected '$2', got '$3'"
}

# expect_has WHAT WANTED TEXT: a whole line of the text must be the wanted one.
expect_has() {
  grep -qxF -- "$2" <<<"$3" || fail "$1: expected a line '$2' in: $3"
}

# expect_lacks WHAT UNWANTED TEXT
expect_lacks() {
  ! grep -qxF -- "$2" <<<"$3" || fail "$1: unexpected line '$2' in: $3"
}

# refused COMMAND...: the command must fail, and its complaint is part of the log.
refused() {
  if "$@"; then
    fail "should have been refused: $*"
  fi
}

needs() {
  local tool reason
  for tool; do
    command -v "$tool" >/dev/null && continue
    reason=$tools/$tool.failure
    [[ ! -s $reason ]] || tail -n 3 "$reason" >&2
    fail "$tool is not installed: run tests/clients/install"
  done
}

# ---------------------------------------------------------------------------------------------
# A place of our own, and leaving it

work=$(mktemp -d "${TMPDIR:-/tmp}/orlop-clients.XXXXXX")
stoppers=() # what to end, newest first, before the folder goes

# The clients look for credentials and settings at home: give them an empty home, so that
# neither this machine's settings change the test nor the test changes the machine.
export HOME=$work/home DOCKER_CONFIG=$work/docker-config REGISTRY_AUTH_FILE=$work/auth.json
export XDG_CONFIG_HOME=$work/home/.config XDG_CACHE_HOME=$work/home/.cache
export XDG_DATA_HOME=$work/home/.local XDG_RUNTIME_DIR=$work/runtime
mkdir -p "$HOME" "$DOCKER_CONFIG" "$XDG_RUNTIME_DIR"
echo '{}' | tee "$DOCKER_CONFIG/config.json" >"$REGISTRY_AUTH_FILE"
unset DOCKER_HOST DOCKER_CONTEXT http_proxy https_proxy HTTP_PROXY HTTPS_PROXY

alive() { kill -0 "$1" 2>/dev/null; }

# stop PID [SIGNAL]: ends one process of ours and waits until it is gone, harder after 15 seconds.
stop() {
  local pid=$1 signal=${2:-TERM} tries
  kill -s "$signal" "$pid" 2>/dev/null || true
  for ((tries = 0; tries < 150; tries++)); do
    alive "$pid" || break
    sleep 0.1
  done
  kill -s KILL "$pid" 2>/dev/null || true
  wait "$pid" 2>/dev/null || true
}

cleanup() {
  local status=$? index mounts
  trap - EXIT
  trap '' HUP INT TERM
  set +e
  for ((index = ${#stoppers[@]} - 1; index >= 0; index--)); do
    eval "${stoppers[index]}"
  done
  if ((status != 0 && status != 77)) && [[ -s $work/registry.log ]]; then
    echo "-- the end of the registry's log" >&2
    tail -n 20 "$work/registry.log" >&2
  fi
  # Deepest first; only mounts inside our own folder are ours.
  mounts=$(awk -v ours="$work/" 'index($2, ours) == 1 { print $2 }' /proc/self/mounts | sort -r)
  while IFS= read -r mount; do
    [[ -z $mount ]] || umount "$mount" || umount -l "$mount"
  done <<<"$mounts"
  rm -rf --one-file-system "$work"
  exit "$status"
}
trap cleanup EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# wait_for SECONDS COMMAND...: until the command succeeds.
wait_for() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < deadline)) || return 1
    sleep 0.1
  done
}

# free_port: prints a port that nothing listens on. The system gives those from 32768 on to connections and to servers that
# ask for any port: one of those may be taken before the server that is to have it listens.
free_port() {
  local port
  for ((port = 10000 + SRANDOM % 22000; ; port = 10000 + SRANDOM % 22000)); do
    (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
  done
  echo "$port"
}

# ---------------------------------------------------------------------------------------------
# The registry

registry='' registry_pid='' # host:port to talk to; process, when it is ours
scheme=http                 # https for a test that encrypts
access=()                   # what curl needs to be let in: a certificate authority, a user
registry_flags=()           # what a test starts it with beside the usual

orlop_bin() {
  local candidate
  for candidate in ${ORLOP_BIN:+"$ORLOP_BIN"} "$root/target/release/orlop" "$root/target/debug/orlop"; do
    if [[ -x $candidate ]]; then
      echo "$candidate"
      return
    fi
    [[ -z ${ORLOP_BIN:-} ]] || break
  done
  fail "no registry to test: build Orlop (cargo build --release), or set ORLOP_BIN or REGISTRY"
}

# The address of `--addr` comes before those of mirrors.
listening_on() {
  sed -nE 's#.*listening on https?://(127\.0\.0\.1:[0-9]+).*#\1#p' "$work/registry.log" | head -n 1
}

# A fresh log every time, so that a restart does not find the address of the process before it.
registry_is_up() {
  alive "$registry_pid" || return 0
  registry=$(listening_on)
  # Whoever asks for a password is up, too.
  [[ -n $registry ]] && curl -sS "${access[@]}" "$scheme://$registry/v2/"
}

# Sets `registry`. Called again after a stop, it goes on with the same data.
start_registry() {
  local bin
  if [[ -n ${REGISTRY:-} ]]; then
    registry=$REGISTRY
    curl -fsS "http://$registry/v2/" >/dev/null || fail "no registry answers at $registry"
    return
  fi
  bin=$(orlop_bin)
  : >"$work/registry.log"
  NO_COLOR=1 "$bin" serve --addr 127.0.0.1:0 --data "$work/data" "${registry_flags[@]}" \
    </dev/null >"$work/registry.log" 2>&1 &
  registry_pid=$!
  disown "$registry_pid" # so that bash does not report the kill of a test
  stoppers+=("stop $registry_pid")
  wait_for 20 registry_is_up || fail "the registry did not come up within 20 seconds"
  alive "$registry_pid" || fail "the registry ended at its start"
}

# Content of a run is its own (see `word`); so are its repositories, in a registry others use too.
space=e2e-$$-$RANDOM

# api METHOD PATH [CURL ARGUMENT...]: the body of a successful answer.
api() {
  local method=$1 path=$2
  shift 2
  # A registry may send clients to its object store.
  curl -fsSL "${access[@]}" -X "$method" "$@" "$scheme://$registry/v2/$path"
}

# status METHOD PATH [CURL ARGUMENT...]: the status code alone.
status() {
  local method=$1 path=$2
  shift 2
  # A HEAD that curl sends as any other method would wait for a body that never comes.
  if [[ $method == HEAD ]]; then set -- --head "$@"; else set -- -X "$method" "$@"; fi
  curl -sS "${access[@]}" -o /dev/null -w '%{http_code}' "$@" "$scheme://$registry/v2/$path"
}

any_manifest='Accept: application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json'

# digest_of REPO REFERENCE: of the very bytes that the registry serves, and it must name them so.
digest_of() {
  local got named
  api GET "$1/manifests/$2" -H "$any_manifest" -D "$work/head" -o "$work/body"
  got=sha256:$(sha256 "$work/body")
  named=$(tr -d '\r' <"$work/head" | sed -nE 's/^docker-content-digest: //Ip')
  expect "digest of $1 $2 as the registry names it" "$got" "$named"
  echo "$got"
}

tags_of() { api GET "$1/tags/list" | jq -r '.tags[]?'; }

# ---------------------------------------------------------------------------------------------
# Images, made of busybox alone

machine=$(dpkg --print-architecture)                           # the one that can run here
other=$([[ $machine == arm64 ]] && echo amd64 || echo arm64) # and one that can not
word=stowed-$$-$RANDOM # what a container of this run prints, so that no older image passes for it

sha256() { sha256sum "$1" | cut -d ' ' -f 1; }

# Owners and times are fixed, so that one content has one digest.
pack() { tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C "$1" -cf "$2" .; }

# layers ARCHITECTURE: makes the uncompressed layers of an image under $work/layers, once.
# Two are the same for every architecture, so that pushes find blobs that are there already.
layers() {
  local dir=$work/layers
  if [[ ! -e $dir/1.tar ]]; then
    mkdir -p "$dir/1/bin" "$dir/1/tmp" "$dir/2"
    cp "$(command -v busybox)" "$dir/1/bin/busybox"
    ln -s busybox "$dir/1/bin/sh"
    # podman and skopeo remember, for all users of a machine, where in a registry which layer is, and take another
    # compression of it that is there. The layers of a run are its own, so that its digests are as made.
    echo "$word" >"$dir/1/made-by"
    pack "$dir/1" "$dir/1.tar"
    # Large enough for several chunks of every client that sends chunks.
    head -c 3000000 /dev/urandom >"$dir/2/ballast"
    pack "$dir/2" "$dir/2.tar"
  fi
  if [[ ! -e $dir/$1.tar ]]; then
    mkdir -p "$dir/$1"
    echo "$word $1" >"$dir/$1/word"
    pack "$dir/$1" "$dir/$1.tar"
  fi
}

# config ARCHITECTURE: the image's configuration, on standard output.
config() {
  jq -nc --arg arch "$1" --args '{
    architecture: $arch, os: "linux",
    config: {Env: ["PATH=/bin"], Cmd: ["/bin/busybox", "cat", "/word"]},
    rootfs: {type: "layers", diff_ids: $ARGS.positional}
  }' "sha256:$(sha256 "$work/layers/1.tar")" "sha256:$(sha256 "$work/layers/2.tar")" \
    "sha256:$(sha256 "$work/layers/$1.tar")"
}

# stow DIR FILE TYPE: moves a file among the layout's blobs and prints its descriptor.
stow() {
  local digest size
  digest=$(sha256 "$2") size=$(stat -c %s "$2")
  mv "$2" "$1/blobs/sha256/$digest"
  jq -nc --arg type "$3" --arg digest "sha256:$digest" --argjson size "$size" \
    '{mediaType: $type, digest: $digest, size: $size}'
}

# make_layout DIR TAG ARCHITECTURE...: an OCI image layout, holding one image, or an index of several.
make_layout() {
  local dir=$1 tag=$2 arch layer file manifest oci=application/vnd.oci.image manifests=()
  shift 2
  mkdir -p "$dir/blobs/sha256"
  echo '{"imageLayoutVersion":"1.0.0"}' >"$dir/oci-layout"
  file=$dir/new
  for arch; do
    layers "$arch"
    config "$arch" >"$file"
    stow "$dir" "$file" $oci.config.v1+json >"$work/descriptors"
    for layer in 1 2 "$arch"; do
      gzip -nc "$work/layers/$layer.tar" >"$file"
      stow "$dir" "$file" $oci.layer.v1.tar+gzip >>"$work/descriptors"
    done
    jq -sc --arg type $oci.manifest.v1+json \
      '{schemaVersion: 2, mediaType: $type, config: .[0], layers: .[1:]}' "$work/descriptors" >"$file"
    manifests+=("$(stow "$dir" "$file" $oci.manifest.v1+json |
      jq -c --arg arch "$arch" '. + {platform: {os: "linux", architecture: $arch}}')")
  done
  manifest=${manifests[0]}
  if ((${#manifests[@]} > 1)); then
    printf '%s\n' "${manifests[@]}" |
      jq -sc --arg type $oci.index.v1+json '{schemaVersion: 2, mediaType: $type, manifests: .}' >"$file"
    manifest=$(stow "$dir" "$file" $oci.index.v1+json)
  fi
  jq -c --arg tag "$tag" '{schemaVersion: 2, manifests: [
    . + {annotations: {"org.opencontainers.image.ref.name": $tag}}]}' <<<"$manifest" >"$dir/index.json"
}

# layout_digest DIR: of what its (only) tag names.
layout_digest() { jq -r '.manifests[0].digest' "$1/index.json"; }

# check_layout DIR: every blob of a layout must be what its name says.
check_layout() {
  local blob
  for blob in "$1"/blobs/sha256/*; do
    expect "content of $blob" "$(basename "$blob")" "$(sha256 "$blob")"
  done
}

# make_archive FILE NAME:TAG: what `docker save` writes, for this machine's architecture.
make_archive() {
  local dir=$work/archive id
  layers "$machine"
  mkdir -p "$dir"
  cp "$work/layers/1.tar" "$work/layers/2.tar" "$work/layers/$machine.tar" "$dir"
  config "$machine" >"$dir/config"
  id=$(sha256 "$dir/config")
  mv "$dir/config" "$dir/$id.json"
  jq -nc --arg config "$id.json" --arg tag "$2" --arg last "$machine.tar" \
    '[{Config: $config, RepoTags: [$tag], Layers: ["1.tar", "2.tar", $last]}]' >"$dir/manifest.json"
  tar -C "$dir" -cf "$1" .
  rm -r "$dir"
}

# ---------------------------------------------------------------------------------------------
# podman and buildah

# A store and a runtime state of their own, and nothing that needs systemd or a network of the
# container's own. Plain copies (vfs) work wherever the folder is, also on an overlay.
containers_conf() {
  mkdir -p "$work/containers"
  export CONTAINERS_CONF=$work/containers/containers.conf
  export CONTAINERS_STORAGE_CONF=$work/containers/storage.conf
  export CONTAINERS_REGISTRIES_CONF=$work/containers/registries.conf
  : >"$CONTAINERS_REGISTRIES_CONF"
  cat >"$CONTAINERS_STORAGE_CONF" <<END
[storage]
driver = "vfs"
graphroot = "$work/containers/graph"
runroot = "$work/containers/run"
END
  cat >"$CONTAINERS_CONF" <<END
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
netns = "host"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
runtime = "runc"
tmp_dir = "$work/containers/tmp"
[network]
network_backend = "netavark"
END
}

# ---------------------------------------------------------------------------------------------
# docker

# start_dockerd FOLDER CONFIGURATION: a daemon of our own, which touches no firewall and no bridge.
start_dockerd() {
  local ours=$work/$1
  mkdir -p "$ours"
  echo "$2" >"$ours/daemon.json"
  export DOCKER_HOST=unix://$ours/docker.sock
  dockerd --config-file "$ours/daemon.json" --iptables=false --ip6tables=false --bridge=none \
    --data-root "$ours/images" --exec-root "$ours/run" --pidfile "$ours/pid" -H "$DOCKER_HOST" \
    </dev/null >"$ours/log" 2>&1 &
  dockerd_pid=$!
  stoppers+=("stop_dockerd $dockerd_pid '$ours'")
  wait_for 60 dockerd_is_up || fail "dockerd did not come up within 60 seconds: $(tail -n 5 "$ours/log")"
  alive "$dockerd_pid" || fail "dockerd ended at its start: $(tail -n 5 "$ours/log")"
}

dockerd_is_up() { ! alive "$dockerd_pid" || docker version; }

# dockerd ends the containerd it started, unless it had to be killed.
stop_dockerd() {
  local containerd
  containerd=$(cat "$2/run/containerd/containerd.pid" 2>/dev/null)
  stop "$1"
  if [[ -n $containerd && $(cat "/proc/$containerd/comm" 2>/dev/null) == containerd ]]; then
    stop "$containerd"
  fi
}

# ---------------------------------------------------------------------------------------------
# Running containers

# Every client that runs a container mounts something; some sandboxes forbid that even to root.
can_mount() {
  [[ $(id -u) == 0 ]] || skip "only root can run containers here"
  mkdir -p "$work/mount"
  unshare -m mount -t tmpfs none "$work/mount" 2>"$work/mount.log" ||
    skip "this machine does not let us mount: $(cat "$work/mount.log")"
}
