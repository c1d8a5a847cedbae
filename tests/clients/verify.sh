#!/usr/bin/env bash
# verify: clients log in to a mirror with their passwords of the upstream, which says who may see what (verify = "caller").
# One upstream asks for passwords, another one for tokens of a token server.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[[ -z ${REGISTRY:-} ]] || skip "the settings of a registry that runs already are not ours to choose"
needs dockerd docker podman skopeo crane curl jq
can_mount
containers_conf
orlop=$(orlop_bin)
kinds=(basic token)

step "start upstreams: alice may pull everything, bob what is team's"
for user in alice bob; do
  "$orlop" user add "$user" --auth-htpasswd "$work/users" <<<"$user-secret"
done
declare -A upstream at # where each listens, and the address of its mirror
for kind in "${kinds[@]}"; do
  upstream[$kind]=127.0.0.1:$(free_port)
  at[$kind]=127.0.0.1:$(free_port)
  cat >"$work/$kind.toml" <<END
auth-htpasswd = "$work/users"
$([[ $kind != token ]] || echo "auth-token-url = \"http://${upstream[$kind]}/token\"")
[[rule]]
who = ["user:alice"]
allow = ["all"]
repositories = ["**"]
[[rule]]
who = ["user:bob"]
allow = ["pull"]
repositories = ["team/**"]
END
  NO_COLOR=1 "$orlop" serve --addr "${upstream[$kind]}" --data "$work/$kind" --config "$work/$kind.toml" \
    </dev/null >"$work/$kind.log" 2>&1 &
  disown $!
  stoppers+=("stop $!")
  cat >>"$work/orlop.toml" <<END
[[mirror]]
prefix = "$kind/"
upstream = "http://${upstream[$kind]}"
addr = "${at[$kind]}"
verify = "caller"
END
done
make_layout "$work/image" v1 "$machine"
make_layout "$work/other" v1 "$other"
digest=$(layout_digest "$work/image")
for kind in "${kinds[@]}"; do
  wait_for 20 curl -sS "http://${upstream[$kind]}/v2/" || fail "no upstream: $(tail -n 3 "$work/$kind.log")"
  for name in team/box own/box; do
    skopeo copy -q --dest-tls-verify=false --dest-creds alice:alice-secret "oci:$work/image:v1" \
      "docker://${upstream[$kind]}/$name:v1"
  done
  skopeo copy -q --dest-tls-verify=false --dest-creds alice:alice-secret "oci:$work/other:v1" \
    "docker://${upstream[$kind]}/own/other:v1"
done
registry_flags=(--config "$work/orlop.toml")
start_registry
start_dockerd docker '{}'

# asked KIND WORDS: how often the upstream was asked something, by its log.
asked() { grep -c "$2" "$work/$1.log" || true; }

# told KIND USER PATH: all that a user is told of a path, but for its name and the time.
told() {
  curl -sS -i -u "$2:$2-secret" -H "$any_manifest" "http://${at[$1]}/v2/$3" | tr -d '\r' |
    grep -viE '^(date|x-request-id|content-length):' | sed -E "s#own/(other|box|absent)#own/NAME#g; s#sha256:[0-9a-f]{64}#DIGEST#g"
}

for kind in "${kinds[@]}"; do
  mirror=${at[$kind]}
  before=$(told "$kind" bob own/box/manifests/v1)

  step "$kind: alice pulls with skopeo, and again"
  for time in first second; do
    rm -rf "$work/pulled"
    skopeo copy -q --src-tls-verify=false --src-creds alice:alice-secret "docker://$mirror/own/box:v1" "oci:$work/pulled:v1"
    expect "digest, the $time time" "$digest" "$(layout_digest "$work/pulled")"
    check_layout "$work/pulled"
    blobs=$(asked "$kind" 'user="alice" operation="pull-blob" method="GET"')
    [[ $time == first ]] || expect "blobs that the upstream was asked for, in all" "$fetched" "$blobs"
    fetched=$blobs
  done
  ((fetched > 0)) || fail "the upstream was asked for no blob by alice: $(tail -n 5 "$work/$kind.log")"

  step "$kind: alice pulls with crane, podman and docker"
  command crane --insecure auth login -u alice -p alice-secret "$mirror" 2>/dev/null
  expect "digest" "$digest" "$(command crane --insecure digest "$mirror/own/box:v1")"
  command crane --insecure validate --remote "$mirror/own/box:v1"
  command crane auth logout "$mirror" 2>/dev/null
  podman login --tls-verify=false -u alice --password-stdin "$mirror" <<<alice-secret >/dev/null
  podman pull -q --tls-verify=false "$mirror/own/box:v1" >/dev/null
  podman logout "$mirror" >/dev/null
  docker login -u alice --password-stdin "$mirror" <<<alice-secret >/dev/null 2>&1
  docker pull -q "$mirror/own/box:v1" >/dev/null
  docker logout "$mirror" >/dev/null
  docker rmi -f "$mirror/own/box:v1" >/dev/null

  step "$kind: bob pulls what is team's, and nothing else"
  podman login --tls-verify=false -u bob --password-stdin "$mirror" <<<bob-secret >/dev/null
  podman pull -q --tls-verify=false "$mirror/team/box:v1" >/dev/null
  podman rmi -f -a >/dev/null
  refused podman pull -q --tls-verify=false "$mirror/own/box:v1" 2>"$work/refusal"
  podman logout "$mirror" >/dev/null
  docker login -u bob --password-stdin "$mirror" <<<bob-secret >/dev/null 2>&1
  refused docker pull -q "$mirror/own/box:v1" 2>"$work/refusal"
  docker logout "$mirror" >/dev/null
  refused skopeo inspect --tls-verify=false --creds bob:bob-secret "docker://$mirror/own/box:v1" 2>"$work/refusal"
  for login in bob:wrong carol:carol-secret; do
    refused skopeo inspect --tls-verify=false --creds "$login" "docker://$mirror/team/box:v1" 2>"$work/refusal"
  done

  step "$kind: what bob may not see is alike, here or not, there or not"
  expect "answer, once alice has pulled it" "$before" "$(told "$kind" bob own/box/manifests/v1)"
  expect "answer of what is not here" "$before" "$(told "$kind" bob own/other/manifests/v1 | sed 's/own.other/own\/NAME/')"
  expect "answer of what is nowhere" "$before" "$(told "$kind" bob own/absent/manifests/v1)"
  layer=$(jq -r '.layers[0].digest' "$(grep -l '"layers"' "$work/pulled/blobs/sha256/"* | head -n 1)")
  expect "answer of a blob" "$(told "$kind" bob "own/absent/blobs/$layer")" "$(told "$kind" bob "own/box/blobs/$layer")"
  expect "without a login" 401 "$(curl -sS -o /dev/null -w '%{http_code}' "http://$mirror/v2/own/box/manifests/v1")"

  step "$kind: no password is in the mirror's log"
  ! grep -q 'secret' "$work/registry.log" || fail "a password is in the log"
done

step "end the upstreams: what is here is not served to whom they cannot be asked about"
for pid in "${stoppers[@]:0:2}"; do eval "$pid"; done
for kind in "${kinds[@]}"; do
  expect "status" 502 "$(curl -sS -o /dev/null -w '%{http_code}' -u dave:dave-secret "http://${at[$kind]}/v2/own/box/manifests/v1")"
done
