#!/usr/bin/env bash
# A chunked upload survives the registry being killed: what was acknowledged is there after the
# restart, and the client goes on from that byte. Written with curl, since no client shows it whole.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
needs curl jq
[[ -z ${REGISTRY:-} ]] || skip "a registry that runs already (REGISTRY) is not ours to kill"
start_registry
repo=$space/resumed
chunk=1000000 total=3500000
head -c "$total" /dev/urandom >"$work/blob"
blob=sha256:$(sha256 "$work/blob")

piece() { dd if="$work/blob" iflag=skip_bytes,count_bytes skip="$1" count="$2" status=none; }

# The session's address may come absolute or relative; after a restart the port is another one.
session() {
  local location
  location=$(header location)
  echo "/${location#http://*/}" | sed 's#^//#/#'
}

header() { tr -d '\r' <"$work/head" | sed -nE "s/^$1: //Ip" | tail -n 1; }

# call METHOD PATH [CURL ARGUMENT...]: prints the status, keeps the head of the answer.
call() {
  local method=$1 path=$2
  shift 2
  curl -sS -X "$method" -D "$work/head" -o "$work/answer" -w '%{http_code}' "$@" "http://$registry$path"
}

# patch FIRST LENGTH: sends one chunk, and says in the request where it belongs.
patch() {
  piece "$1" "$2" >"$work/piece"
  call PATCH "$upload" -H 'Content-Type: application/octet-stream' \
    -H "Content-Range: $1-$(($1 + $2 - 1))" --data-binary "@$work/piece"
}

received() { echo "0-$(($1 - 1))"; }

step "open a session and send two chunks"
expect "status" 202 "$(call POST "/v2/$repo/blobs/uploads/")"
upload=$(session)
for offset in 0 "$chunk"; do
  expect "status of the chunk at $offset" 202 "$(patch "$offset" "$chunk")"
  expect "acknowledged range" "$(received $((offset + chunk)))" "$(header range)"
  upload=$(session)
done

step "a chunk that leaves a gap, and one that comes twice, are refused and change nothing"
expect "status of a chunk too far" 416 "$(patch $((3 * chunk)) 500000)"
expect "status of a chunk sent twice" 416 "$(patch "$chunk" "$chunk")"
expect "status of the session" 204 "$(call GET "$upload")"
expect "range of the session" "$(received $((2 * chunk)))" "$(header range)"
upload=$(session)

step "kill the registry, start it on the same data"
stop "$registry_pid" KILL
start_registry
expect "status of the session" 204 "$(call GET "$upload")"
expect "range of the session" "$(received $((2 * chunk)))" "$(header range)"
upload=$(session)

step "kill it in the middle of a chunk: it keeps a part of that chunk, or none"
# The third chunk is on its way at 200 kB/s when the registry dies, so curl must fail.
piece $((2 * chunk)) "$chunk" >"$work/piece"
curl -sS -X PATCH --limit-rate 200k -H 'Expect:' -H 'Content-Type: application/octet-stream' \
  -H "Content-Range: $((2 * chunk))-$((3 * chunk - 1))" --data-binary "@$work/piece" \
  -o /dev/null "http://$registry$upload" &
sender=$!
sleep 1.5
alive "$sender" || fail "the slow chunk was answered before all of it was sent"
stop "$registry_pid" KILL
refused wait "$sender"
start_registry
expect "status of the session" 204 "$(call GET "$upload")"
range=$(header range)
offset=$((${range#0-} + 1))
((offset >= 2 * chunk && offset < 3 * chunk)) ||
  fail "range of the session: expected two chunks and a part of the third, got '$range'"
echo "the registry kept $((offset - 2 * chunk)) bytes of the chunk it was killed in"
upload=$(session)

step "go on from where the registry is, and finish"
expect "status of the next chunk" 202 "$(patch "$offset" "$((3 * chunk - offset))")"
expect "acknowledged range" "$(received $((3 * chunk)))" "$(header range)"
upload=$(session)
piece $((3 * chunk)) $((total - 3 * chunk)) >"$work/piece"
[[ $upload == *\?* ]] && finish="$upload&digest=$blob" || finish="$upload?digest=$blob"
expect "status of the last chunk" 201 "$(call PUT "$finish" -H 'Content-Type: application/octet-stream' \
  -H "Content-Range: $((3 * chunk))-$((total - 1))" --data-binary "@$work/piece")"
expect "digest in the answer" "$blob" "$(header docker-content-digest)"
expect "status of the finished session" 404 "$(call GET "$upload")"

step "the blob is whole, now and after another kill"
api GET "$repo/blobs/$blob" | cmp - "$work/blob"
stop "$registry_pid" KILL
start_registry
api GET "$repo/blobs/$blob" | cmp - "$work/blob"
