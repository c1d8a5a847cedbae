#!/usr/bin/env bash
# [[sync]] between registries of others: what skopeo pushes to docker-registry comes to Orlop, and goes on to distribution
# as soon as it is there. podman and crane pull it from both.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[[ -z ${REGISTRY:-} ]] || skip "the settings of a registry that runs already are not ours to choose"
needs docker-registry distribution skopeo podman crane oras curl jq python3
containers_conf
crane() { command crane --insecure "$@"; }
sync() { env -u ORLOP_BIN "$(orlop_bin)" sync "$@" --config "$work/orlop.toml" --data "$work/data"; }
stands() { grep -q "$1" <<<"$(sync status "$2")"; }

declare -A at serving # host and port of each, and its process
for peer in docker-registry distribution; do
  # distribution takes what is meant for skopeo as its own setting.
  env -u REGISTRY_AUTH_FILE SERVE=1 "$here/../peers/run" "$peer" </dev/null >"$work/$peer.url" 2>"$work/$peer.log" &
  serving[$peer]=$!
  stoppers+=("stop $!")
done
for peer in docker-registry distribution; do
  wait_for 20 grep -q http "$work/$peer.url" || fail "$peer did not come up: $(cat "$work/$peer.log")"
  at[$peer]=$(sed 's#^http://##' "$work/$peer.url")
done
source=${at[docker-registry]} site=${at[distribution]}

step "push an index and an image to docker-registry, by skopeo"
make_layout "$work/multi" v1 "$machine" "$other"
make_layout "$work/one" v2 "$machine"
multi=$(layout_digest "$work/multi") one=$(layout_digest "$work/one")
push() { skopeo copy -q --all --dest-tls-verify=false "oci:$work/$1" "docker://$source/team/$2"; }
push multi:v1 box:v1
push one:v2 box:v2
push one:v2 box:edge
push one:v2 other:v1

cat >"$work/orlop.toml" <<END
[[sync]]
name = "in"
from = "http://$source"
repositories = ["team/b*"]
prefix = "copied/"
tags = ["v*"]
every = "1h"
mirror-deletes = true

[[sync]]
name = "out"
from = "local"
to = "http://$site"
repositories = ["copied/**"]
strip = "copied/"
on-push = true
referrers = true
END
registry_flags=(--config "$work/orlop.toml")
start_registry

step "it comes to Orlop by itself"
wait_for 20 stands "sync in: done" in || fail "$(sync status)"
expect "digest of the index" "$multi" "$(digest_of copied/team/box v1)"
expect "tags" "v1 v2" "$(tags_of copied/team/box | xargs)"
expect "repositories" copied/team/box "$(api GET _catalog | jq -r '.repositories[]' | xargs)"
crane validate --remote "$registry/copied/team/box:v1"
podman pull -q --tls-verify=false "$registry/copied/team/box:v2" >/dev/null
expect_has "digest by podman" "$registry/copied/team/box@$one" \
  "$(podman image inspect "$registry/copied/team/box:v2" | jq -r '.[].RepoDigests[]')"

step "and goes on to distribution at once"
digest_at_site() { [[ $(crane digest "$site/team/box:$1") == "$2" ]]; }
wait_for 20 digest_at_site v1 "$multi" || fail "$(cat "$work/registry.log")"
wait_for 20 digest_at_site v2 "$one" || fail "$(cat "$work/registry.log")"
crane validate --remote "$site/team/box:v1"
podman rmi -f -a >/dev/null
podman pull -q --tls-verify=false "$site/team/box:v2" >/dev/null

step "with what is attached to it later"
echo bill >"$work/bill"
(cd "$work" && oras attach --plain-http --artifact-type application/x-bill "$registry/copied/team/box@$multi" bill >/dev/null)
attached() { [[ $(oras discover --plain-http --format json "$site/team/box@$multi" | jq '.referrers // .manifests | length') == 1 ]]; }
wait_for 20 attached || fail "$(cat "$work/registry.log")"

step "a second run moves nothing"
sync run | tee "$work/again"
expect "unchanged" "sync in: 0 tags copied, 2 unchanged, 0 deleted; 0 blobs (0 B) moved, 0 mounted; 0 failures" \
  "$(grep "^sync in" "$work/again")"
expect "unchanged" "sync out: 0 tags copied, 2 unchanged, 0 deleted; 0 blobs (0 B) moved, 0 mounted; 0 failures" \
  "$(grep "^sync out" "$work/again")"

step "a tag that moves, and a killed server"
push multi:v1 box:v2
stop "$registry_pid" KILL
start_registry
sync run in | tee "$work/moved"
expect_has "one copied" \
  "sync in: 1 tags copied, 1 unchanged, 0 deleted; 0 blobs (0 B) moved, 0 mounted; 0 failures" "$(cat "$work/moved")"
expect "digest of the tag" "$multi" "$(digest_of copied/team/box v2)"
wait_for 20 digest_at_site v2 "$multi" || fail "$(cat "$work/registry.log")"

step "nothing is deleted while docker-registry is away"
stop "${serving[docker-registry]}"
refused sync run in 2>&1 | tee "$work/away"
grep -q "all repositories: they cannot be listed: $source" "$work/away" || fail "it is not told what failed"
expect "tags" "v1 v2" "$(tags_of copied/team/box | xargs)"
sync status in
