#!/usr/bin/env bash
# dockerd: load, push, pull, run, by tag and by digest, into a second repository; then the same
# with containerd's image store, where the daemon has one (26 and newer).
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
needs dockerd docker runc curl jq
can_mount
start_registry

run() { docker run --rm --network=none --log-driver=none "$@" </dev/null; }
recorded() { docker image inspect "$1" | jq -r '.[].RepoDigests[]'; }

# there_and_back REPOSITORY: what both kinds of image store must do.
there_and_back() {
  local repo=$1 digest second id

  step "load an image and push it"
  docker load -q -i "$work/archive.tar"
  docker tag "$space:loaded" "$registry/$repo:v1"
  docker push "$registry/$repo:v1" | tee "$work/push.log"
  digest=$(digest_of "$repo" v1)
  expect "digest that docker reports" "v1: digest: $digest" "$(grep -o 'v1: digest: sha256:[0-9a-f]*' "$work/push.log")"
  expect_has "digest that docker recorded" "$registry/$repo@$digest" "$(recorded "$registry/$repo:v1")"

  step "push a second tag: all layers are there already"
  docker tag "$registry/$repo:v1" "$registry/$repo:v2"
  docker push "$registry/$repo:v2" | tee "$work/push.log"
  expect "layers pushed again" 0 "$(grep -c ': Pushed' "$work/push.log" || true)"
  expect "digest of the second tag" "$digest" "$(digest_of "$repo" v2)"

  step "push the image to a second repository: its layers are mounted"
  second=$repo-second
  docker tag "$registry/$repo:v1" "$registry/$second:v1"
  docker push "$registry/$second:v1" | tee "$work/push.log"
  expect "mounted layers" 3 "$(grep -c "Mounted from $repo" "$work/push.log" || true)"
  expect "digest in the second repository" "$digest" "$(digest_of "$second" v1)"

  step "remove the image, pull it, run it"
  id=$(docker image inspect -f '{{.Id}}' "$registry/$repo:v1")
  docker rmi -f "$id" >/dev/null
  expect "images that are left" "" "$(docker images -q)"
  docker pull -q "$registry/$repo:v1"
  expect "image id before and after" "$id" "$(docker image inspect -f '{{.Id}}' "$registry/$repo:v1")"
  expect "what the container prints" "$word $machine" "$(run "$registry/$repo:v1")"

  step "remove it, pull it by digest, run it"
  docker rmi -f "$id" >/dev/null
  docker pull -q "$registry/$repo@$digest"
  expect_has "digest that docker recorded" "$registry/$repo@$digest" "$(recorded "$registry/$repo@$digest")"
  expect "what the container prints" "$word $machine" "$(run "$registry/$repo@$digest")"

  step "pull every tag of a repository"
  docker rmi -f "$id" >/dev/null
  docker pull -q -a "$registry/$repo"
  expect "pulled tags" "v1 v2" "$(docker images --format '{{.Tag}}' "$registry/$repo" | sort | paste -sd ' ')"

  step "commit a container and push what it added to an image that is there"
  docker run --network=none --log-driver=none --name "$space" "$registry/$repo:v1" \
    /bin/busybox sh -c '/bin/busybox sed s/stowed/landed/ /word > /landed' </dev/null
  docker commit "$space" "$registry/$repo:v3" >/dev/null
  docker rm "$space" >/dev/null
  docker push "$registry/$repo:v3" | tee "$work/push.log"
  expect "new layers" 1 "$(grep -c ': Pushed' "$work/push.log")"
  docker rmi -f "$registry/$repo:v3" >/dev/null
  expect "what the container prints" "${word/stowed/landed} $machine" \
    "$(run "$registry/$repo:v3" /bin/busybox cat /landed 2>"$work/run.log")"

  step "an image that is not there is refused"
  refused docker pull "$registry/$repo:absent"
}

make_archive "$work/archive.tar" "$space:loaded"
start_dockerd docker '{}'
there_and_back "$space/classic"

major=$(docker version -f '{{.Server.Version}}' | cut -d . -f 1)
stop_dockerd "$dockerd_pid" "$work/docker"
if ((major >= 26)); then
  step "the same with containerd's image store"
  start_dockerd snapshotter '{"features": {"containerd-snapshotter": true}}'
  there_and_back "$space/snapshotter"
  stop_dockerd "$dockerd_pid" "$work/snapshotter"
fi
