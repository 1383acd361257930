#!/usr/bin/env bash
# Builds the images, pushes them to a registry, and writes their digests into the production overlay.
#
#   scripts/k8s-images.sh REGISTRY [FILE]     `docker login` is yours; FILE is another overlay's kustomization.yaml
#
# The images of others are copied to the same registry where the overlay uses them, so that a node pulls from one place.
set -euo pipefail
cd "$(dirname "$0")/.."

registry=${1:?"usage: scripts/k8s-images.sh REGISTRY [FILE], or make k8s-images REGISTRY=..."}
file=${2:-k8s/overlays/production/kustomization.yaml}
tag=$(git rev-parse --short=12 HEAD)
block=$(mktemp)
trap 'rm -f "$block"' EXIT

push() { # IMAGE as it is called here: push it and note it as the overlay's manifests call it
    local image=$1 name=${1%:*} target digest
    target=$registry/${name##*/}
    docker tag "$image" "$target:$tag"
    docker push "$target:$tag"
    digest=$(docker image inspect --format '{{range .RepoDigests}}{{println .}}{{end}}' "$image" | grep -F "$target@sha256:")
    printf '  - name: %s\n    newName: %s\n    digest: %s\n' "$name" "$target" "${digest#*@}" >> "$block"
}

LOOP_REVISION=$(git describe --always --dirty --abbrev=40 --exclude='*') docker compose build
for image in closed-loop/pipeline:local closed-loop/serving:local closed-loop/mlflow:local; do
    push "$image"
done
if grep -Eq '^ *- .*components/monitoring' "$file"; then
    for image in $(sed -nE 's/^ +image: (.*)$/\1/p' k8s/components/monitoring/*.yaml); do
        docker pull "$image"
        push "$image"
    done
fi
sed -i.before '/^images:$/q' "$file" && rm "$file.before"
cat "$block" >> "$file"
echo "$file names these images now; commit it: it says what runs."
