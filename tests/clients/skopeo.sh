#!/usr/bin/env bash
# skopeo: whole indexes there and back, other compressions and formats, lists, deletion, sync.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
needs skopeo curl jq
start_registry
repo=$space/box
make_layout "$work/multi" v1 "$machine" "$other"
digest=$(layout_digest "$work/multi")

step "copy an index with all its images to the registry"
skopeo copy -q --all --dest-tls-verify=false "oci:$work/multi:v1" "docker://$registry/$repo:v1"
expect "digest of the pushed index" "$digest" "$(digest_of "$repo" v1)"

step "copy it back: same digests, same bytes"
skopeo copy -q --all --src-tls-verify=false "docker://$registry/$repo:v1" "oci:$work/back:v1"
expect "digest of the pulled index" "$digest" "$(layout_digest "$work/back")"
check_layout "$work/back"
diff <(ls "$work/multi/blobs/sha256") <(ls "$work/back/blobs/sha256")

step "copy it to a second repository, where its blobs can be mounted"
skopeo copy -q --all --src-tls-verify=false --dest-tls-verify=false \
  "docker://$registry/$repo:v1" "docker://$registry/$space/other:v1"
expect "digest in the second repository" "$digest" "$(digest_of "$space/other" v1)"

step "inspect by tag and by digest"
skopeo inspect --tls-verify=false --raw "docker://$registry/$repo:v1" >"$work/raw"
expect "digest of the raw index" "$digest" "sha256:$(sha256 "$work/raw")"
skopeo inspect --tls-verify=false "docker://$registry/$repo@$digest" >"$work/inspect"
expect "digest that skopeo reports" "$digest" "$(jq -r .Digest "$work/inspect")"
expect "architecture that skopeo picks" "$machine" "$(jq -r .Architecture "$work/inspect")"
expect "layers of the image" 3 "$(jq '.Layers | length' "$work/inspect")"

step "compress new layers with zstd on the way"
# skopeo rather uses a gzip layer that the registry has, so this image needs one it has never seen.
rm -r "$work/layers"
make_layout "$work/fresh" v1 "$machine"
skopeo copy -q --dest-compress --dest-compress-format zstd --dest-tls-verify=false \
  "oci:$work/fresh:v1" "docker://$registry/$repo:zstd"
api GET "$repo/manifests/zstd" -H "$any_manifest" >"$work/zstd.json"
expect "kind of the new layer" application/vnd.oci.image.layer.v1.tar+zstd "$(jq -r '.layers[1].mediaType' "$work/zstd.json")"
layer=$(jq -r '.layers[1].digest' "$work/zstd.json")
api GET "$repo/blobs/$layer" -o "$work/layer"
expect "digest of the new layer" "$layer" "sha256:$(sha256 "$work/layer")"
expect "magic number of zstd" 28b52ffd "$(od -An -tx1 -N4 "$work/layer" | tr -d ' ')"

step "convert to Docker's schema 2"
skopeo copy -q --format v2s2 --dest-tls-verify=false "oci:$work/multi:v1" "docker://$registry/$repo:docker"
expect "media type as pushed" application/vnd.docker.distribution.manifest.v2+json \
  "$(api GET "$repo/manifests/docker" -H "$any_manifest" -o "$work/body" -w '%{content_type}')"
digest_of "$repo" docker >/dev/null
skopeo copy -q --src-tls-verify=false "docker://$registry/$repo:docker" "dir:$work/docker"
expect "manifest as pulled" "$(sha256 "$work/body")" "$(sha256 "$work/docker/manifest.json")"

step "convert the whole index to a Docker manifest list"
skopeo copy -q --all --format v2s2 --dest-tls-verify=false "oci:$work/multi:v1" "docker://$registry/$repo:list"
expect "media type as pushed" application/vnd.docker.distribution.manifest.list.v2+json \
  "$(api GET "$repo/manifests/list" -H "$any_manifest" -o /dev/null -w '%{content_type}')"

step "list the tags"
expect "tags" "docker list v1 zstd" \
  "$(skopeo list-tags --tls-verify=false "docker://$registry/$repo" | jq -r '.Tags | sort | join(" ")')"

step "sync a repository into a folder, and that folder into the registry"
skopeo sync --all --src docker --dest dir --src-tls-verify=false "$registry/$repo" "$work/sync"
expect "synced images" 4 "$(find "$work/sync" -name manifest.json | wc -l)"
skopeo sync --all --src dir --dest docker --dest-tls-verify=false "$work/sync" "$registry/$space/synced"
expect "tags of the synced repository" "docker list v1 zstd" "$(tags_of "$space/synced/box" | sort | paste -sd ' ')"
expect "digest of the synced index" "$digest" "$(digest_of "$space/synced/box" v1)"

step "delete, by which skopeo means the digest behind the tag"
skopeo delete --tls-verify=false "docker://$registry/$repo:v1"
expect "the digest is gone" 404 "$(status GET "$repo/manifests/$digest" -H "$any_manifest")"
expect "the tag is gone" 404 "$(status GET "$repo/manifests/v1" -H "$any_manifest")"
expect_lacks "tags after the deletion" v1 "$(tags_of "$repo")"
expect "the second repository keeps its image" "$digest" "$(digest_of "$space/other" v1)"
