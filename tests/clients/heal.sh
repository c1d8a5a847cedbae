#!/usr/bin/env bash
# heal: what a disk has lost or changed is found, and pushes by docker, podman, skopeo and Orlop itself make it good while
# the registry goes on. crane and oras push nothing of an image whose manifest is there, until that is deleted.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[[ -z ${REGISTRY:-} ]] || skip "the bytes of a registry that runs already are not ours to damage"
needs dockerd docker podman skopeo crane oras runc curl jq
can_mount
containers_conf
# It scrubs only when it is told to, so that each client meets what the script has damaged.
registry_flags=(--scrub-rate 0)
start_registry
orlop() { "$(orlop_bin)" "$@"; }
crane() { command crane --insecure "$@"; }

make_layout "$work/image" v1 "$machine"
make_archive "$work/archive.tar" "$registry/podman/box:v1"
podman load -q -i "$work/archive.tar" >/dev/null
start_dockerd docker '{}'
docker load -q -i "$work/archive.tar" >/dev/null
docker tag "$registry/podman/box:v1" "$registry/docker/box:v1"

push_by_docker() { docker push "$registry/docker/box:v1"; }
push_by_podman() { podman push -q --tls-verify=false "$registry/podman/box:v1"; }
push_by_skopeo() { skopeo copy -q --dest-tls-verify=false "oci:$work/image:v1" "docker://$registry/skopeo/box:v1"; }
push_by_orlop() { orlop copy --quiet "oci:$work/image:v1" "$registry/orlop/box:v1"; }
push_by_crane() { crane push "$work/image" "$registry/crane/box:v1"; }
push_by_oras() { oras cp --to-plain-http --from-oci-layout "$work/image:v1" "$registry/oras/box:v1"; }

# blobs_of REPOSITORY: the digests of all blobs of its image.
blobs_of() { api GET "$1/manifests/v1" -H "$any_manifest" | jq -r '.config.digest, .layers[].digest'; }

# damage DIGEST HOW: whether the blob has a file of its own, which is then removed, or one bit of which flips.
damage() {
  local file byte
  file=$(orlop blob --data "$work/data" "$1" | sed -nE 's#^bytes [0-9-]+: (/.*)#\1#p')
  [[ -n $file ]] || return 1
  if [[ $2 == remove ]]; then
    rm "$file"
  else
    byte=$(od -An -tu1 -j1000 -N1 "$file")
    # shellcheck disable=SC2059 # the escape is the format
    printf "\\x$(printf %x $((byte ^ 4)))" | dd of="$file" bs=1 seek=1000 conv=notrunc status=none
  fi
}

# break_image REPOSITORY: one of its layers has a flipped bit, another is gone, and a scrub has found both. Sets `broken`.
break_image() {
  local digest how=flip
  broken=()
  for digest in $(blobs_of "$1"); do
    damage "$digest" "$how" || continue
    broken+=("$digest")
    how=remove
  done
  expect "damaged layers" 2 "${#broken[@]}"
  refused orlop scrub --data "$work/data" --json >"$work/report"
  expect "what the scrub found" "$(printf 'blob %s\n' "${broken[@]}" | sort)" "$(jq -r '.findings[].what' "$work/report" | sort)"
  orlop damaged --data "$work/data" --json >"$work/damaged"
  expect "the images that need it" "$1:v1 $1:v1" \
    "$(jq -r --arg name "$1" '[.[].needed_by[] | select(.repository == $name) | "\(.repository):\(.tags[])"] | join(" ")' "$work/damaged")"
  for digest in "${broken[@]}"; do
    expect "HEAD of what is damaged" 404 "$(status HEAD "$1/blobs/$digest")"
    expect "GET of what is damaged" 404 "$(status GET "$1/blobs/$digest")"
  done
}

# is_whole REPOSITORY: all of its bytes are as their digests, and nothing is out of use.
is_whole() {
  local digest
  for digest in $(blobs_of "$1"); do
    api GET "$1/blobs/$digest" -o "$work/blob"
    expect "bytes of $digest" "$digest" "sha256:$(sha256 "$work/blob")"
  done
  # crane expects layers to be compressed, and those of `docker save` are not.
  [[ $1 == import/docker-archive ]] || crane validate --remote "$registry/$1:v1"
  expect "what is damaged" "[]" "$(orlop damaged --data "$work/data" --json)"
  orlop check --data "$work/data"
}

for client in docker podman skopeo orlop; do
  step "$client pushes an image, the disk damages it, and the next push makes it good"
  "push_by_$client"
  digest=$(digest_of "$client/box" v1)
  break_image "$client/box"
  "push_by_$client"
  is_whole "$client/box"
  expect "digest after the second push" "$digest" "$(digest_of "$client/box" v1)"
done

for client in crane oras; do
  step "$client pushes it again once its manifest is deleted"
  "push_by_$client"
  digest=$(digest_of "$client/box" v1)
  break_image "$client/box"
  expect "delete" 202 "$(status DELETE "$client/box/manifests/$digest")"
  "push_by_$client"
  is_whole "$client/box"
  expect "digest after the second push" "$digest" "$(digest_of "$client/box" v1)"
done

step "a push to another repository heals them all"
break_image skopeo/box
skopeo copy -q --dest-tls-verify=false "oci:$work/image:v1" "docker://$registry/elsewhere:v1"
is_whole skopeo/box
is_whole orlop/box
docker rmi -f "$registry/docker/box:v1" "$registry/podman/box:v1" >/dev/null
docker pull -q "$registry/docker/box:v1"
expect "what the container prints" "$word $machine" \
  "$(docker run --rm --network=none --log-driver=none "$registry/docker/box:v1" </dev/null)"

step "it was one process all the time"
alive "$registry_pid" || fail "the registry has ended"

# An import takes the place of the server.
import_oci() { orlop import oci "$work/image" --repository import/oci --data "$work/data"; }
import_docker-archive() { orlop import docker-archive "$work/archive.tar" --repository import/docker-archive --data "$work/data"; }
import() {
  stop "$registry_pid"
  "import_$1"
  start_registry
}
for kind in oci docker-archive; do
  step "orlop import $kind, and the next one makes good what the disk has damaged"
  import "$kind"
  break_image "import/$kind"
  import "$kind"
  is_whole "import/$kind"
done
