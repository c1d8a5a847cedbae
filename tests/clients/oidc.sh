#!/usr/bin/env bash
# oidc: jobs log in with identity tokens of a real provider (oidc-provider), by docker, podman, skopeo and crane; the
# provider is killed, changes its keys, and has a wrong clock.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[[ -z ${REGISTRY:-} ]] || skip "the providers of a registry that runs already are not known"
needs crane skopeo podman openssl curl jq node
[[ -d $tools/../oidc-provider ]] || fail "oidc-provider is not installed: run tests/clients/install"

provider_port=$(free_port)
issuer=http://127.0.0.1:$provider_port

# start_provider KEYS [SECONDS]: with that file of keys, and a clock that is wrong by so much.
start_provider() {
  : >"$work/provider.log" # what the one before has said
  SHIFT=${2:-0} node "$here/identity-provider.mjs" "$provider_port" "$1" </dev/null >"$work/provider.log" 2>&1 &
  provider_pid=$!
  wait_for 30 grep -q listening "$work/provider.log" || fail "the provider does not start: $(cat "$work/provider.log")"
}
# shellcheck disable=SC2016 # it is the one that runs then
stoppers+=('stop "$provider_pid"')

# token JOB [ALGORITHM] [AUDIENCE]: what the provider gives a job.
token() {
  curl -sSf -u "$1:$1-secret" -d grant_type=client_credentials -d "resource=urn:${2:-RS256}:${3:-registry.example.com}" \
    "$issuer/token" | jq -r .access_token
}

step "make a certificate, a provider and rules"
certs=$work/certs
mkdir "$certs"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=orlop-test-ca \
  -keyout "$work/ca.key" -out "$certs/ca.crt" 2>/dev/null
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=registry \
  -keyout "$work/server.key" -out "$work/server.csr" 2>/dev/null
echo subjectAltName=IP:127.0.0.1,DNS:localhost >"$work/names"
openssl x509 -req -in "$work/server.csr" -CA "$certs/ca.crt" -CAkey "$work/ca.key" -CAcreateserial -days 1 \
  -extfile "$work/names" -out "$work/server.pem" 2>/dev/null
cat >"$work/orlop.toml" <<END
[tls]
certificate = "$work/server.pem"
key = "$work/server.key"
[[oidc]]
name = "ci"
issuer = "$issuer"
audience = "registry.example.com"
user = "{repository}"
groups = ["{repository_owner}"]
[[oidc.allow]]
claims = { repository_owner = "acme", ref = "refs/heads/main" }
groups = ["pushers"]
[[oidc.allow]]
claims = { repository_owner = "acme" }
[[rule]]
who = ["group:pushers"]
allow = ["all"]
repositories = ["acme/**"]
[[rule]]
who = ["group:ci:acme"]
allow = ["pull", "list"]
repositories = ["acme/**"]
END
scheme=https
export SSL_CERT_FILE=$certs/ca.crt
make_layout "$work/image" v1 "$machine"
digest=$(layout_digest "$work/image")
start_provider "$work/keys.json"
registry_flags=(--config "$work/orlop.toml")
access=(--cacert "$certs/ca.crt")
start_registry
log_in() { skopeo login --cert-dir "$certs" -u "${2:-oidc}" --password-stdin "$registry" <<<"$1"; }
# answer TOKEN [USER]: the status, and what the client is told.
answer() {
  curl -sS "${access[@]}" -u "${2:-oidc}:$1" -w ' %{http_code}' "https://$registry/v2/" | tr -d '\n'
}

step "a job of the main branch pushes, with skopeo, crane and podman"
log_in "$(token job-main)"
skopeo copy -q --dest-cert-dir "$certs" "oci:$work/image:v1" "docker://$registry/acme/app:v1"
expect "digest" "$digest" "$(skopeo inspect --cert-dir "$certs" --format '{{.Digest}}' "docker://$registry/acme/app:v1")"
crane auth login -u oidc -p "$(token job-main ES256)" "$registry"
crane push "$work/image" "$registry/acme/app:crane"
crane auth logout "$registry"
podman login --cert-dir "$certs" -u oidc:ci --password-stdin "$registry" <<<"$(token job-main EdDSA)"
skopeo copy -q --dest-cert-dir "$certs" "oci:$work/image:v1" "docker://$registry/acme/app:podman"
podman logout "$registry"
grep -q 'user="ci:acme/app".*operation="push-manifest".*reference="podman"' "$work/registry.log" ||
  fail "the log does not name the user"

