#!/usr/bin/env bash
# proxy: the registry behind nginx and behind HAProxy, with the configurations that the package brings: TLS at the proxy,
# request bodies buffered and not, and where a request comes from as the proxy says it.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[[ -z ${REGISTRY:-} ]] || skip "the log of a registry that runs already is not ours to read"
needs crane openssl curl jq
examples=$root/host-native/debian
registry_flags=(--trusted-proxy 127.0.0.1)
start_registry
direct=$registry

step "make a certificate and images"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=localhost \
  -addext subjectAltName=IP:127.0.0.1,DNS:localhost -keyout "$work/proxy.key" -out "$work/proxy.pem" 2>/dev/null
cat "$work/proxy.pem" "$work/proxy.key" >"$work/both.pem"
export SSL_CERT_FILE=$work/proxy.pem
make_layout "$work/image" v1 "$machine"
head -c 20000000 /dev/urandom >"$work/large"

answers() { curl -sS --cacert "$work/proxy.pem" "https://$registry/v2/"; }

# behind NAME: what must work through any proxy.
behind() {
  local repo=$space/$1 session digest
  wait_for 20 answers || fail "$1 did not come up: $(tail -n 5 "$work/$1.log")"
  scheme=https access=(--cacert "$work/proxy.pem")

  step "$1: push, pull, copy"
  crane push "$work/image" "$registry/$repo:v1"
  crane validate --remote "$registry/$repo:v1"
  crane copy "$registry/$repo:v1" "$registry/$repo-copy:v1"
  expect "digest" "$(layout_digest "$work/image")" "$(digest_of "$repo" v1)"

  step "$1: a large body without a length, and one with"
  digest=sha256:$(sha256 "$work/large")
  for header in "Transfer-Encoding: chunked" "X: y"; do
    session=$(api POST "$repo/blobs/uploads/" -D - -o /dev/null | tr -d '\r' | sed -n 's/^location: //Ip')
    curl -fsS "${access[@]}" -X PATCH -H "$header" -H 'Content-Type: application/octet-stream' \
      --data-binary @"$work/large" "https://$registry$session"
    curl -fsS "${access[@]}" -X PUT "https://$registry$session?digest=$digest"
  done
  api GET "$repo/blobs/$digest" -o "$work/got"
  cmp "$work/large" "$work/got"

  step "$1: the log names the client, and nobody else does"
  curl -fsS "${access[@]}" --interface 127.0.0.9 -H 'X-Forwarded-For: 6.6.6.6' -A "asked-$1" "https://$registry/v2/"
  wait_for 10 grep -q "client=127.0.0.9 .*asked-$1" "$work/registry.log" ||
    fail "the log does not name the client: $(grep "asked-$1" "$work/registry.log")"
}

nginx() {
  local port=$1 buffering=$2 name=nginx-$2
  registry=127.0.0.1:$port
  mkdir -p "$work/$name"
  sed -e "s#listen 443 ssl;#listen 127.0.0.1:$port ssl;#" -e "s#127.0.0.1:5000#$direct#" \
    -e "s#/etc/nginx/registry#$work/proxy#" -e "s#request_buffering off#request_buffering $buffering#" \
    "$examples/nginx.conf" >"$work/$name/site.conf"
  # `http2 on` is of 1.25 and newer.
  command nginx -v 2>&1 | grep -q 'nginx/1\.\(2[5-9]\|[3-9]\)' || sed -i '/http2 on;/d' "$work/$name/site.conf"
  cat >"$work/$name/nginx.conf" <<END
daemon off;
pid $work/$name/pid;
error_log stderr;
events {}
http {
  access_log off;
  client_body_temp_path $work/$name/body;
  proxy_temp_path $work/$name/proxy;
  fastcgi_temp_path $work/$name/fastcgi;
  uwsgi_temp_path $work/$name/uwsgi;
  scgi_temp_path $work/$name/scgi;
  include $work/$name/site.conf;
}
END
  # Its workers are another user, who is to reach what it writes.
  chmod 711 "$work"
  command nginx -c "$work/$name/nginx.conf" </dev/null >"$work/$name.log" 2>&1 &
  stoppers+=("stop $!")
  behind "$name"
}

haproxy() {
  registry=127.0.0.1:$1
  sed -e "s#bind :443#bind 127.0.0.1:$1#" -e "s#127.0.0.1:5000#$direct#" \
    -e "s#/etc/haproxy/registry.pem#$work/both.pem#" "$examples/haproxy.cfg" >"$work/haproxy.cfg"
  # Each connection takes open files, of which a machine may allow few.
  command haproxy -f "$work/haproxy.cfg" -n 200 -db </dev/null >"$work/haproxy.log" 2>&1 &
  stoppers+=("stop $!")
  behind haproxy
}

tried=0
if type -P nginx >/dev/null; then
  nginx "$(free_port)" off
  nginx "$(free_port)" on
  tried=1
fi
if type -P haproxy >/dev/null; then
  haproxy "$(free_port)"
  tried=1
fi
((tried > 0)) || skip "neither nginx nor HAProxy is installed"
