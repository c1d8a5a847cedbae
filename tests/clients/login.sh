#!/usr/bin/env bash
# login: users of different rights with the real clients over TLS, with passwords, and then with tokens of a token
# server; and orlop-conformance with either.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[[ -z ${REGISTRY:-} ]] || skip "the users of a registry that runs already are not known"
needs crane skopeo podman openssl python3 curl jq
orlop=$(orlop_bin)
certs=$work/certs
repo=team/box

step "make a certificate, users and rules"
mkdir "$certs"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=orlop-test-ca \
  -keyout "$certs/ca.key" -out "$certs/ca.crt" 2>/dev/null
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=registry \
  -keyout "$work/server.key" -out "$work/server.csr" 2>/dev/null
echo subjectAltName=IP:127.0.0.1,DNS:localhost >"$work/names"
openssl x509 -req -in "$work/server.csr" -CA "$certs/ca.crt" -CAkey "$certs/ca.key" -CAcreateserial -days 1 \
  -extfile "$work/names" -out "$work/server.pem" 2>/dev/null
rm "$certs/ca.key" # podman would take it for a client's
for user in alice bob; do
  "$orlop" user add "$user" --auth-htpasswd "$work/users" <<<"$user-secret"
done
cat >"$work/orlop.toml" <<END
[tls]
certificate = "$work/server.pem"
key = "$work/server.key"
[[rule]]
who = ["anybody"]
deny = ["overwrite-tag"]
repositories = ["**"]
tags = ["v*"]
[[rule]]
who = ["user:alice"]
allow = ["all"]
repositories = ["**"]
[[rule]]
who = ["user:bob", "anonymous"]
allow = ["pull", "list"]
repositories = ["team/**", "own/**"]
END
scheme=https
export SSL_CERT_FILE=$certs/ca.crt
make_layout "$work/image" v1 "$machine"
make_layout "$work/other" v1 "$other"
digest=$(layout_digest "$work/image")

# secure_registry FLAG...: with TLS and these rules, and a way to say who one is.
secure_registry() {
  registry_flags=(--config "$work/orlop.toml" "$@")
  access=(--cacert "$certs/ca.crt")
  start_registry
}

# What every client must do, whichever way it logs in: with_clients SPACE
with_clients() {
  local repo=$1/box wrong

  step "$1: a wrong password is refused"
  wrong=(-u alice -p wrong)
  refused podman login --cert-dir "$certs" "${wrong[@]}" "$registry"
  refused skopeo login --cert-dir "$certs" "${wrong[@]}" "$registry"
  refused skopeo inspect --cert-dir "$certs" --creds alice:wrong "docker://$registry/$repo:v1"

  step "$1: alice logs in and pushes, with skopeo and with crane"
  skopeo login --cert-dir "$certs" -u alice --password-stdin "$registry" <<<alice-secret
  skopeo copy -q --dest-cert-dir "$certs" "oci:$work/image:v1" "docker://$registry/$repo:v1"
  expect "digest" "$digest" "$(skopeo inspect --cert-dir "$certs" --format '{{.Digest}}' "docker://$registry/$repo:v1")"
  crane auth login -u alice -p alice-secret "$registry"
  crane push "$work/image" "$registry/$repo:latest"
  crane copy "$registry/$repo:latest" "$registry/$1/copy:latest"
  expect "tags" "latest v1" "$(crane ls "$registry/$repo" | sort | paste -sd ' ')"

  step "$1: nobody changes what v1 names"
  refused crane push "$work/other" "$registry/$repo:v1"
  crane push "$work/image" "$registry/$repo:v1"

  step "$1: bob logs in, pulls, and may not push"
  podman login --cert-dir "$certs" -u bob --password-stdin "$registry" <<<bob-secret
  skopeo copy -q --src-cert-dir "$certs" --src-creds bob:bob-secret "docker://$registry/$repo:v1" "oci:$work/pulled-$1:v1"
  check_layout "$work/pulled-$1"
  refused skopeo copy -q --dest-cert-dir "$certs" --dest-creds bob:bob-secret \
    "oci:$work/other:v1" "docker://$registry/$repo:mine"
  expect "tags" "latest v1" "$(crane ls "$registry/$repo" | sort | paste -sd ' ')"

  step "$1: alice deletes"
  crane delete "$registry/$repo:latest"
  expect "tags" v1 "$(crane ls "$registry/$repo")"
  crane auth logout "$registry"
  skopeo logout "$registry"
}

