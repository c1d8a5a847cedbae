#!/usr/bin/env bash
# mirror: clients pull through mirrors of distribution, docker-registry, zot and Orlop; and again once these are gone.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[[ -z ${REGISTRY:-} ]] || skip "the settings of a registry that runs already are not ours to choose"
needs dockerd docker containerd ctr podman skopeo crane oras runc curl jq
can_mount
containers_conf

# ---------------------------------------------------------------------------------------------
# The registries that are mirrored, and what is in them

peers=() serving=() # those that this machine has, and their processes
declare -A upstream # host and port of each
for peer in orlop distribution docker-registry zot; do
  if [[ $peer != orlop ]] && ! command -v "$peer" >/dev/null; then
    echo "($peer is not installed: tests/peers/install has it)"
    continue
  fi
  # distribution takes what is meant for skopeo as its own setting.
  env -u REGISTRY_AUTH_FILE ORLOP_BIN="$(orlop_bin)" SERVE=1 "$here/../peers/run" "$peer" </dev/null >"$work/$peer.url" 2>"$work/$peer.log" &
  serving+=($!)
  stoppers+=("stop $!")
  peers+=("$peer")
done
for peer in "${peers[@]}"; do
  wait_for 20 grep -q http "$work/$peer.url" || fail "$peer did not come up: $(cat "$work/$peer.log")"
  upstream[$peer]=$(sed 's#^http://##' "$work/$peer.url")
done

step "push images, an artifact with a signature, and a chart to one of them, and copy them to the others"
first=${upstream[orlop]}
make_layout "$work/multi" v1 "$machine" "$other"
digest=$(layout_digest "$work/multi")
skopeo copy -q --all --dest-tls-verify=false "oci:$work/multi:v1" "docker://$first/library/box:v1"
make_archive "$work/archive.tar" "$first/library/box:chunked"
podman load -q -i "$work/archive.tar" >/dev/null
podman push -q --tls-verify=false --compression-format zstd:chunked "$first/library/box:chunked"
podman rmi -f -a >/dev/null
echo "$word" >"$work/note.txt"
cd "$work"
oras push --plain-http --artifact-type application/vnd.example.cargo "$first/team/cargo:v1" note.txt:text/plain >/dev/null
oras attach --plain-http --format json --artifact-type application/vnd.example.signature "$first/team/cargo:v1" note.txt |
  jq -r '.digest // (.reference | split("@")[1])' >"$work/signature"
if command -v helm >/dev/null; then
  helm create "$work/chart" >/dev/null
  helm package "$work/chart" --version 0.1.0 -d "$work" >/dev/null
  helm push --plain-http "$work/chart-0.1.0.tgz" "oci://$first/charts"
else
  note "helm is not installed, and was not tried: tests/deploy/install has it"
