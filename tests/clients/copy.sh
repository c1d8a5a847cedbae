#!/usr/bin/env bash
# orlop copy, beside crane and skopeo: what it pushes they find whole, and what they push it copies byte by byte.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
needs crane oras skopeo curl jq
start_registry
repo=$space/box
crane() { command crane --insecure "$@"; }
# Servers that share an object store send clients there for what is large: a private address, which is to be named.
copying=("$(orlop_bin)" copy --redirect 127.0.0.1)
copy() { "${copying[@]}" "$@"; }
make_layout "$work/multi" v1 "$machine" "$other"
multi=$(layout_digest "$work/multi")

step "copy an index from a layout into the registry, and validate it by crane"
copy "oci:$work/multi:v1" "$registry/$repo" | tee "$work/copy.log"
expect_has "last line" "$multi" "$(tail -n 1 "$work/copy.log")"
expect "digest of the index" "$multi" "$(digest_of "$repo" v1)"
crane validate --remote "$registry/$repo:v1"

step "a second run moves nothing"
expect "first line" "0 blobs copied (0 B); 0 manifests written" "$(copy "oci:$work/multi:v1" "$registry/$repo" | head -n 1)"

step "copy to another repository: every blob is mounted"
copy "$registry/$repo:v1" "$registry/$space/other" | tee "$work/copy.log"
expect "copied blobs" "0 blobs copied (0 B), 6 mounted; 3 manifests written" "$(head -n 1 "$work/copy.log")"
crane validate --remote "$registry/$space/other:v1"

step "copy one platform, as crane sees it"
copy --platform "linux/$other" "$registry/$repo:v1" "$registry/$space/one:v1"
expect "digest of the image" "$(crane digest --platform "linux/$other" "$registry/$repo:v1")" "$(digest_of "$space/one" v1)"

step "copy back into a layout, which skopeo reads"
copy "$registry/$repo:v1" "oci:$work/back:v1"
check_layout "$work/back"
diff <(ls "$work/multi/blobs/sha256") <(ls "$work/back/blobs/sha256")
skopeo copy -q --all --dest-tls-verify=false "oci:$work/back:v1" "docker://$registry/$space/skopeo:v1"
expect "digest by skopeo" "$multi" "$(digest_of "$space/skopeo" v1)"

step "copy what refers to an image"
echo bill >"$work/bill"
(cd "$work" && oras attach --plain-http --artifact-type application/x-bill "$registry/$repo@$multi" bill)
copy --referrers "$registry/$repo:v1" "$registry/$space/signed:v1"
expect "referrers" 1 "$(oras discover --plain-http --format json "$registry/$space/signed:v1" | jq '.referrers // .manifests | length')"

if command -v docker-registry >/dev/null; then
  step "a registry without a list of referrers: what is not under their tag is listed by the next copy"
  env -u REGISTRY_AUTH_FILE SERVE=1 "$here/../peers/run" docker-registry </dev/null >"$work/peer.url" 2>"$work/peer.log" &
  stoppers+=("stop $!")
  wait_for 20 grep -q http "$work/peer.url" || fail "it did not come up: $(cat "$work/peer.log")"
  peer=$(sed 's#^http://##' "$work/peer.url")
  listed=http://$peer/v2/signed/manifests/${multi/:/-}
  index=application/vnd.oci.image.index.v1+json
  copy --referrers "$registry/$repo:v1" "$peer/signed:v1"
  whole=$(curl -fsS -H "Accept: $index" "$listed")
  expect "referrers" 1 "$(jq '.manifests | length' <<<"$whole")"
  curl -fsS -X PUT -H "Content-Type: $index" -d "{\"schemaVersion\":2,\"mediaType\":\"$index\",\"manifests\":[]}" "$listed"
  copy --referrers "$registry/$repo:v1" "$peer/signed:v1" | tee "$work/copy.log"
  expect_has "first line" "0 blobs copied (0 B), 2 there already; 1 manifest written" "$(cat "$work/copy.log")"
  expect "list" "$whole" "$(curl -fsS -H "Accept: $index" "$listed")"
fi

step "copy archives of docker save"
make_archive "$work/saved.tar" team/app:v1
copy "docker-archive:$work/saved.tar" "$registry/$space/saved:v1"
# Layers of an archive are as they were saved: crane validates compressed ones alone.
skopeo copy -q --src-tls-verify=false "docker://$registry/$space/saved:v1" "dir:$work/saved-v1"
skopeo copy -q --src-tls-verify=false "docker://$registry/$repo:v1" "docker-archive:$work/skopeo.tar:team/app:v2"
copy "docker-archive:$work/skopeo.tar:team/app:v2" "$registry/$space/saved:v2"
skopeo copy -q --src-tls-verify=false "docker://$registry/$space/saved:v2" "dir:$work/saved-v2"

step "write archives, which skopeo reads"
copy "$registry/$repo:v1" "oci-archive:$work/layout.tar"
expect "digest of the index" "$multi" "sha256:$(skopeo inspect --raw "oci-archive:$work/layout.tar:v1" | sha256sum | cut -d ' ' -f 1)"
copy --platform "linux/$machine" "$registry/$repo:v1" "docker-archive:$work/loaded.tar:team/app:v3"
skopeo copy -q "docker-archive:$work/loaded.tar:team/app:v3" "dir:$work/loaded"
copy "docker-archive:$work/loaded.tar" "$registry/$space/loaded:v1"
expect "digest of the image" "$(crane digest --platform "linux/$machine" "$registry/$repo:v1")" "$(digest_of "$space/loaded" v1)"
id=$(crane config "$registry/$space/loaded:v1" | sha256sum | cut -d ' ' -f 1)

step "draw progress on a terminal, and none where it is written to a file"
script -qec "$(printf '%q ' "${copying[@]}" "$registry/$repo:v1" "oci:$work/shown:v1")" /dev/null >"$work/terminal" </dev/null
grep -q $'\r.*MiB/s' "$work/terminal" || fail "no bar: $(cat "$work/terminal")"
expect "last line" "$multi" "$(tail -n 1 "$work/terminal" | tr -d '\r')"
copy "$registry/$repo:v1" "oci:$work/told:v1" 2>"$work/lines"
expect "lines of blobs" 6 "$(grep -c '^sha256:.* copied (' "$work/lines")"
expect "escapes" 0 "$(grep -c $'\e' "$work/lines" || true)"

if command -v podman >/dev/null; then
  step "podman loads the archive"
  can_mount
  containers_conf
  podman load -q -i "$work/loaded.tar"
  expect "identity in podman" "$id" "$(podman image inspect --format '{{.Id}}' docker.io/team/app:v3)"
fi

if command -v dockerd >/dev/null; then
  step "docker loads the archive"
  can_mount
  start_dockerd docker '{}'
  docker load -q -i "$work/loaded.tar"
  expect "identity in docker" "sha256:$id" "$(docker image inspect --format '{{.Id}}' team/app:v3)"
fi
