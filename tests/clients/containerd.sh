#!/usr/bin/env bash
# containerd with ctr: push and pull of all platforms, digests, and a container that runs.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
needs containerd ctr runc skopeo curl jq
can_mount
start_registry
repo=$space/box

# A containerd of our own: everything it writes is in our folder, and it serves no Kubernetes.
ours=$work/containerd
mkdir -p "$ours"
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
ctr() { command ctr -a "$ours/sock" -n "$space" "$@"; }
# Run last: runc leaves the (empty) control groups of the namespace behind.
stoppers+=("find /sys/fs/cgroup -depth -type d -name '$space' -exec rmdir {} + 2>/dev/null")
containerd -c "$ours/config.toml" </dev/null >"$work/containerd.log" 2>&1 &
stoppers+=("stop $!")
wait_for 30 ctr version || fail "containerd did not come up: $(tail -n 5 "$work/containerd.log")"

# The native snapshotter copies: it works wherever our folder is, also on an overlay.
run() { ctr run --rm --net-host --snapshotter native "$1" "$2" </dev/null; }

make_layout "$work/multi" "$registry/$repo:v1" "$machine" "$other"
digest=$(layout_digest "$work/multi")
image_digest() { ctr images ls "name==$1" | awk 'NR == 2 { print $3 }'; }

step "import an index of two platforms and push all of it"
tar -C "$work/multi" -cf "$work/multi.tar" .
ctr images import --all-platforms --snapshotter native "$work/multi.tar" >/dev/null
ctr images push --plain-http "$registry/$repo:v1" >/dev/null
expect "digest of the pushed index" "$digest" "$(digest_of "$repo" v1)"
while read -r child; do
  expect "digest of an image in the index" "$child" "$(digest_of "$repo" "$child")"
done < <(jq -r '.manifests[].digest' "$work/multi/blobs/sha256/${digest#sha256:}")

step "push it again: nothing is missing, nothing changes"
ctr images push --plain-http "$registry/$repo:v1" >/dev/null
expect "digest of the pushed index" "$digest" "$(digest_of "$repo" v1)"

step "push it to another repository"
ctr images tag "$registry/$repo:v1" "$registry/$space/second:v1" >/dev/null
ctr images push --plain-http "$registry/$space/second:v1" >/dev/null
expect "digest in the second repository" "$digest" "$(digest_of "$space/second" v1)"

step "forget it, with all its content, and pull it for all platforms"
ctr images rm --sync "$registry/$repo:v1" "$registry/$space/second:v1" >/dev/null
expect "content that is left" "" "$(ctr content ls -q)"
ctr images pull --plain-http --all-platforms --snapshotter native "$registry/$repo:v1" >/dev/null
expect "digest of the pulled index" "$digest" "$(image_digest "$registry/$repo:v1")"
expect "pulled content" "$(ls "$work/multi/blobs/sha256")" "$(ctr content ls -q | sed 's/^sha256://' | sort)"
ctr images check "name==$registry/$repo:v1" | grep -q complete

step "run it"
expect "what the container prints" "$word $machine" "$(run "$registry/$repo:v1" first)"

step "pull and run by digest"
ctr images pull --plain-http --snapshotter native "$registry/$repo@$digest" >/dev/null
expect "what the container prints" "$word $machine" "$(run "$registry/$repo@$digest" second)"

step "an image that is not there is refused"
refused ctr images pull --plain-http "$registry/$repo:absent"