# api_token NAME REPOSITORIES ACTION...: prints a new API token of alice.
api_token() {
  local name=$1 repositories=$2
  shift 2
  "$orlop" token create alice --name "$name" --repository "$repositories" "${@/#/--action=}" --data "$work/data" --config ""
}

# with_api_tokens SPACE: programs that send an API token in the place of the password.
with_api_tokens() {
  local repo=$1/box reader writer elsewhere
  step "$1: an API token pulls, and pushes where it may"
  reader=$(api_token reader "$1/*" pull) writer=$(api_token writer "$1/*" pull push)
  elsewhere=$(api_token elsewhere "elsewhere/**" pull push delete)
  podman login --cert-dir "$certs" -u alice --password-stdin "$registry" <<<"$reader"
  podman logout "$registry"
  skopeo login --cert-dir "$certs" -u alice --password-stdin "$registry" <<<"$reader"
  skopeo copy -q --src-cert-dir "$certs" "docker://$registry/$repo:v1" "oci:$work/token-$1:v1"
  check_layout "$work/token-$1"
  refused skopeo copy -q --dest-cert-dir "$certs" "oci:$work/other:v1" "docker://$registry/$repo:token"
  skopeo login --cert-dir "$certs" -u alice --password-stdin "$registry" <<<"$writer"
  skopeo copy -q --dest-cert-dir "$certs" "oci:$work/other:v1" "docker://$registry/$repo:token"
  skopeo logout "$registry"
  crane auth login -u alice -p "$writer" "$registry"
  crane push "$work/image" "$registry/$repo:crane"
  expect "tags" "crane token v1" "$(crane ls "$registry/$repo" | sort | paste -sd ' ')"
  refused crane delete "$registry/$repo:crane"
  crane auth login -u alice -p "$elsewhere" "$registry"
  refused crane push "$work/image" "$registry/$repo:elsewhere"
  refused crane digest "$registry/$repo:v1"
  step "$1: a revoked token logs nobody in"
  "$orlop" token revoke --user alice --data "$work/data" --config ""
  refused podman login --cert-dir "$certs" -u alice --password-stdin "$registry" <<<"$reader"
  refused skopeo login --cert-dir "$certs" -u alice --password-stdin "$registry" <<<"$writer"
  crane auth login -u alice -p alice-secret "$registry"
  crane delete "$registry/$repo:crane"
  crane delete "$registry/$repo:token"
  crane auth logout "$registry"
}