step "a job of another branch pulls and may not push"
branch=$(token job-branch)
skopeo copy -q --src-cert-dir "$certs" --src-creds "oidc:$branch" "docker://$registry/acme/app:v1" "oci:$work/pulled:v1"
check_layout "$work/pulled"
refused skopeo copy -q --dest-cert-dir "$certs" --dest-creds "oidc:$branch" \
  "oci:$work/image:v1" "docker://$registry/acme/app:mine"

step "every algorithm of the provider"
for algorithm in RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 EdDSA; do
  expect "$algorithm" 200 "$(answer "$(token job-main "$algorithm")" | tail -c 3)"
done

step "others are refused with a sentence"
told() {
  local told
  told=$(answer "$2" "${3:-oidc}")
  [[ $told == *"$1"* && $told == *" 401" ]] || fail "expected '$1' with 401, got: $told"
}
told "the claims of the identity token are not those" "$(token job-evil)"
told "another audience: get one for \`registry.example.com\`" "$(token job-main RS256 elsewhere.example.com)"
told "no identity provider \`other\`" "$(token job-main)" oidc:other
told "is to be an identity token" secret
refused log_in "$(token job-evil)"
refused podman login --cert-dir "$certs" -u oidc --password-stdin "$registry" <<<"$(token job-main RS256 other)"

# docker_logs_in SPACE: Docker's engine, where one can run.
docker_logs_in() {
  command -v dockerd >/dev/null || return 0
  if [[ -z ${dockerd_pid:-} ]]; then
    can_mount
    make_archive "$work/archive.tar" "$space:loaded"
    # For 127.0.0.0/8 the engine does not ask who signed the certificate.
    start_dockerd docker '{"storage-driver": "vfs"}'
    docker load -q -i "$work/archive.tar"
  fi
  step "$1: docker login, push and pull"
  refused docker login -u oidc --password-stdin "$registry" <<<"$(token job-evil)"
  docker tag "$space:loaded" "$registry/acme/$1:v1"
  docker login -u oidc --password-stdin "$registry" <<<"$(token job-main)"
  docker push -q "$registry/acme/$1:v1"
  docker login -u oidc:ci --password-stdin "$registry" <<<"$(token job-branch)"
  docker rmi "$registry/acme/$1:v1" >/dev/null
  docker pull -q "$registry/acme/$1:v1"
  docker tag "$registry/acme/$1:v1" "$registry/acme/$1:v2"
  refused docker push -q "$registry/acme/$1:v2"
  docker logout "$registry"
}
docker_logs_in docker

step "the clock of the provider is wrong"
stop "$provider_pid"
start_provider "$work/keys.json" -7200
told "has expired: get a new one" "$(token job-main)"
stop "$provider_pid"
start_provider "$work/keys.json" 7200
told "is not valid yet: the clock" "$(token job-main)"
grep -q "and the clock of this machine says" "$work/registry.log" || fail "the log does not say both times"
stop "$provider_pid"
start_provider "$work/keys.json"

step "the provider is killed: its keys are used on"
later=$(token job-main)
stop "$provider_pid" KILL
expect "with the provider down" 200 "$(answer "$later" | tail -c 3)"

step "a registry that has just started cannot check tokens while the provider is down, and says so"
stop "$registry_pid"
start_registry
told=$(answer "$later")
[[ $told == *"the identity provider ci cannot be reached"*" 503" ]] || fail "expected 503, got: $told"
start_provider "$work/keys.json"
checked() { [[ $(answer "$later" | tail -c 3) == 200 ]]; }
wait_for 60 checked || fail "the provider is there again, and tokens are not checked: $(answer "$later")"

step "the provider changes its keys: tokens of the new ones are taken after a minute at most"
stop "$provider_pid"
start_provider "$work/other-keys.json"
later=$(token job-main)
wait_for 100 checked || fail "the new keys are not known: $(answer "$later")"
told "not signed by a key of its issuer" "$(
  stop "$provider_pid" >&2
  start_provider "$work/third-keys.json" >&2
  token job-main
  stop "$provider_pid" >&2
)"

step "the registry gives out tokens of its own for identity tokens"
start_provider "$work/other-keys.json"
sed -i "1i auth-token-url = 'https://localhost:${registry##*:}/token'" "$work/orlop.toml"
"$(orlop_bin)" reload --data "$work/data" --config "$work/orlop.toml"
challenge() { curl -sS "${access[@]}" -D - -o /dev/null "https://$registry/v2/" | tr -d '\r' | sed -n 's/^www-authenticate: //Ip'; }
gives_tokens() { challenge | grep -q "^Bearer "; }
wait_for 10 gives_tokens || fail "no token is offered: $(challenge)"
log_in "$(token job-main)"
skopeo copy -q --dest-cert-dir "$certs" "oci:$work/image:v1" "docker://$registry/acme/own:v1"
refused log_in "$(token job-evil)"
docker_logs_in own

