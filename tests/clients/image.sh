#!/usr/bin/env bash
# image: Orlop as a container image, made of its static binary and pushed to itself by skopeo; podman runs it, and it takes
# a push.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
static=${ORLOP_STATIC:-$root/target/$(uname -m)-unknown-linux-musl/release/orlop}
[[ -x $static ]] || skip "there is no static binary: host-native/debian/build --musl makes one"
needs podman skopeo runc curl jq
can_mount
containers_conf
start_registry
make_layout "$work/box" v1 "$machine"

step "make the image and push it"
"$root/host-native/debian/image" "$work/orlop.tar" "$machine=$static" >"$work/digest"
skopeo copy -q --all --dest-tls-verify=false "oci-archive:$work/orlop.tar" "docker://$registry/$space/orlop:v1"
expect "digest" "$(cat "$work/digest")" "$(digest_of "$space/orlop" v1)"

step "run it: it refuses to be open to all by accident"
podman pull -q --tls-verify=false "$registry/$space/orlop:v1"
refused podman run --rm "$registry/$space/orlop:v1" 2>"$work/refusal"
grep -q -- --open "$work/refusal"

step "run it on this machine, and push to it"
podman run --rm --name "$space" -e ORLOP_ADDR=127.0.0.1:0 "$registry/$space/orlop:v1" </dev/null >"$work/inner.log" 2>&1 &
stoppers+=("podman stop -t 5 $space >/dev/null 2>&1")
inner() { sed -nE 's#.*listening on http://(127\.0\.0\.1:[0-9]+).*#\1#p' "$work/inner.log" | grep .; }
wait_for 30 inner || fail "it did not come up: $(cat "$work/inner.log")"
skopeo copy -q --dest-tls-verify=false "oci:$work/box:v1" "docker://$(inner)/box:v1"
expect "digest" "$(layout_digest "$work/box")" \
  "$(skopeo inspect --tls-verify=false --format '{{.Digest}}' "docker://$(inner)/box:v1")"