# docker_logs_in SPACE: the same with Docker's engine, where one can run.
docker_logs_in() {
  local repo=$1/docker
  command -v dockerd >/dev/null || return 0
  if [[ -z ${dockerd_pid:-} ]]; then
    can_mount
    make_archive "$work/archive.tar" "$space:loaded"
    # For 127.0.0.0/8 the engine does not ask who signed the certificate.
    start_dockerd docker '{"storage-driver": "vfs"}'
    docker load -q -i "$work/archive.tar"
  fi
  step "$1: docker login, push and pull"
  refused docker login -u alice --password-stdin "$registry" <<<wrong
  docker tag "$space:loaded" "$registry/$repo:v1"
  refused docker push -q "$registry/$repo:v1"
  docker login -u alice --password-stdin "$registry" <<<alice-secret
  docker push -q "$registry/$repo:v1"
  docker logout "$registry"
  docker login -u bob --password-stdin "$registry" <<<bob-secret
  docker rmi "$registry/$repo:v1" >/dev/null
  docker pull -q "$registry/$repo:v1"
  docker tag "$registry/$repo:v1" "$registry/$repo:v2"
  refused docker push -q "$registry/$repo:v2"
  docker logout "$registry"
  [[ ${2:-} == tokens ]] || return 0
  step "$1: docker login with an API token"
  docker login -u alice --password-stdin "$registry" <<<"$(api_token docker "$1/*" pull push)"
  docker push -q "$registry/$repo:v2"
  docker rmi "$registry/$repo:v2" >/dev/null
  docker pull -q "$registry/$repo:v2"
  docker login -u alice --password-stdin "$registry" <<<"$(api_token docker-reads "$1/*" pull)"
  docker pull -q "$registry/$repo:v2"
  docker tag "$registry/$repo:v2" "$registry/$repo:v3"
  refused docker push -q "$registry/$repo:v3"
  docker logout "$registry"
}

conforms() {
  local program
  for program in "${ORLOP_CONFORMANCE:-}" "$root/target/release/orlop-conformance" "$root/target/debug/orlop-conformance"; do
    [[ -n $program && -x $program ]] || continue
    step "orlop-conformance $1"
    ORLOP_PASSWORD=alice-secret "$program" "https://$registry" --user alice --ca "$certs/ca.crt" \
      --seed 1 --histories 20 --concurrent 10 --profile docker
    return
  done
  echo "not run: orlop-conformance is not built" >&2
}

secure_registry --auth-htpasswd "$work/users"
with_clients team
with_api_tokens team
step "who is nobody pulls where anybody may, and is asked elsewhere"
expect "anonymous" 200 "$(status GET "$repo/manifests/v1" -H "$any_manifest")"
expect "anonymous elsewhere" 401 "$(status GET secret/box/manifests/v1)"
expect "bob elsewhere" 404 "$(status GET secret/box/manifests/v1 -u bob:bob-secret)"
skopeo inspect --cert-dir "$certs" --no-creds "docker://$registry/$repo:v1" >/dev/null
crane digest "$registry/$repo:v1"
docker_logs_in team tokens
sed -i 's/^tags = .*/tags = ["release-*"]/' "$work/orlop.toml" # the program overwrites tags that begin with v
"$orlop" reload --data "$work/data" --config "$work/orlop.toml" --auth-htpasswd "$work/users"
sleep 1
conforms "with a password"

step "the registry gives out tokens of its own: who is nobody pulls with Docker's engine too"
sed -i 's/^tags = .*/tags = ["v*"]/' "$work/orlop.toml"
own=(--data "$work/data" --config "$work/orlop.toml" --auth-htpasswd "$work/users")
sed -i "1i auth-token-url = 'https://localhost:${registry##*:}/token'" "$work/orlop.toml"
"$orlop" reload "${own[@]}"
challenge() { curl -sS "${access[@]}" -D - -o /dev/null "https://$registry/v2/" | tr -d '\r' | sed -n 's/^www-authenticate: //Ip'; }
gives_tokens() { challenge | grep -q "^Bearer "; }
wait_for 10 gives_tokens || fail "no token is offered: $(challenge)"
with_clients own
with_api_tokens own
docker_logs_in own tokens
if [[ -n ${dockerd_pid:-} ]]; then
  docker rmi -f "$registry/team/docker:v1" >/dev/null
  docker pull -q "$registry/team/docker:v1"
  refused docker pull -q "$registry/secret/box:v1"
fi
stop "$registry_pid"
sed -i 1d "$work/orlop.toml"

step "the same with tokens of a token server"
openssl genrsa -out "$work/token.key" 2048 2>/dev/null
openssl rsa -in "$work/token.key" -pubout -out "$work/token.pem" 2>/dev/null
"$here/token-server" "$work/token.key" "$work/token.port" "$work/server.pem" "$work/server.key" </dev/null >"$work/token.log" 2>&1 &
stoppers+=("stop $!")
wait_for 20 test -s "$work/token.port"
secure_registry --token-realm "https://localhost:$(cat "$work/token.port")/token" --token-service orlop \
  --token-issuer test --token-keys "$work/token.pem"
with_clients tokens
docker_logs_in tokens
sed -i 's/^tags = .*/tags = ["release-*"]/' "$work/orlop.toml"
kill -s HUP "$registry_pid"
sleep 1
conforms "with tokens"
