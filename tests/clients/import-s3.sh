#!/usr/bin/env bash
# orlop import s3: what distribution has kept in a bucket is served, with the same digests, to skopeo and crane.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
needs crane skopeo curl jq
[[ -z ${REGISTRY:-} ]] || skip "the registry is to have a data directory of its own"
command -v distribution >/dev/null || skip "distribution is not installed: run tests/peers/install"
moto=$tools/../moto/bin/moto_server
[[ -x $moto ]] || skip "moto is not installed: run tests/fleet/install"
crane() { command crane --insecure "$@"; }
export AWS_ACCESS_KEY_ID=orlop AWS_SECRET_ACCESS_KEY=secret AWS_REGION=us-east-1 AWS_EC2_METADATA_DISABLED=true
make_layout "$work/multi" v1 "$machine" "$other"
make_layout "$work/single" v1 "$machine"
multi=$(layout_digest "$work/multi")

step "an S3 server, and distribution on it"
port=$(free_port)
store=http://127.0.0.1:$port
(cd "$work" && exec "$moto" -H 127.0.0.1 -p "$port" </dev/null >"$work/moto.log" 2>&1) &
stoppers+=("stop $!")
wait_for 60 curl -fsS -o /dev/null "$store/"
curl -fsS -X PUT -o /dev/null "$store/images"
peer=127.0.0.1:$(free_port)
cat >"$work/peer.yml" <<END
version: 0.1
storage:
  s3: {region: us-east-1, bucket: images, regionendpoint: "$store", forcepathstyle: true, rootdirectory: /some/where,
    accesskey: orlop, secretkey: secret, secure: false}
  delete: {enabled: true}
  redirect: {disable: true}
http: {addr: $peer}
END
env -u REGISTRY_AUTH_FILE OTEL_TRACES_EXPORTER=none distribution serve "$work/peer.yml" </dev/null >"$work/peer.log" 2>&1 &
peer_pid=$!
disown "$peer_pid"
stoppers+=("stop $peer_pid")
wait_for 20 curl -fsS "http://$peer/v2/" || fail "distribution did not come up: $(tail -n 5 "$work/peer.log")"

step "fill it"
skopeo copy -q --all --dest-tls-verify=false "oci:$work/multi:v1" "docker://$peer/team/multi:v1"
skopeo copy -q --dest-tls-verify=false --format v2s2 "oci:$work/single:v1" "docker://$peer/team/docker:v1"
crane copy "$peer/team/multi:v1" "$peer/mounted/multi:v2"
crane copy "$peer/team/docker:v1" "$peer/team/deleted:v1"
crane delete "$peer/team/deleted@$(crane digest "$peer/team/deleted:v1")"

orlop=$(orlop_bin)
url=s3://images/some/where
options=(--source-option "endpoint=$store" --source-option allow_http=true)

step "what is no such registry is refused"
refused "$orlop" import s3 --data "$work/data" "${options[@]}" s3://images 2>&1 | tee "$work/import.log"
grep -q "rootdirectory" "$work/import.log" || fail "it says something else"
refused "$orlop" import s3 --data "$work/data" "${options[@]}" s3://pictures 2>&1 | tee "$work/import.log"
grep -q "no such bucket" "$work/import.log" || fail "it says something else"

step "import while it serves, push more, and import what is new"
"$orlop" import s3 --live --data "$work/data" "${options[@]}" "$url"
crane tag "$peer/team/multi:v1" late
"$orlop" import s3 --read-only --json --data "$work/data" "${options[@]}" "$url" >"$work/report"
expect "tags that are new" 1 "$(jq .tags "$work/report")"
expect "blobs that are new" 0 "$(jq .blobs "$work/report")"
expect "broken" 0 "$(jq .broken "$work/report")"

step "serve it: the same tags with the same digests, whole"
start_registry
for reference in team/multi:{v1,late} team/docker:v1 mounted/multi:v2; do
  expect "$reference" "$(crane digest "$peer/$reference")" "$(crane digest "$registry/$reference")"
  crane validate --remote "$registry/$reference"
done
skopeo copy -q --all --src-tls-verify=false "docker://$registry/team/multi:v1" "oci:$work/back:v1"
expect "digest of the index" "$multi" "$(layout_digest "$work/back")"
check_layout "$work/back"
expect "a deleted image" 404 "$(status GET team/deleted/manifests/v1)"
stop "$registry_pid"
"$orlop" check --data "$work/data"
