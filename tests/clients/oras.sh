#!/usr/bin/env bash
# oras: artifacts of any kind, attached ones through the referrers API, recursive copies, indexes, blobs.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
needs oras curl jq
start_registry
repo=$space/cargo
cd "$work"
head -c 2000000 /dev/urandom >crate
echo "$word" >note.txt

step "push files as an artifact"
oras push --plain-http --format json --artifact-type application/vnd.example.cargo \
  --annotation org.example.kind=cargo "$registry/$repo:v1,v2" crate:application/x-crate note.txt:text/plain >push.json
digest=$(digest_of "$repo" v1)
expect "digest that oras reports" "$digest" "$(jq -r .digest push.json)"
expect "digest of the second tag" "$digest" "$(digest_of "$repo" v2)"
expect "digest by resolve" "$digest" "$(oras resolve --plain-http "$registry/$repo:v1")"

step "pull them and compare"
mkdir pulled
oras pull --plain-http -o pulled "$registry/$repo:v1" >/dev/null
cmp crate pulled/crate
cmp note.txt pulled/note.txt
oras manifest fetch --plain-http "$registry/$repo@$digest" >fetched.json
expect "digest of the fetched manifest" "$digest" "sha256:$(sha256 fetched.json)"
expect "kind of the artifact" application/vnd.example.cargo "$(jq -r .artifactType fetched.json)"

step "attach two artifacts, and one of them to the other"
echo '{"bill": "of materials"}' >sbom.json
oras attach --plain-http --format json --artifact-type application/vnd.example.sbom \
  --annotation org.example.tool=hand "$registry/$repo:v1" sbom.json:application/json >sbom.out
oras attach --plain-http --artifact-type application/vnd.example.signature "$registry/$repo:v1" note.txt >/dev/null
sbom=$(jq -r '.digest // (.reference | split("@")[1])' sbom.out)
oras attach --plain-http --artifact-type application/vnd.example.signature "$registry/$repo@$sbom" note.txt >/dev/null

step "discover them through the referrers API: no fallback tag was made"
api GET "$repo/referrers/$digest" >referrers.json
expect "kinds of the referrers" "application/vnd.example.sbom application/vnd.example.signature" \
  "$(jq -r '[.manifests[].artifactType] | sort | join(" ")' referrers.json)"
expect "annotation of the referrer" hand \
  "$(jq -r --arg digest "$sbom" '.manifests[] | select(.digest == $digest).annotations["org.example.tool"]' referrers.json)"
oras discover --plain-http --format tree "$registry/$repo:v1" | tee tree
for kind in sbom signature; do
  grep -q "application/vnd.example.$kind" tree
done
oras discover --plain-http --format json --artifact-type application/vnd.example.sbom "$registry/$repo:v1" >found.json
expect "filtered referrer" "$sbom" "$(jq -r '(.referrers // .manifests)[].digest' found.json)"
expect "tags" "v1 v2" "$(tags_of "$repo" | sort | paste -sd ' ')"

step "copy the artifact with all that is attached to it"
oras cp --from-plain-http --to-plain-http -r "$registry/$repo:v1" "$registry/$space/copy:v1" >/dev/null
expect "digest of the copy" "$digest" "$(digest_of "$space/copy" v1)"
expect "referrers of the copy" 2 "$(api GET "$space/copy/referrers/$digest" | jq '.manifests | length')"
expect "referrers of the copied referrer" 1 "$(api GET "$space/copy/referrers/$sbom" | jq '.manifests | length')"
expect "tags of the copy" v1 "$(tags_of "$space/copy")"

oras push --plain-http "$registry/$repo:other" note.txt:text/plain >/dev/null
if oras manifest --help | grep -qE '^ +index '; then
  step "join two artifacts in an index"
  oras manifest index create --plain-http "$registry/$repo:joined" v1 other >/dev/null
  expect "manifests of the index" "$(printf '%s\n' "$digest" "$(digest_of "$repo" other)" | sort)" \
    "$(oras manifest fetch --plain-http "$registry/$repo:joined" | jq -r '.manifests[].digest' | sort)"
  oras manifest delete --plain-http --force "$registry/$repo:joined" >/dev/null
else
  step "(this oras cannot make an index: that came with 1.3)"
fi

step "push a blob, fetch it, delete it"
blob=sha256:$(sha256 crate)
oras blob push --plain-http "$registry/$space/blobs" crate >/dev/null
oras blob fetch --plain-http -o fetched "$registry/$space/blobs@$blob" >/dev/null
cmp crate fetched
oras blob delete --plain-http --force "$registry/$space/blobs@$blob" >/dev/null
expect "the blob is gone" 404 "$(status HEAD "$space/blobs/blobs/$blob")"
expect "the artifact's own blob stays" 200 "$(status HEAD "$repo/blobs/$blob")"

step "list repositories and tags"
expect_has "repositories" "$repo" "$(oras repo ls --plain-http "$registry")"
expect "tags" "other v1 v2" "$(oras repo tags --plain-http "$registry/$repo" | sort | paste -sd ' ')"

step "delete a referrer, then the artifact"
oras manifest delete --plain-http --force "$registry/$repo@$sbom" >/dev/null
expect "referrers left" application/vnd.example.signature "$(api GET "$repo/referrers/$digest" | jq -r '.manifests[].artifactType')"
oras manifest delete --plain-http --force "$registry/$repo@$digest" >/dev/null
expect "the digest is gone" 404 "$(status GET "$repo/manifests/$digest" -H "$any_manifest")"
expect "tags left" other "$(tags_of "$repo" | sort | paste -sd ' ')"