step "no token is in the log"
! grep -q eyJ "$work/registry.log" || fail "a token is in the log"

step "people sign in to the web page at the provider"
stop "$provider_pid"
export CALLBACK=https://$registry/api/v1/session/oidc/corp/callback
start_provider "$work/other-keys.json"
echo console-secret >"$work/secret"
cat >>"$work/orlop.toml" <<END
[[oidc]]
name = "corp"
title = "Example Inc."
issuer = "$issuer"
client-id = "console"
client-secret-file = "$work/secret"
scopes = ["profile"]
user = "{preferred_username}"
groups = ["{groups}"]
claims = { groups = ["staff"] }
[[rule]]
who = ["group:corp:dev"]
allow = ["all"]
repositories = ["people/**"]
END
"$(orlop_bin)" reload --data "$work/data" --config "$work/orlop.toml"
start="https://$registry/api/v1/session/oidc/corp?to=/console/r/people/box"
browse() { curl -sS "${access[@]}" -b "$jar" -c "$jar" "$@"; }
session() { browse "https://$registry/api/v1/session" | jq -r "$1"; }
offered() { [[ $(jar=/dev/null session '.sign_in.oidc[0].title') == "Example Inc." ]]; }
wait_for 10 offered || fail "the provider is not offered"
# at_provider JAR: a browser that is asked by the provider who it is, and where that page is.
at_provider() {
  jar=$work/$1.cookies
  asks=$(browse -L -o /dev/null -w '%{url_effective}' "$start")
  [[ $asks == "$issuer"/interaction/* ]] || fail "expected to be asked by the provider, got $asks"
}
leads() { browse -o /dev/null -w '%{redirect_url}' "$@"; }
# answers NAME: says who it is, and agrees; with what the provider sends the browser back is in $callback.
answers() {
  local asked
  asked=$(browse -L -o /dev/null -w '%{url_effective}' -d "prompt=login&login=$1&password=x" "$asks")
  [[ $asked == "$issuer"/interaction/* ]] || fail "expected to be asked to agree, got $asked"
  callback=$(leads "$(leads -d prompt=consent "$asked")")
  [[ $callback == "$CALLBACK"?*code=* ]] || fail "expected to be sent back with a code, got $callback"
}
at_provider alice
answers alice
expect "where alice is in the end" "https://$registry/console/r/people/box" "$(leads "$callback")"
expect "who is signed in" "corp:alice corp:dev,corp:staff" "$(session '.user + " " + (.groups | join(","))')"
csrf=$(session .csrf)
expect "what she may" 202 "$(browse -o /dev/null -w '%{http_code}' -X POST -H "X-CSRF-Token: $csrf" "https://$registry/v2/people/box/blobs/uploads/")"
expect "what she may not" 403 "$(browse -o /dev/null -w '%{http_code}' -X POST -H "X-CSRF-Token: $csrf" "https://$registry/v2/acme/box/blobs/uploads/")"

step "a code is good for once, and in its own browser alone"
signed_out() { expect "$1" "https://$registry/console/signed-out?error=$2" "$3"; }
signed_out "in another browser" expired "$(jar=$work/other leads "$callback")"
signed_out "again" expired "$(leads "$callback")"
code=${callback#*code=} code=${code%%&*}
at_provider mallory
signed_out "a code without its state" expired "$(leads "$CALLBACK?code=$code&state=x")"
signed_out "who says no" denied "$(browse -L -o /dev/null -w '%{url_effective}' "$asks/abort")"
expect "nobody" null "$(session .user)"

step "the provider goes away while somebody is there"
at_provider bob
answers bob
stop "$provider_pid" KILL
signed_out "without the provider" provider "$(leads "$callback")"
jar=$work/alice.cookies
expect "alice stays" corp:alice "$(session .user)"
sed -i '/^name = "corp"/,$d' "$work/orlop.toml"
sed -i '$d' "$work/orlop.toml"
"$(orlop_bin)" reload --data "$work/data" --config "$work/orlop.toml"
ended() { [[ $(session .user) == null ]]; }
wait_for 10 ended || fail "alice is signed in without her provider"

step "no token, code nor secret is in the log"
for secret in eyJ "$code" console-secret "$csrf"; do
  ! grep -qF "$secret" "$work/registry.log" || fail "$secret is in the log"
done
