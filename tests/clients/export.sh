#!/usr/bin/env bash
# orlop export and import: what other registries and clients make of what Orlop writes, and Orlop of what it wrote.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
needs crane oras skopeo curl jq
[[ -z ${REGISTRY:-} ]] || skip "it exports a data directory, which a registry that runs already does not give"
start_registry
orlop=$(orlop_bin)
crane() { command crane --insecure "$@"; }
make_layout "$work/multi" v1 "$machine" "$other"
multi=$(layout_digest "$work/multi")

step "push an index by skopeo, and an artifact that refers to it by oras"
skopeo copy -q --all --dest-tls-verify=false "oci:$work/multi:v1" "docker://$registry/team/box:v1"
skopeo copy -q --all --dest-tls-verify=false "oci:$work/multi:v1" "docker://$registry/other:v2"
echo bill >"$work/bill"
(cd "$work" && oras attach --plain-http --artifact-type application/x-bill "$registry/team/box@$multi" bill)
expect "digest" "$multi" "$(digest_of team/box v1)"

step "export from the running registry into a layout, which skopeo reads"
"$orlop" export oci "$work/out" --registry "$registry" --quiet
check_layout "$work/out"
skopeo copy -q --all "oci:$work/out:team/box:v1" "oci:$work/skopeo:v1"
expect "digest by skopeo" "$multi" "$(layout_digest "$work/skopeo")"

stop "$registry_pid"
step "export for distribution, by links"
"$orlop" export distribution "$work/tree" --data "$work/data"
"$orlop" export distribution "$work/tree" --data "$work/data" | tee "$work/again.log"
expect_has "second run" "2 images of 2 repositories: 0 blobs copied (0 B), 0 of another repository, 0 there already; 0 manifests written" \
  "$(cat "$work/again.log")"

# serve COMMAND...: a peer on the exported directory; sets `peer`.
serve_peer() {
  local port
  port=$(free_port)
  cat >"$work/peer.yml" <<YML
version: 0.1
storage: {filesystem: {rootdirectory: $work/tree}}
http: {addr: "127.0.0.1:$port"}
YML
  env -u REGISTRY_AUTH_FILE OTEL_TRACES_EXPORTER=none "$@" serve "$work/peer.yml" </dev/null >"$work/peer.log" 2>&1 &
  peer_pid=$!
  stoppers+=("stop $peer_pid")
  peer=127.0.0.1:$port
  wait_for 20 curl -fsS "http://$peer/v2/" || fail "the peer did not come up: $(tail "$work/peer.log")"
}

served=0
for program in docker-registry distribution; do
  command -v "$program" >/dev/null || { note "$program is not installed: run tests/peers/install $program"; continue; }
  step "$program serves it, and crane and skopeo pull all of it"
  serve_peer "$program"
  expect "catalog" '["other","team/box"]' "$(curl -fsS "http://$peer/v2/_catalog" | jq -c .repositories)"
  for image in team/box:v1 other:v2; do
    expect "digest of $image" "$multi" "$(crane digest "$peer/$image")"
    crane validate --remote "$peer/$image"
  done
  rm -rf "$work/pulled"
  skopeo copy -q --all --src-tls-verify=false "docker://$peer/team/box:v1" "oci:$work/pulled:v1"
  expect "digest by skopeo" "$multi" "$(layout_digest "$work/pulled")"
  expect "referrers" 1 "$(oras discover --plain-http --format json "$peer/team/box:v1" | jq '.referrers // .manifests | length')"
  step "$program takes a push to it"
  crane tag "$peer/team/box:v1" "by-$program"
  stop "$peer_pid"
  served=$((served + 1))
done
((served > 0)) || skip "neither docker-registry nor distribution is installed"

step "import it again, with what was pushed to it"
"$orlop" import distribution "$work/tree" --data "$work/back" --read-only --copy
mv "$work/data" "$work/before"
mv "$work/back" "$work/data"
start_registry
expect "digest" "$multi" "$(digest_of team/box v1)"
crane validate --remote "$registry/other:v2"
expect "referrers" 1 "$(oras discover --plain-http --format json "$registry/team/box:v1" | jq '.referrers // .manifests | length')"
