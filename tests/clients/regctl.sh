#!/usr/bin/env bash
# regctl: image copies, blobs of unknown size in chunks, tags, artifacts and their referrers.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
needs regctl curl jq
start_registry
repo=$space/box
regctl() { command regctl --host "reg=$registry,tls=disabled" "$@"; }
make_layout "$work/multi" v1 "$machine" "$other"
digest=$(layout_digest "$work/multi")

step "copy an index from a layout to the registry and back"
regctl image copy "ocidir://$work/multi:v1" "$registry/$repo:v1"
expect "digest of the pushed index" "$digest" "$(digest_of "$repo" v1)"
expect "digest that regctl reports" "$digest" "$(regctl image digest "$registry/$repo:v1")"
regctl image copy "$registry/$repo:v1" "ocidir://$work/back:v1"
expect "digest of the pulled index" "$digest" "$(layout_digest "$work/back")"
check_layout "$work/back"
expect "blobs of the pulled index" "$(ls "$work/multi/blobs/sha256")" "$(ls "$work/back/blobs/sha256")"

step "copy to another repository, where regctl mounts the blobs"
regctl image copy "$registry/$repo:v1" "$registry/$space/copy:v1"
expect "digest of the copy" "$digest" "$(digest_of "$space/copy" v1)"

step "inspect the configuration and export the image for this machine"
expect "architecture" "$machine" "$(regctl image inspect -p "linux/$machine" "$registry/$repo:v1" | jq -r .architecture)"
expect "word in the image" "$word $machine" \
  "$(regctl image get-file -p "linux/$machine" "$registry/$repo:v1" /word)"
regctl image export -p "linux/$machine" "$registry/$repo:v1" "$work/export.tar"
mkdir "$work/export"
tar -C "$work/export" -xf "$work/export.tar"
check_layout "$work/export"

step "put a blob of unknown size, which regctl sends in chunks"
head -c 3500000 /dev/urandom >"$work/blob"
blob=sha256:$(sha256 "$work/blob")
# Through a pipe, so that its size cannot be asked for.
# shellcheck disable=SC2002
expect "digest of the blob" "$blob" "$(cat "$work/blob" | regctl blob put "$registry/$repo")"
regctl blob get "$registry/$repo" "$blob" | cmp - "$work/blob"
expect "size by HEAD" 3500000 "$(regctl blob head "$registry/$repo" "$blob" | tr -d '\r' | sed -nE 's/^content-length: //Ip')"

step "delete that blob"
regctl blob delete "$registry/$repo" "$blob"
expect "the blob is gone" 404 "$(status HEAD "$repo/blobs/$blob")"

step "attach artifacts to the index and list its referrers"
echo '{"bill": "of materials"}' >"$work/sbom.json"
echo signed >"$work/signature"
regctl artifact put --artifact-type application/vnd.example.sbom --subject "$registry/$repo:v1" \
  --annotation org.example.kind=sbom --file-media-type application/json -f "$work/sbom.json"
regctl artifact put --artifact-type application/vnd.example.signature --subject "$registry/$repo:v1" -f "$work/signature"
regctl artifact list --format '{{json .}}' "$registry/$repo:v1" >"$work/referrers.json"
expect "kinds of the referrers" "application/vnd.example.sbom application/vnd.example.signature" \
  "$(jq -r '[.descriptors[].artifactType] | sort | join(" ")' "$work/referrers.json")"
expect "annotation of the referrer" sbom \
  "$(jq -r '.descriptors[].annotations["org.example.kind"] // empty' "$work/referrers.json")"
regctl artifact list --filter-artifact-type application/vnd.example.sbom --format '{{json .}}' \
  "$registry/$repo:v1" >"$work/filtered.json"
expect "filtered referrers" application/vnd.example.sbom "$(jq -r '.descriptors[].artifactType' "$work/filtered.json")"
sbom=$(jq -r '.descriptors[0].digest' "$work/filtered.json")
regctl artifact get "$registry/$repo@$sbom" | cmp - "$work/sbom.json"
expect "tags, with no fallback tag among them" v1 "$(regctl tag ls "$registry/$repo")"

step "copy an image together with its referrers"
regctl image copy --referrers "$registry/$repo:v1" "$registry/$space/signed:v1"
expect "referrers in the copy" 2 \
  "$(regctl artifact list --format '{{len .Descriptors}}' "$registry/$space/signed:v1")"

step "list repositories and tags"
regctl image copy "$registry/$repo:v1" "$registry/$repo:v2"
expect "tags" "v1 v2" "$(regctl tag ls "$registry/$repo" | sort | paste -sd ' ')"
expect_has "catalog" "$repo" "$(regctl repo ls "$registry")"

step "delete a tag: the other one and the digest stay"
regctl tag delete "$registry/$repo:v2"
expect "tags" v1 "$(regctl tag ls "$registry/$repo")"
expect "digest behind the other tag" "$digest" "$(digest_of "$repo" v1)"

step "delete a manifest by digest, referrer first"
regctl manifest delete "$registry/$repo@$sbom"
expect "referrers left" 1 "$(regctl artifact list --format '{{len .Descriptors}}' "$registry/$repo:v1")"
regctl manifest delete "$registry/$repo@$digest"
expect "the digest is gone" 404 "$(status GET "$repo/manifests/$digest" -H "$any_manifest")"
expect "no tag is left" "" "$(tags_of "$repo")"
