#!/usr/bin/env bash
# crane: push, pull, read, copy with mounts, tag, assemble an index, delete, validate.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
needs crane curl jq
start_registry
repo=$space/box
crane() { command crane --insecure "$@"; }
make_layout "$work/one" v1 "$machine"
make_layout "$work/multi" v1 "$machine" "$other"
one=$(layout_digest "$work/one") multi=$(layout_digest "$work/multi")

step "push an image and an index"
crane push "$work/one" "$registry/$repo:one"
crane push --index "$work/multi" "$registry/$repo:multi"
expect "digest of the image" "$one" "$(digest_of "$repo" one)"
# crane wraps a layout's index.json in the index it pushes; the image's index is in there.
expect "content of the pushed index" "$multi" \
  "$(crane manifest "$registry/$repo:multi" | jq -r '.manifests[0].digest')"
expect "digest of the inner index" "$multi" "$(digest_of "$repo" "$multi")"

step "read back: digest, manifest, tags, catalog, configuration, blob"
expect "digest" "$one" "$(crane digest "$registry/$repo:one")"
crane manifest "$registry/$repo:one" >"$work/manifest"
expect "digest of the manifest's bytes" "${one#sha256:}" "$(head -c "$(stat -c %s "$work/one/blobs/sha256/${one#sha256:}")" "$work/manifest" | sha256sum | cut -d ' ' -f 1)"
expect "tags" "multi one" "$(crane ls "$registry/$repo" | sort | paste -sd ' ')"
expect_has "catalog" "$repo" "$(crane catalog "$registry")"
expect "architecture" "$machine" "$(crane config "$registry/$repo:one" | jq -r .architecture)"
layer=$(jq -r '.layers[2].digest' "$work/manifest")
expect "word in the last layer" "$word $machine" "$(crane blob "$registry/$repo@$layer" | tar -xzO ./word)"

step "pull, as an OCI layout and as an archive"
crane pull --format oci "$registry/$repo:one" "$work/pulled"
expect "digest of the pulled image" "$one" "$(layout_digest "$work/pulled")"
check_layout "$work/pulled"
crane pull "$registry/$repo:one" "$work/pulled.tar"
crane validate --tarball "$work/pulled.tar"

step "validate what the registry holds, layers and all"
crane validate --remote "$registry/$repo:one"
crane validate --remote "$registry/$repo@$multi"

step "copy to another repository: every blob is mounted, none is uploaded again"
crane copy "$registry/$repo:one" "$registry/$space/copy:one" 2>&1 | tee "$work/copy.log"
expect "mounted blobs" 4 "$(grep -c 'mounted blob' "$work/copy.log")"
expect "uploaded blobs" 0 "$(grep -c 'pushed blob' "$work/copy.log" || true)"
expect "digest of the copy" "$one" "$(digest_of "$space/copy" one)"
crane validate --remote "$registry/$space/copy:one"

step "tag without moving content"
crane tag "$registry/$repo:one" again
expect "digest behind the new tag" "$one" "$(digest_of "$repo" again)"

step "append a layer to an image"
mkdir "$work/more"
echo more >"$work/more/more"
pack "$work/more" "$work/more.tar"
crane append -b "$registry/$repo:one" -f "$work/more.tar" -t "$registry/$repo:more"
expect "file of the new layer" more "$(crane export "$registry/$repo:more" - | tar -xO more)"

step "assemble an index of two images that are there"
foreign=$(jq -r --arg arch "$other" '.manifests[] | select(.platform.architecture == $arch).digest' "$work/multi/blobs/sha256/${multi#sha256:}")
crane index append -m "$registry/$repo@$one" -m "$registry/$repo@$foreign" -t "$registry/$repo:joined"
expect "platforms of the index" "amd64 arm64" \
  "$(crane manifest "$registry/$repo:joined" | jq -r '[.manifests[].platform.architecture] | sort | join(" ")')"
expect "image for the other platform" "$foreign" "$(crane digest --platform "linux/$other" "$registry/$repo:joined")"

step "delete by tag: other tags and the digest stay"
crane delete "$registry/$repo:again"
expect_lacks "tags" again "$(tags_of "$repo")"
expect "digest behind the first tag" "$one" "$(digest_of "$repo" one)"

step "delete by digest: its tags go with it"
crane delete "$registry/$repo@$one"
expect "the digest is gone" 404 "$(status HEAD "$repo/manifests/$one" -H "$any_manifest")"
expect "the tag is gone" 404 "$(status HEAD "$repo/manifests/one" -H "$any_manifest")"
expect_lacks "tags" one "$(tags_of "$repo")"
refused crane digest "$registry/$repo:one"
expect "the copy is untouched" "$one" "$(digest_of "$space/copy" one)"
