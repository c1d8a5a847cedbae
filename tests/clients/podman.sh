#!/usr/bin/env bash
# podman: push, pull, run, multi-arch manifests, search.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
needs podman skopeo runc curl jq
can_mount
containers_conf
start_registry
repo=$space/box
make_layout "$work/one" v1 "$machine"
make_layout "$work/foreign" v1 "$other"

step "bring an image into podman's store"
make_archive "$work/archive.tar" "$registry/$repo:v1"
podman load -q -i "$work/archive.tar" >/dev/null
podman image inspect "$registry/$repo:v1" | jq -r '.[].Id' >"$work/id"

step "push it"
podman push -q --tls-verify=false --digestfile "$work/digest" "$registry/$repo:v1"
digest=$(digest_of "$repo" v1)
expect "digest that podman reports" "$digest" "$(cat "$work/digest")"

step "push it to a second repository, whose blobs podman knows to be in the first"
podman push -q --tls-verify=false "$registry/$repo:v1" "$registry/$space/second:v1"
expect "digest in the second repository" "$digest" "$(digest_of "$space/second" v1)"

step "remove it, pull it, run it"
podman rmi -f "$(cat "$work/id")" >/dev/null
refused podman image exists "$registry/$repo:v1"
podman pull -q --tls-verify=false "$registry/$repo:v1" >"$work/pulled"
expect "image id before and after" "$(cat "$work/id")" "$(cat "$work/pulled")"
expect_has "digest that podman recorded" "$registry/$repo@$digest" \
  "$(podman image inspect "$(cat "$work/pulled")" | jq -r '.[].RepoDigests[]')"
expect "what the container prints" "$word $machine" "$(podman run --rm "$registry/$repo:v1")"

step "run by digest, pulled when it is needed"
podman rmi -f -a >/dev/null
expect "what the container prints" "$word $machine" \
  "$(podman run -q --rm --tls-verify=false "$registry/$repo@$digest")"

step "make a manifest of two platforms and push it with its images"
podman manifest create "$registry/$repo:multi" >/dev/null
podman manifest add "$registry/$repo:multi" "oci:$work/one:v1" >/dev/null
podman manifest add "$registry/$repo:multi" "oci:$work/foreign:v1" >/dev/null
podman manifest push -q --all --tls-verify=false "$registry/$repo:multi" "docker://$registry/$repo:multi"
podman manifest inspect "$registry/$repo:multi" >"$work/multi.json"
api GET "$repo/manifests/multi" -H "$any_manifest" >"$work/served.json"
expect "platforms of the index" "amd64 arm64" \
  "$(jq -r '[.manifests[].platform.architecture] | sort | join(" ")' "$work/served.json")"
while read -r child; do
  expect "digest of an image in the index" "$child" "$(digest_of "$repo" "$child")"
done < <(jq -r '.manifests[].digest' "$work/served.json")

step "pull from the index: podman picks this machine's image, or the one it is told to"
podman manifest rm "$registry/$repo:multi" >/dev/null
podman rmi -f -a >/dev/null
podman pull -q --tls-verify=false "$registry/$repo:multi" >/dev/null
expect "what the container prints" "$word $machine" "$(podman run --rm "$registry/$repo:multi")"
podman pull -q --tls-verify=false --arch "$other" "$registry/$repo:multi" >"$work/pulled"
expect "architecture" "$other" "$(podman image inspect "$(cat "$work/pulled")" | jq -r '.[].Architecture')"

step "search the registry's catalog"
podman search --tls-verify=false --format '{{.Name}}' "$registry/$space" >"$work/search"
expect_has "found repositories" "$registry/$repo" "$(cat "$work/search")"
podman search --tls-verify=false --list-tags "$registry/$repo" >"$work/tags"
expect "tags of a repository" "multi v1" \
  "$(awk -v name="$registry/$repo" '$1 == name { print $2 }' "$work/tags" | sort | paste -sd ' ')"