fi
for peer in "${peers[@]:1}"; do
  for image in library/box:v1 library/box:chunked team/cargo:v1 charts/chart:0.1.0; do
    [[ $image != charts/* ]] || command -v helm >/dev/null || continue
    oras cp -r --from-plain-http --to-plain-http "$first/$image" "${upstream[$peer]}/$image" >/dev/null
  done
done

# ---------------------------------------------------------------------------------------------
# One mirror of them all

declare -A at # the address whose root each is, as dockerd wants it
for peer in "${peers[@]}"; do
  at[$peer]=127.0.0.1:$(free_port)
  cat <<END
[[mirror]]
prefix = "$peer/"
upstream = "http://${upstream[$peer]}"
namespace = ["$peer.example.com"]
addr = "${at[$peer]}"
fresh = "never"
END
done >"$work/orlop.toml"
registry_flags=(--config "$work/orlop.toml")
start_registry

# ---------------------------------------------------------------------------------------------
# The clients

# What a client asks elsewhere fails at once, and reaches nobody.
export HTTPS_PROXY=http://127.0.0.1:1 NO_PROXY=127.0.0.1

docker_configuration() { echo "{\"registry-mirrors\": [\"http://$1\"]}"; }
start_dockerd docker "$(docker_configuration "${at[orlop]}")"

ours=$work/containerd
mkdir -p "$ours/hosts/_default"
cat >"$ours/config.toml" <<END
version = 2
root = "$ours/root"
state = "$ours/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "$ours/sock"
[ttrpc]
  address = "$ours/sock.ttrpc"
END
# One for all upstreams: containerd says which it means.
cat >"$ours/hosts/_default/hosts.toml" <<END
[host."http://$registry"]
  capabilities = ["pull", "resolve"]
END
ctr() { command ctr -a "$ours/sock" -n "$space" "$@"; }
# Run last: runc leaves the (empty) control groups of the namespace behind.
stoppers+=("find /sys/fs/cgroup -depth -type d -name '$space' -exec rmdir {} + 2>/dev/null")
containerd -c "$ours/config.toml" </dev/null >"$work/containerd.log" 2>&1 &
stoppers+=("stop $!")
wait_for 30 ctr version || fail "containerd did not come up: $(tail -n 5 "$work/containerd.log")"

# Only this driver of podman's pulls parts of layers.
cat >"$CONTAINERS_STORAGE_CONF" <<END
[storage]
driver = "overlay"
graphroot = "$work/overlay/graph"
runroot = "$work/overlay/run"
[storage.options]
pull_options = {enable_partial_images = "true", use_hard_links = "false", ostree_repos = ""}
END
for peer in "${peers[@]}"; do
  cat <<END
[[registry]]
prefix = "$peer.example.com"
location = "$peer.example.com"
[[registry.mirror]]
location = "$registry/$peer"
insecure = true
END
done >"$CONTAINERS_REGISTRIES_CONF"

dockerd_pulls() {
  docker_configuration "${at[$1]}" >"$work/docker/daemon.json"
  kill -HUP "$dockerd_pid"
  wait_for 10 mirrors "${at[$1]}" || fail "dockerd does not take another mirror"
  docker pull -q box:v1 || fail "docker does not pull: $(tail -n 5 "$work/docker/log")"
  expect_has "digest that docker recorded" "box@$digest" "$(docker image inspect box:v1 | jq -r '.[].RepoDigests[]')"
  expect "what the container prints" "$word $machine" \
    "$(docker run --rm --network=none --log-driver=none box:v1 </dev/null)"
  docker rmi -f "$(docker images -q)" >/dev/null
  refused docker pull -q box:absent 2>"$work/refusal"
}
mirrors() { docker info -f '{{json .RegistryConfig.Mirrors}}' | grep -q "$1"; }

containerd_pulls() {
  local name=$1.example.com/library/box:v1
  ctr images pull --hosts-dir "$ours/hosts" --all-platforms --snapshotter native "$name" >/dev/null
  expect "digest of the pulled index" "$digest" "$(ctr images ls "name==$name" | awk 'NR == 2 { print $3 }')"
  ctr images check "name==$name" | grep -q complete
  expect "what the container prints" "$word $machine" \
    "$(ctr run --rm --net-host --snapshotter native "$name" "$1" </dev/null)"
  ctr images rm --sync "$name" >/dev/null
}

podman_pulls() {
  podman pull -q "$1.example.com/library/box:chunked" >/dev/null
  expect "what the container prints" "$word $machine" "$(podman run --rm "$1.example.com/library/box:chunked")"
  podman rmi -f -a >/dev/null
}

skopeo_pulls() {
  rm -rf "$work/pulled"
  skopeo copy -q --all --src-tls-verify=false "docker://$registry/$1/library/box:v1" "oci:$work/pulled:v1"
  expect "digest of the pulled index" "$digest" "$(layout_digest "$work/pulled")"
  check_layout "$work/pulled"
}

crane_pulls() {
  expect "digest" "$digest" "$(command crane --insecure digest "$registry/$1/library/box:v1")"
  command crane --insecure validate --remote "$registry/$1/library/box:v1"
}

oras_pulls() {
  rm -rf "$work/cargo" "$work/copied"
  oras pull --plain-http -o "$work/cargo" "$registry/$1/team/cargo:v1" >/dev/null
  cmp "$work/note.txt" "$work/cargo/note.txt"
  # With all that refers to it.
  oras cp -r --from-plain-http --to-oci-layout "$registry/$1/team/cargo:v1" "$work/copied:v1" >/dev/null
  [[ -e $work/copied/blobs/sha256/$(sed 's/^sha256://' "$work/signature") ]] || fail "oras did not get the signature"
}

helm_pulls() {
  rm -rf "$work/charts" && mkdir "$work/charts"
  helm pull --plain-http "oci://$registry/$1/charts/chart" --version 0.1.0 -d "$work/charts"
  cmp "$work/chart-0.1.0.tgz" "$work/charts/chart-0.1.0.tgz"
}

clients=(podman dockerd containerd skopeo crane oras)
! command -v helm >/dev/null || clients+=(helm)

all_pull() {
  local client peer
  for client in "${clients[@]}"; do
    for peer in "${peers[@]}"; do
      step "$client pulls what $peer has, $1"
      "${client}_pulls" "$peer"
    done
  done
}

all_pull "through its mirror"
parts=$(grep -c 'operation="pull-blob".*status=206.*agent="containers/' "$work/registry.log" || true)
((parts >= ${#peers[@]})) || fail "podman pulled no parts of layers, but $parts"

step "a mirror takes no push"
refused command crane --insecure push "$work/multi" "$registry/orlop/library/box:v2" 2>"$work/refusal"
grep -q UNSUPPORTED "$work/refusal"

step "end the registries that are mirrored"
for pid in "${serving[@]}"; do stop "$pid"; done
for peer in "${peers[@]}"; do
  refused curl -sS "http://${upstream[$peer]}/v2/" 2>"$work/refusal"
  expect "how the cache speaks of a tag" STALE "$(api GET "$peer/library/box/manifests/v1" -H "$any_manifest" -o /dev/null -D - |
    tr -d '\r' | sed -n 's/^x-cache: //Ip')"
done
all_pull "which is gone"
