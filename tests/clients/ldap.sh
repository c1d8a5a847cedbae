#!/usr/bin/env bash
# ldap: users of a real directory (slapd) log in with docker, podman, skopeo and crane; by search and by name, over TLS and
# StartTLS; the directory is killed and comes back.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[[ -z ${REGISTRY:-} ]] || skip "the directory of a registry that runs already is not known"
needs crane skopeo podman openssl python3 curl slapd ldapadd
orlop=$(orlop_bin)

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
plain=$(free_port) secure=$(free_port)
certs=$work/certs
mkdir "$certs" "$work/ldap"

step "make certificates, a directory and rules"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=orlop-test-ca \
  -keyout "$work/ca.key" -out "$certs/ca.crt" 2>/dev/null
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=registry \
  -keyout "$work/server.key" -out "$work/server.csr" 2>/dev/null
echo subjectAltName=IP:127.0.0.1,DNS:localhost >"$work/names"
openssl x509 -req -in "$work/server.csr" -CA "$certs/ca.crt" -CAkey "$work/ca.key" -CAcreateserial -days 1 \
  -extfile "$work/names" -out "$work/server.pem" 2>/dev/null
cat >"$work/slapd.conf" <<END
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
pidfile $work/slapd.pid
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload memberof
# What lets whoever sends no password pass: that is not to let anybody in here.
allow bind_anon_cred bind_anon_dn
TLSCertificateFile $work/server.pem
TLSCertificateKeyFile $work/server.key
database mdb
suffix "dc=example,dc=com"
rootdn "cn=admin,dc=example,dc=com"
rootpw admin-secret
directory $work/ldap
overlay memberof
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="cn=reader,dc=example,dc=com" read by self read by * none
END
person() {
  printf 'dn: uid=%s,ou=people,dc=example,dc=com\nobjectClass: inetOrgPerson\nuid: %s\ncn: %s\nsn: %s\nuserPassword: %s-secret\n\n' \
    "$1" "$1" "$1" "$1" "$1"
}
{
  cat <<END
dn: dc=example,dc=com
objectClass: dcObject
objectClass: organization
o: example
dc: example

dn: cn=reader,dc=example,dc=com
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: reader
userPassword: reader-secret

dn: ou=people,dc=example,dc=com
objectClass: organizationalUnit
ou: people

dn: ou=groups,dc=example,dc=com
objectClass: organizationalUnit
ou: groups

dn: ou=elsewhere,dc=example,dc=com
objectClass: organizationalUnit
ou: elsewhere

END
  for name in alice bob mallory root; do person "$name"; done
  cat <<END
dn: cn=dev,ou=groups,dc=example,dc=com
objectClass: groupOfNames
cn: dev
member: uid=alice,ou=people,dc=example,dc=com

dn: cn=admins,ou=elsewhere,dc=example,dc=com
objectClass: groupOfNames
cn: admins
member: uid=bob,ou=people,dc=example,dc=com
END
} >"$work/directory.ldif"
start_directory() {
  slapd -h "ldap://127.0.0.1:$plain ldaps://127.0.0.1:$secure" -f "$work/slapd.conf" -d 0 </dev/null >"$work/slapd.log" 2>&1 &
  slapd_pid=$!
  answers() { ldapsearch -x -H "ldap://127.0.0.1:$plain" -b '' -s base >/dev/null 2>&1 || [[ $? == 32 ]]; }
  wait_for 20 answers || fail "slapd does not start: $(cat "$work/slapd.log")"
}
# shellcheck disable=SC2016 # it is the one that runs then
stoppers+=('stop "$slapd_pid"')
start_directory
ldapadd -x -H "ldap://127.0.0.1:$plain" -D cn=admin,dc=example,dc=com -w admin-secret -f "$work/directory.ldif" >/dev/null
echo reader-secret >"$work/reader"
"$orlop" user add root --auth-htpasswd "$work/users" <<<"file-secret"

