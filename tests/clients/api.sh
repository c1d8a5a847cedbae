#!/usr/bin/env bash
# The API for people: what an image is told with, and its description (host-native/api/openapi.yaml), which schemathesis
# makes requests up from and holds all answers against.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
needs schemathesis skopeo curl jq
start_registry
make_layout "$work/one" v1 "$machine"
make_layout "$work/multi" v1 "$machine" "$other"
for repository in team/app box; do
  skopeo copy --dest-tls-verify=false "oci:$work/one:v1" "docker://$registry/$repository:v1"
  skopeo copy --all --dest-tls-verify=false "oci:$work/multi:v1" "docker://$registry/$repository:v1.10"
  skopeo copy --src-tls-verify=false --dest-tls-verify=false "docker://$registry/$repository:v1" "docker://$registry/$repository:v1.9"
done
# told PATH [FILTER]: what the API says there.
told() { curl -sSf "$url/api/v1/$1" | jq -r "${2:-.}"; }
url=http://$registry

step "repositories, folders, tags and an image"
expect "repositories" "box team/app" "$(told repositories '[.repositories[].name] | join(" ")')"
expect "folders" "repository box folder team" "$(told folders '[.entries[] | .kind, .name] | join(" ")')"
expect "tags" "v1 v1.9 v1.10" "$(told repositories/team/app/tags '[.tags[].name] | join(" ")')"
expect "platforms" "linux/amd64 linux/arm64" \
  "$(told 'repositories/team/app/tags?q=v1.10' '[.tags[0].platforms[].platform] | sort | join(" ")')"
expect "digest" "$(layout_digest "$work/one")" "$(told repositories/team/app/images/v1 .digest)"
expect "architecture" "$machine" "$(told repositories/team/app/images/v1 .config.architecture)"
expect "found" "box:v1.9 team/app:v1.9" "$(told 'search?q=1.9' '[.results[] | .repository + ":" + .tag] | join(" ")')"

step "its description, as the server gives it"
curl -sSf "$url/api/v1/openapi.yaml" | cmp - "$root/host-native/api/openapi.yaml"

step "requests made up from the description: the answers are as it says, and none is a 5xx"
# It leaves a folder of its own where it runs.
cd "$work"
schemathesis run "$root/host-native/api/openapi.yaml" --url "$url/api/v1" --seed "${SEED:-$RANDOM}" --max-examples 50 \
  --no-color --exclude-checks ignored_auth --exclude-operation-id emptyRepository

step "delete a repository"
deleted=$(curl -sSf -X DELETE "$url/api/v1/repositories/box/contents")
expect "deleted" "3 false" "$(jq -r '"\(.tagsDeleted) \(.more)"' <<<"$deleted")"
expect "tags" "" "$(told repositories/box/tags '[.tags[].name] | join(" ")')"
schemathesis run "$root/host-native/api/openapi.yaml" --url "$url/api/v1" --seed "${SEED:-$RANDOM}" --max-examples 50 \
  --no-color --exclude-checks ignored_auth --include-operation-id emptyRepository

step "the same by an administrator, whose endpoints do something"
stop "$registry_pid"
"$(orlop_bin)" user add root --auth-htpasswd "$work/users" <<<root-secret
registry_flags=(--auth-htpasswd "$work/users" --administrators user:root)
access=(--user root:root-secret)
start_registry
schemathesis run "$root/host-native/api/openapi.yaml" --url "http://$registry/api/v1" --seed "${SEED:-$RANDOM}" \
  --max-examples 30 --no-color --exclude-checks ignored_auth --exclude-operation-id emptyRepository --auth root:root-secret
