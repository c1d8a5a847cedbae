#!/usr/bin/env bash
# orlop copy, beside crane and skopeo: what it pushes they find whole, and what they push it copies byte by byte.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
needs crane oras skopeo curl jq
start_registry
repo=$space/box
crane() { command crane --insecure "$@"; }
copy() { "$(orlop_bin)" copy "$@"; }
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

step "copy archives of docker save"
make_archive "$work/saved.tar" team/app:v1
copy "docker-archive:$work/saved.tar" "$registry/$space/saved:v1"
crane validate --remote "$registry/$space/saved:v1"
skopeo copy -q --src-tls-verify=false "docker://$registry/$repo:v1" "docker-archive:$work/skopeo.tar:team/app:v2"
copy "docker-archive:$work/skopeo.tar:team/app:v2" "$registry/$space/saved:v2"
crane validate --remote "$registry/$space/saved:v2"
