#!/usr/bin/env bash
# orlop import: what docker-registry and distribution have kept is served, with the same digests, to skopeo and crane.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
needs crane oras skopeo curl jq
[[ -z ${REGISTRY:-} ]] || skip "the registry is to have a data directory of its own"
crane() { command crane --insecure "$@"; }
make_layout "$work/multi" v1 "$machine" "$other"
multi=$(layout_digest "$work/multi")
make_layout "$work/single" v1 "$machine"

# start_peer PROGRAM NAME: that registry on a directory of its own; sets `peer` and `peer_pid`.
start_peer() {
  local port
  for ((port = 20000 + RANDOM % 20000; ; port++)); do
    ! (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break
  done
  peer=127.0.0.1:$port
  mkdir -p "$work/$2"
  cat >"$work/$2.yml" <<END
version: 0.1
storage: {filesystem: {rootdirectory: $work/$2}, delete: {enabled: true}}
http: {addr: $peer}
END
  # Its settings are in the environment, too: our own name is one of them.
  env -u REGISTRY_AUTH_FILE OTEL_TRACES_EXPORTER=none "$1" serve "$work/$2.yml" </dev/null >"$work/$2.log" 2>&1 &
  peer_pid=$!
  disown "$peer_pid"
  stoppers+=("stop $peer_pid")
  wait_for 20 curl -fsS "http://$peer/v2/" || fail "$1 did not come up: $(tail -n 5 "$work/$2.log")"
}

# fill NAME: pushes what there is to push, by several clients.
fill() {
  skopeo copy -q --all --dest-tls-verify=false "oci:$work/multi:v1" "docker://$peer/team/multi:v1"
  skopeo copy -q --dest-tls-verify=false --format v2s2 "oci:$work/single:v1" "docker://$peer/team/docker:v1"
  printf '\x28\xb5\x2f\xfd\x24\x00\x01\x00\x00\x99\xe9\xd8\x51' >"$work/layer"
  (cd "$work" && oras push --plain-http "$peer/team/zstd:v1" layer:application/vnd.oci.image.layer.v1.tar+zstd)
  # Blobs are mounted from the first repository.
  crane copy "$peer/team/multi:v1" "$peer/mounted/multi:v2"
  crane tag "$peer/team/multi:v1" latest
  crane tag "$peer/team/multi:v1" gone
  echo bill >"$work/bill"
  (cd "$work" && oras attach --plain-http --artifact-type application/x-bill "$peer/team/multi@$multi" bill)
  # A tag whose manifest was deleted, and an image that was.
  crane copy "$peer/team/docker:v1" "$peer/team/deleted:v1"
  crane delete "$peer/team/deleted@$(crane digest "$peer/team/deleted:v1")"
  # An upload that never ends.
  local session
  session=$(curl -fsS -X POST -D - -o /dev/null "http://$peer/v2/team/multi/blobs/uploads/" | tr -d '\r' |
    sed -nE 's/^location: //Ip')
  [[ $session == http* ]] || session=http://$peer$session
  curl -fsS -X PATCH -H 'Content-Type: application/octet-stream' --data-binary 'half of it' -o /dev/null "$session"
}

# references: every tag that the registry at $1 has, with its digest.
references() {
  local name tag
  for name in $(curl -fsS "http://$1/v2/_catalog" | jq -r '.repositories[]'); do
    for tag in $(curl -fsS "http://$1/v2/$name/tags/list" | jq -r '.tags[]?' | sort); do
      echo "$name:$tag $(crane digest "$1/$name:$tag")"
    done
  done
}

tried=0
for program in docker-registry distribution; do
  command -v "$program" >/dev/null || continue
  tried=$((tried + 1))
  step "fill $program"
  start_peer "$program" "$program"
  fill
  references "$peer" | sort >"$work/there"

  step "a registry that serves its directory is not imported by mistake"
  refused "$(orlop_bin)" import distribution --data "$work/data" "$work/$program" 2>&1 | tee "$work/import.log"
  grep -qE 'serves it|has files open|went on' "$work/import.log" || fail "it says something else"

  step "import while it serves, push more, stop it, and import what is new"
  "$(orlop_bin)" import distribution --live --data "$work/data" "$work/$program"
  crane tag "$peer/team/multi:v1" late
  references "$peer" | sort >"$work/there"
  stop "$peer_pid"
  find "$work/$program" -type f -exec sha256sum {} + | sort >"$work/before"
  "$(orlop_bin)" import distribution --read-only --verify --json --data "$work/data" "$work/$program" >"$work/report"
  expect "tags that are new" 1 "$(jq .tags "$work/report")"
  expect "broken" 0 "$(jq .broken "$work/report")"
  find "$work/$program" -type f -exec sha256sum {} + | sort >"$work/after"
  diff "$work/before" "$work/after" || fail "the source has changed"

  step "serve it: the same tags with the same digests, whole"
  start_registry
  references "$registry" | sort >"$work/here"
  diff "$work/there" "$work/here" || fail "tags differ"
  # It takes layers for archives, which those of artifacts are not.
  for reference in team/multi:{v1,latest,gone,late} team/docker:v1 mounted/multi:v2; do
    crane validate --remote "$registry/$reference"
  done
  skopeo copy -q --all --src-tls-verify=false "docker://$registry/team/multi:v1" "oci:$work/back-$program:v1"
  expect "digest of the index" "$multi" "$(layout_digest "$work/back-$program")"
  check_layout "$work/back-$program"
  expect "referrers" 1 "$(oras discover --plain-http --format json "$registry/team/multi@$multi" | jq '.referrers // .manifests | length')"
  expect "a deleted image" 404 "$(status GET team/deleted/manifests/v1)"
  stop "$registry_pid"
  "$(orlop_bin)" check --data "$work/data"
  rm -rf "$work/data"
done
((tried > 0)) || skip "neither docker-registry nor distribution is installed: run tests/peers/install"
