#!/usr/bin/env bash
# buildah: build from scratch without a daemon, push, push a multi-arch manifest, pull as a base.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
needs buildah skopeo curl jq
can_mount
containers_conf
start_registry
repo=$space/built

step "build from scratch, with a command that runs during the build"
mkdir "$work/context"
cp "$(command -v busybox)" "$work/context/busybox"
cat >"$work/context/Containerfile" <<END
FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "sh", "-c", "/bin/busybox echo $word built > /word"]
CMD ["/bin/busybox", "cat", "/word"]
END
build() { buildah bud -q --isolation chroot --tls-verify=false "$@"; }
build -t "$registry/$repo:v1" "$work/context" >"$work/id"

step "push it"
buildah push -q --tls-verify=false --digestfile "$work/digest" "$registry/$repo:v1"
digest=$(digest_of "$repo" v1)
expect "digest that buildah reports" "$digest" "$(cat "$work/digest")"
api GET "$repo/manifests/v1" -H "$any_manifest" >"$work/manifest"
last=$(jq -r '.layers[-1].digest' "$work/manifest")
expect "word in the last layer" "$word built" "$(api GET "$repo/blobs/$last" | tar -xzO word)"

step "push it in Docker's format to another repository"
buildah push -q --tls-verify=false --format v2s2 "$registry/$repo:v1" "docker://$registry/$space/docker:v1"
expect "media type as pushed" application/vnd.docker.distribution.manifest.v2+json \
  "$(api GET "$space/docker/manifests/v1" -H "$any_manifest" -o /dev/null -w '%{content_type}')"
digest_of "$space/docker" v1 >/dev/null

step "build on top of what was pushed, pulled anew"
buildah rmi -a -f >/dev/null
cat >"$work/context/Containerfile" <<END
FROM $registry/$repo:v1
RUN ["/bin/busybox", "sh", "-c", "/bin/busybox sed s/built/rebuilt/ /word > /again"]
END
build -t "$registry/$repo:v2" "$work/context" >/dev/null
buildah push -q --tls-verify=false "$registry/$repo:v2"
container=$(buildah from --pull-never "$registry/$repo:v2")
expect "word of the new image" "$word rebuilt" \
  "$(buildah run --isolation chroot "$container" /bin/busybox cat /again)"
buildah rm "$container" >/dev/null
expect "layers that both images share" "$(jq -c '[.layers[].digest]' "$work/manifest")" \
  "$(api GET "$repo/manifests/v2" -H "$any_manifest" | jq -c '[.layers[:-1][].digest]')"

step "build for two platforms and push the manifest with its images"
cat >"$work/context/Containerfile" <<END
FROM scratch
ARG TARGETARCH
COPY busybox /bin/busybox-\$TARGETARCH
END
for arch in "$machine" "$other"; do
  build --platform "linux/$arch" --manifest "$registry/$repo:multi" "$work/context" >/dev/null
done
buildah manifest push -q --all --tls-verify=false "$registry/$repo:multi" "docker://$registry/$repo:multi" >/dev/null
api GET "$repo/manifests/multi" -H "$any_manifest" >"$work/served.json"
expect "platforms of the index" "amd64 arm64" \
  "$(jq -r '[.manifests[].platform.architecture] | sort | join(" ")' "$work/served.json")"
skopeo copy -q --all --src-tls-verify=false "docker://$registry/$repo:multi" "oci:$work/back:multi"
check_layout "$work/back"
expect "digest of the index" "$(digest_of "$repo" multi)" "$(layout_digest "$work/back")"