# configure LINE...: the settings of the directory.
configure() {
  {
    printf 'auth-htpasswd = "%s"\n[tls]\ncertificate = "%s"\nkey = "%s"\n[ldap]\nca = "%s"\n' \
      "$work/users" "$work/server.pem" "$work/server.key" "$certs/ca.crt"
    printf '%s\n' "$@"
    cat <<END
[[rule]]
who = ["user:mallory"]
deny = ["all"]
repositories = ["**"]
[[rule]]
who = ["group:dev", "user:root"]
allow = ["all"]
repositories = ["**"]
[[rule]]
who = ["group:admins"]
allow = ["delete"]
repositories = ["**"]
[[rule]]
who = ["authenticated"]
allow = ["pull", "list"]
repositories = ["team/**"]
END
  } >"$work/orlop.toml"
}
by_search=("url = [\"ldaps://127.0.0.1:$secure\"]" 'base = "ou=people,dc=example,dc=com"'
  'bind-dn = "cn=reader,dc=example,dc=com"' "bind-password-file = \"$work/reader\"" 'timeout = "3s"')
configure "${by_search[@]}" 'group-base = "ou=groups,dc=example,dc=com"'
scheme=https
export SSL_CERT_FILE=$certs/ca.crt
access=(--cacert "$certs/ca.crt")
registry_flags=(--config "$work/orlop.toml")
make_layout "$work/image" v1 "$machine"
start_registry
reload() {
  "$orlop" reload --data "$work/data" --config "$work/orlop.toml" >/dev/null
}
# code USER PASSWORD [PATH]: what a client gets.
code() { curl -sS "${access[@]}" -o "$work/body" -w '%{http_code}' -u "$1:$2" "https://$registry/v2/${3:-}"; }

step "alice, who is in a group, logs in and pushes with skopeo, crane and podman"
skopeo login --cert-dir "$certs" -u alice --password-stdin "$registry" <<<alice-secret
skopeo copy -q --dest-cert-dir "$certs" "oci:$work/image:v1" "docker://$registry/team/box:v1"
crane auth login -u alice -p alice-secret "$registry"
crane push "$work/image" "$registry/team/box:crane"
podman login --cert-dir "$certs" -u alice --password-stdin "$registry" <<<alice-secret
skopeo copy -q --dest-cert-dir "$certs" "oci:$work/image:v1" "docker://$registry/team/box:podman"
podman logout "$registry"
crane auth logout "$registry"

step "bob logs in, pulls, and may not push; a group of elsewhere is none of his"
skopeo copy -q --src-cert-dir "$certs" --src-creds bob:bob-secret "docker://$registry/team/box:v1" "oci:$work/pulled:v1"
check_layout "$work/pulled"
refused skopeo copy -q --dest-cert-dir "$certs" --dest-creds bob:bob-secret "oci:$work/image:v1" "docker://$registry/team/box:mine"
expect "delete by bob" 403 "$(curl -sS "${access[@]}" -o /dev/null -w '%{http_code}' -u bob:bob-secret -X DELETE "https://$registry/v2/team/box/manifests/v1")"

step "wrong passwords, none, and names that would be a question of their own"
refused podman login --cert-dir "$certs" -u alice -p wrong "$registry"
expect "wrong" 401 "$(code alice wrong)"
expect "empty password" 401 "$(code alice '')"
expect "nobody" 401 "$(code nobody secret)"
# shellcheck disable=SC1003 # one of the names ends with a backslash
for name in '*' 'a*' 'alice)(uid=*' '*)(objectClass=*' 'alice,ou=people' 'alice\' 'uid=alice' '(|(uid=alice)(uid=bob))' ' ' 'ou=people'; do
  expect "the name $name" 401 "$(code "$name" alice-secret)"
done

step "a name counts as the directory has it: MALLORY is mallory"
expect "mallory" 404 "$(code mallory mallory-secret team/box/tags/list)"
expect "MALLORY" 404 "$(code MALLORY mallory-secret team/box/tags/list)"
expect "Alice" 200 "$(code Alice alice-secret team/box/tags/list)"

step "the password file comes first, and its users are no others"
expect "root of the file" 200 "$(code root file-secret)"
expect "root of the directory" 401 "$(code root root-secret)"
expect "ROOT of the directory" 401 "$(code ROOT root-secret)"

docker_logs_in() {
  command -v dockerd >/dev/null || return 0
  can_mount
  make_archive "$work/archive.tar" "$space:loaded"
  start_dockerd docker '{"storage-driver": "vfs"}'
  docker load -q -i "$work/archive.tar"
  step "docker login, push and pull"
  refused docker login -u alice --password-stdin "$registry" <<<wrong
  docker tag "$space:loaded" "$registry/team/docker:v1"
  docker login -u alice --password-stdin "$registry" <<<alice-secret
  docker push -q "$registry/team/docker:v1"
  docker login -u bob --password-stdin "$registry" <<<bob-secret
  docker rmi "$registry/team/docker:v1" >/dev/null
  docker pull -q "$registry/team/docker:v1"
  docker tag "$registry/team/docker:v1" "$registry/team/docker:v2"
  refused docker push -q "$registry/team/docker:v2"
  docker logout "$registry"
}
docker_logs_in

step "groups by a search"
configure "${by_search[@]}" 'group-base = "dc=example,dc=com"' 'group-filter = "(&(objectClass=groupOfNames)(member={dn}))"'
reload
pushes() { [[ $(curl -sS "${access[@]}" -o /dev/null -w '%{http_code}' -u "$1:$1-secret" -X POST "https://$registry/v2/team/x/blobs/uploads/") == 202 ]]; }
wait_for 10 pushes alice || fail "alice is in no group"
! pushes bob || fail "bob may push"

step "without a search: the user is bound as the settings write it, over StartTLS"
configure "url = [\"ldap://127.0.0.1:1\", \"ldap://127.0.0.1:$plain\"]" 'start-tls = true' \
  'user-dn = "uid={user},ou=people,dc=example,dc=com"' 'timeout = "3s"'
reload
wait_for 10 pushes alice || fail "alice cannot push: $(tail -n 5 "$work/registry.log")"
expect "wrong" 401 "$(code alice wrong)"
expect "another name" 401 "$(code 'alice,ou=people' alice-secret)"
expect "Mallory" 404 "$(code Mallory mallory-secret team/box/tags/list)"

step "a certificate that is not trusted is not talked to"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=another \
  -keyout /dev/null -out "$work/another.crt" 2>/dev/null
configure "${by_search[@]}"
sed -i "s|^ca = .*|ca = \"$work/another.crt\"|" "$work/orlop.toml"
SSL_CERT_FILE='' reload
untrusted() { [[ $(code alice alice-secret) == 503 ]]; }
SSL_CERT_FILE=/dev/null
stop "$registry_pid"
start_registry
untrusted || fail "the directory is trusted: $(cat "$work/body")"
SSL_CERT_FILE=$certs/ca.crt
configure "${by_search[@]}"
stop "$registry_pid"
start_registry

step "the directory is killed: its users get 503, those who were there lately and those of the file log in"
expect "alice" 200 "$(code alice alice-secret)"
stop "$slapd_pid" KILL
expect "bob" 503 "$(code bob bob-secret)"
grep -q "the directory (LDAP) cannot be reached" "$work/body" || fail "no sentence: $(cat "$work/body")"
expect "alice, who is remembered" 200 "$(code alice alice-secret)"
expect "root of the file" 200 "$(code root file-secret)"
expect "empty" 401 "$(code alice '')"
start_directory
back() { [[ $(code bob bob-secret) == 200 ]]; }
wait_for 20 back || fail "the directory is there again, and bob is not"

step "no password is in the log"
! grep -qE "(alice|bob|mallory|reader|file)-secret" "$work/registry.log" || fail "a password is in the log"
